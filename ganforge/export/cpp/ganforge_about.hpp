// Metadata of an exported file, and validation of arguments. Requires only the standard library.

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <locale>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ganforge {

// An invalid argument or file, with a message of one line.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Maximum examples per call of `sample`; for more, call it again with later seeds.
inline constexpr std::int64_t max_count = 4096;

// Batch size.
inline constexpr std::int64_t batch_size = 64;

// Parses a whole text as a number, independent of the locale; nothing if it is invalid or out of range.
template <typename Number>
std::optional<Number> read_number(const std::string& text) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  Number number{};
  if (!(stream >> std::noskipws >> number) || stream.peek() != std::istringstream::traits_type::eof()) return {};
  return number;
}

// Returns the last line of a text, which holds the reason in long error messages.
inline std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \r\n") + 1);
  return text.substr(text.find_last_of("\r\n") + 1);
}

// Returns the error for a number out of range.
template <typename Number>
Error out_of_range(const std::string& name, Number number, Number low, Number high) {
  std::ostringstream message;
  message << name << " is " << number << ", but must be from " << low << " to " << high;
  return Error(message.str());
}

// The condition of all samples of a call: a class, or the numbers of a condition vector. Without one, the classes or the
// conditions of examples in the data take turns.
struct Condition {
  Condition() = default;
  Condition(std::nullopt_t) {}
  Condition(std::int64_t number) : label(number) {}
  Condition(std::optional<std::int64_t> number) : label(number) {}
  Condition(std::vector<float> vector) : numbers(std::move(vector)) {}

  std::optional<std::int64_t> label;
  std::vector<float> numbers;
};

// Lines of summary.txt, such as "z_dim: 64", and the text of ganforge.json.
class About {
 public:
  // `path` is named in errors. Throws Error if the summary is invalid.
  About(const std::string& summary, std::string json, std::string path)
      : json_(std::move(json)), path_(std::move(path)) {
    std::istringstream lines(summary);
    for (std::string line; std::getline(lines, line);) {
      if (const auto colon = line.find(": "); colon != std::string::npos)
        lines_[line.substr(0, colon)] = line.substr(colon + 2);
    }
    if (!has("generator") || !has("output"))
      throw Error(path_ + ": not exported by ganforge: it has no summary.txt");
    std::istringstream words(lines_["output"]);
    std::string sizes;
    std::getline(words, sizes, ' ');
    std::getline(words, meaning_);
    std::istringstream parts(sizes);
    for (std::string part; std::getline(parts, part, 'x');) shape_.push_back(check_range("output", part, 1, 1 << 16));
    if (is_image() && shape_.size() != 3)
      throw Error(path_ + ": invalid line in its summary: 'output: " + lines_["output"] + "'");
    num_classes_ = integer("num_classes", 0, 1 << 24);
    if (has("number_means")) means_ = numbers("number_means");
    if (has("conditions")) conditions_ = numbers("conditions");
    if (conditions_.empty()) conditions_ = means_;
    if (!means_.empty() && conditions_.size() % means_.size() != 0)
      throw Error(path_ + ": invalid line in its summary: 'conditions'");
  }

  // Returns all lines by name.
  const std::map<std::string, std::string>& lines() const { return lines_; }

  // Returns ganforge.json, the full metadata.
  const std::string& json() const { return json_; }

  bool has(const std::string& name) const { return lines_.contains(name); }

  // Returns a line's value. Throws Error if the line is missing.
  const std::string& text(const std::string& name) const {
    const auto line = lines_.find(name);
    if (line == lines_.end()) throw Error(path_ + ": its summary has no line '" + name + "'");
    return line->second;
  }

  // Returns a line's value as an integer. Throws Error if it is invalid or out of range.
  std::int64_t integer(const std::string& name, std::int64_t low, std::int64_t high) const {
    return check_range(name, text(name), low, high);
  }

  // Returns a line's value as space-separated words.
  std::vector<std::string> words(const std::string& name) const {
    std::vector<std::string> words;
    std::istringstream stream(text(name));
    for (std::string word; stream >> word;) words.push_back(word);
    return words;
  }

  // Returns a line's value as space-separated numbers.
  std::vector<float> numbers(const std::string& name) const {
    std::vector<float> numbers;
    for (const auto& word : words(name)) {
      const auto number = read_number<float>(word);
      if (!number) throw Error(path_ + ": invalid line in its summary: '" + name + ": " + text(name) + "'");
      numbers.push_back(*number);
    }
    return numbers;
  }

  // Length of a latent vector. Throws Error if the file takes no latents, such as a synthesis network.
  std::int64_t z_dim() const { return integer("z_dim", 1, 1 << 20); }

