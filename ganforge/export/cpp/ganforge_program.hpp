// Options and main functions of the programs. Requires only the standard library.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <iostream>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ganforge_about.hpp"
#include "ganforge_marking.hpp"
#include "ganforge_picture.hpp"

namespace ganforge {

// Command-line arguments: one model, options with a value each, and switches without a value.
class Arguments {
 public:
  Arguments(const std::vector<std::string>& given, const std::string& usage, std::initializer_list<const char*> names,
            std::initializer_list<const char*> switches = {}) {
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto& name = given[i];
      if (name.rfind("--", 0) != 0) {
        if (!model_.empty()) throw Error("unexpected argument '" + name + "'; give one model");
        model_ = name;
        continue;
      }
      if (std::find(switches.begin(), switches.end(), name) != switches.end()) {
        switched_.insert(name);
        continue;
      }
      if (std::find(names.begin(), names.end(), name) == names.end())
        throw Error("unknown option " + name + "; " + usage);
      if (++i == given.size()) throw Error(name + " requires a value; " + usage);
      values_[name] = given[i];
    }
    if (model_.empty()) throw Error(usage);
  }

  const std::string& model() const { return model_; }

  bool has(const std::string& name) const { return switched_.contains(name); }

  std::optional<std::string> text(const std::string& name) const {
    const auto value = values_.find(name);
    return value == values_.end() ? std::nullopt : std::optional(value->second);
  }

  // Throws Error unless the value is a number from `low` to `high`.
  template <typename Number>
  std::optional<Number> number(const std::string& name, Number low, Number high) const {
    const auto value = text(name);
    if (!value) return {};
    const auto number = read_number<Number>(*value);
    if (!number || !(*number >= low && *number <= high)) {
      std::ostringstream message;
      message << name << " is '" << *value << "', but must be a number from " << low << " to " << high;
      throw Error(message.str());
    }
    return number;
  }

 private:
  std::string model_;
  std::map<std::string, std::string> values_;
  std::set<std::string> switched_;
};

// Returns the number of a class, given by name or number.
inline std::int64_t find_class(const About& about, const std::string& text) {
  if (about.num_classes() == 0) throw Error("--class: this generator has no classes");
  const auto names = about.class_names();
  if (const auto name = std::find(names.begin(), names.end(), text); name != names.end()) return name - names.begin();
  const auto number = read_number<std::int64_t>(text);
  if (number && *number >= 0 && *number < about.num_classes()) return *number;
  std::string choice = "a number from 0 to " + std::to_string(about.num_classes() - 1);
  constexpr std::size_t short_list = 20;
  if (!names.empty() && names.size() <= short_list) choice += ", or one of: " + about.text("class_names");
  throw Error("--class is '" + text + "', but must be " + choice);
}

// Returns the condition vector of a text such as "smile=1,age=0.3"; other numbers take their mean. Names may be numbers.
inline std::vector<float> read_condition(const About& about, const std::string& text) {
  if (about.num_numbers() == 0) throw Error("--condition: this generator has no condition vectors");
  const auto names = about.number_names();
  auto numbers = about.number_means();
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto equals = part.rfind('=');
    const auto name = part.substr(0, equals);
    const auto found = std::find(names.begin(), names.end(), name);
    const auto place = found != names.end() ? std::optional<std::int64_t>(found - names.begin())
                                            : read_number<std::int64_t>(name);
    if (equals == std::string::npos || !place || *place < 0 || *place >= about.num_numbers()) {
      throw Error("--condition is '" + text + "', but must be NAME=VALUE,..." +
                  (names.empty() ? "" : " with names of: " + about.text("number_names")));
    }
    const auto value = read_number<float>(part.substr(equals + 1));
    if (!value) throw Error("--condition is '" + text + "', but '" + part.substr(equals + 1) + "' is no number");
    numbers[static_cast<std::size_t>(*place)] = *value;
  }
  return numbers;
}