  // 0 without classes.
  std::int64_t num_classes() const { return num_classes_; }

  // By number; empty without classes, or if a name has a comma (see ganforge.json).
  std::vector<std::string> class_names() const { return list("class_names"); }

  // Length of a condition vector; 0 without vectors.
  std::int64_t num_numbers() const { return static_cast<std::int64_t>(means_.size()); }

  // Names of the numbers; empty without vectors, or if a name has a comma (see ganforge.json).
  std::vector<std::string> number_names() const { return list("number_names"); }

  // Means of the numbers in the data.
  const std::vector<float>& number_means() const { return means_; }

  // Returns a line's comma-separated value; empty without the line.
  std::vector<std::string> list(const std::string& name) const {
    std::vector<std::string> names;
    if (!has(name)) return names;
    const auto& text = lines_.at(name);
    for (std::size_t start = 0;;) {
      const auto comma = text.find(", ", start);
      names.push_back(text.substr(start, comma - start));
      if (comma == std::string::npos) return names;
      start = comma + 2;
    }
  }

  // Shape of one example: [C, H, W] for images.
  const std::vector<std::int64_t>& shape() const { return shape_; }

  bool is_image() const { return meaning_ == "images"; }

  bool can_truncate() const { return has("truncation") && lines_.at("truncation") == "yes"; }

  const std::string& path() const { return path_; }

  // Throws Error if an argument of `sample` is invalid.
  void check(std::int64_t count, std::int64_t seed, const Condition& condition,
             std::optional<double> truncation) const {
    constexpr auto max_seed = std::numeric_limits<std::int64_t>::max() - max_count;
    if (count < 1 || count > max_count) throw out_of_range<std::int64_t>("count", count, 1, max_count);
    if (seed < 0 || seed > max_seed) throw out_of_range<std::int64_t>("seed", seed, 0, max_seed);
    if (condition.label) check_class(*condition.label);
    if (!condition.numbers.empty() && condition.numbers.size() != means_.size())
      throw Error("the condition has " + std::to_string(condition.numbers.size()) + " numbers, but must have " +
                  std::to_string(means_.size()));
    if (truncation) check_truncation(*truncation);
  }

  // Throws Error if the class does not exist.
  void check_class(std::int64_t label) const {
    if (num_classes_ == 0) throw Error("this generator has no classes; omit the class");
    if (label < 0 || label >= num_classes_) throw out_of_range<std::int64_t>("class", label, 0, num_classes_ - 1);
  }

  // Throws Error if the truncation is invalid or unsupported.
  void check_truncation(double truncation) const {
    if (!(truncation >= 0.0 && truncation <= 1.0)) throw out_of_range("truncation", truncation, 0.0, 1.0);
    if (truncation != 1.0 && !can_truncate()) throw Error("this generator does not support truncation; omit it");
  }

  // Throws Error if examples are not images.
  void check_image() const {
    if (!is_image()) throw Error("this file generates " + meaning_ + ", not images");
  }

  // Returns classes of examples `start` to `start + count`: `label`, or all in turn. Empty without classes.
  std::vector<std::int64_t> labels(std::int64_t start, std::int64_t count, std::optional<std::int64_t> label) const {
    std::vector<std::int64_t> labels;
    for (auto i = start; num_classes_ > 0 && i < start + count; ++i) labels.push_back(label.value_or(i % num_classes_));
    return labels;
  }

  // Returns condition vectors of examples `start` to `start + count`, row-major: `given`, or those of the data in turn.
  // Empty without vectors.
  std::vector<float> vectors(std::int64_t start, std::int64_t count, const std::vector<float>& given) const {
    std::vector<float> rows;
    const auto& chosen = given.empty() ? conditions_ : given;
    const auto size = means_.size(), number = size == 0 ? 0 : chosen.size() / size;
    for (auto i = start; number > 0 && i < start + count; ++i) {
      const auto* row = chosen.data() + static_cast<std::size_t>(i) % number * size;
      rows.insert(rows.end(), row, row + size);
    }
    return rows;
  }

 private:
  std::int64_t check_range(const std::string& name, const std::string& text, std::int64_t low,
                           std::int64_t high) const {
    const auto number = read_number<std::int64_t>(text);
    if (!number || *number < low || *number > high)
      throw Error(path_ + ": invalid line in its summary: '" + name + ": " + this->text(name) + "'");
    return *number;
  }

  std::map<std::string, std::string> lines_;
  std::string json_;
  std::string path_;
  std::vector<std::int64_t> shape_;
  std::string meaning_;
  std::int64_t num_classes_ = 0;
  std::vector<float> means_;
  std::vector<float> conditions_;
};

}  // namespace ganforge