// Samples a grid of images. A Model has `about()`, and `sample_pixels(count, seed, condition, truncation)`, which returns
// bytes [count, H, W, C].
template <typename Model>
void sample(const std::vector<std::string>& given, const std::string& usage) {
  constexpr std::int64_t largest_seed = 2147483647;
  const Arguments arguments(given, usage, {"--count", "--seed", "--class", "--condition", "--truncation", "--grid"},
                            {"--no-marking"});
  const auto count = arguments.number<std::int64_t>("--count", 1, max_count).value_or(16);
  const auto seed = arguments.number<std::int64_t>("--seed", 0, largest_seed).value_or(0);
  const auto truncation = arguments.number<double>("--truncation", 0.0, 1.0);
  const auto path = arguments.text("--grid").value_or("grid.png");
  check_picture_name(path);

  Model model(arguments.model());
  const About& about = model.about();
  Condition condition;
  if (const auto name = arguments.text("--class")) condition.label = find_class(about, *name);
  if (const auto text = arguments.text("--condition")) condition.numbers = read_condition(about, *text);
  about.check(count, seed, condition, truncation);
  about.check_image();
  for (const auto& [name, value] : about.lines()) std::cout << name << ": " << value << '\n';

  const auto bytes = model.sample_pixels(count, seed, condition, truncation);
  const auto size = [&about](std::size_t i) { return static_cast<std::size_t>(about.shape()[i]); };
  write_picture(path, make_grid(bytes, static_cast<std::size_t>(count), size(1), size(2), size(0)),
                arguments.has("--no-marking") ? "" : xmp_packet(about, seed, count));
  std::cout << "wrote " << path << '\n';
}

// Measures a model's forward, and prints one line of JSON: calls, seconds per call as [minimum, median, maximum], and
// batch size. A Model is constructed from a path and a number of threads, and has `prepare(count)`, which returns a
// function that computes examples from seed 0.
template <typename Model>
void time_calls(const std::vector<std::string>& given, const std::string& usage) {
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  const Arguments arguments(given, usage, {"--batch", "--seconds", "--threads"});
  const auto count = arguments.number<std::int64_t>("--batch", 1, max_count).value_or(batch_size);
  const auto seconds = arguments.number<double>("--seconds", 0.001, 3600.0).value_or(2.0);
  const auto threads = arguments.number<int>("--threads", 1, 1024);

  Model model(arguments.model(), threads);
  const auto call = model.prepare(count);
  constexpr std::size_t fewest = 3;
  for (std::size_t i = 0; i < fewest; ++i) call();  // warm-up
  std::vector<double> times;
  for (const auto start = Clock::now(); times.size() < fewest || Seconds(Clock::now() - start).count() < seconds;) {
    const auto before = Clock::now();
    call();
    times.push_back(Seconds(Clock::now() - before).count());
  }
  std::sort(times.begin(), times.end());
  const auto middle = times.size() / 2;
  const double median = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  std::cout << "{\"calls\": " << times.size() << ", \"seconds\": [" << times.front() << ", " << median << ", "
            << times.back() << "], \"batch\": " << count << "}\n";
}

// Runs a program. Returns 0, or 2 after one line "error: ..." on standard error.
template <typename Program>
int run(int argc, char** argv, const std::string& usage, Program&& program) {
  std::string problem;
  try {
    const std::vector<std::string> given(argv + std::min(argc, 1), argv + argc);
    if (given.size() == 1 && given[0] == "--help") {
      std::cout << usage << '\n';
      return 0;
    }
    std::forward<Program>(program)(given, usage);
    if (std::cout.flush()) return 0;
    problem = "standard output cannot be written";
  } catch (const std::bad_alloc&) {
    problem = "out of memory";
  } catch (const std::exception& error) {
    problem = error.what();
  }
  std::replace_if(problem.begin(), problem.end(), [](unsigned char each) { return each < ' ' || each == 127; }, ' ');
  std::cerr << "error: " << problem << '\n';
  return 2;
}

}  // namespace ganforge
