// Draws images from a generator that `ganforge export --torchscript` wrote. It needs libtorch and nothing else.

#include <torch/script.h>

#include <cmath>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

constexpr const char* usage =
    "usage: ganforge_sample MODEL.pt [--count N] [--seed S] [--class K] [--truncation PSI] [--out grid.ppm]";

constexpr std::int64_t int_max = 2147483647;

struct Options {
  std::string model;
  std::int64_t count = 16;
  std::int64_t seed = 0;
  std::optional<std::int64_t> label;
  std::optional<double> truncation;
  std::string out = "grid.ppm";
};

// A generator and the lines of its summary, such as "z_dim: 64".
struct Model {
  torch::jit::Module network;
  std::map<std::string, std::string> summary;
};

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

template <typename Number>
Number parse(const std::string& name, const std::string& text, Number low, Number high) {
  std::istringstream stream(text);
  Number number{};
  if (!(stream >> number) || stream.peek() != std::istringstream::traits_type::eof() || number < low || number > high) {
    std::ostringstream message;
    message << name << " is '" << text << "', but must be a number from " << low << " to " << high;
    refuse(message.str());
  }
  return number;
}

Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      if (!options.model.empty()) refuse("one model at a time: '" + name + "' is too many");
      options.model = name;
      continue;
    }
    if (++i == argc) refuse(name + " needs a value; " + usage);
    const std::string value = argv[i];
    if (name == "--count") {
      options.count = parse<std::int64_t>(name, value, 1, 4096);
    } else if (name == "--seed") {
      options.seed = parse<std::int64_t>(name, value, 0, int_max);
    } else if (name == "--class") {
      options.label = parse<std::int64_t>(name, value, 0, int_max);
    } else if (name == "--truncation") {
      options.truncation = parse<double>(name, value, 0.0, 1.0);
    } else if (name == "--out") {
      options.out = value;
    } else {
      refuse("no such option: " + name + "; " + usage);
    }
  }
  if (options.model.empty()) refuse(usage);
  return options;
}

Model load(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) refuse(path + ": no such file");
  torch::jit::ExtraFilesMap texts{{"summary.txt", ""}};
  Model model;
  try {
    model.network = torch::jit::load(path, torch::kCPU, texts);
  } catch (const std::exception&) {
    refuse(path + ": is no TorchScript file, or a damaged one");
  }
  std::istringstream lines(texts["summary.txt"]);
  for (std::string line; std::getline(lines, line);) {
    if (const auto colon = line.find(": "); colon != std::string::npos)
      model.summary[line.substr(0, colon)] = line.substr(colon + 2);
  }
  if (!model.summary.contains("num_classes"))
    refuse(path + ": was not exported by ganforge; it has no summary.txt");
  return model;
}

// Pixels, uint8 [N, H, W, C]. Image i is that of seed + i, as with `ganforge sample`; classes come in turn.
torch::Tensor sample(Model& model, const Options& options) {
  const auto method = model.network.find_method("sample_uint8");
  if (!method) {
    refuse(model.network.find_method("sample") ? "this generator makes vectors, not images; there is nothing to draw"
                                               : "the model has no method sample; export it with this ganforge");
  }
  torch::jit::Kwargs arguments{{"count", options.count}, {"seed", options.seed}};

  if (options.label) {
    const auto num_classes = parse<std::int64_t>("num_classes", model.summary["num_classes"], 0, int_max);
    if (*options.label >= num_classes) {
      refuse(num_classes == 0 ? "--class: this generator knows no classes"
                              : "--class is " + std::to_string(*options.label) + ", but must be below " +
                                    std::to_string(num_classes));
    }
    arguments["labels"] = torch::full({options.count}, *options.label, torch::kInt64);
  }

  if (options.truncation) {
    if (!method->function().getSchema().argumentIndexWithName("truncation"))
      refuse("--truncation: this generator cannot be truncated");
    arguments["truncation"] = *options.truncation;
  }

  torch::manual_seed(static_cast<std::uint64_t>(options.seed));  // for the noise that some networks draw
  return (*method)({}, arguments).toTensor().cpu();
}

// Lays images out in rows on black, as square as can be: uint8 [H, W, 3].
torch::Tensor grid(const torch::Tensor& images) {
  constexpr std::int64_t gap = 2;
  const auto pixels = images.size(3) >= 3 ? images.narrow(3, 0, 3) : images.narrow(3, 0, 1).expand({-1, -1, -1, 3});
  const auto count = pixels.size(0), height = pixels.size(1), width = pixels.size(2);
  const auto columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const auto rows = (count + columns - 1) / columns;
  auto canvas = torch::zeros({rows * (height + gap) - gap, columns * (width + gap) - gap, 3}, torch::kUInt8);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto top = i / columns * (height + gap), left = i % columns * (width + gap);
    canvas.narrow(0, top, height).narrow(1, left, width).copy_(pixels[i]);
  }
  return canvas;
}

void write_ppm(const std::string& path, const torch::Tensor& picture) {
  std::ofstream file(path, std::ios::binary);
  file << "P6\n" << picture.size(1) << ' ' << picture.size(0) << "\n255\n";
  file.write(reinterpret_cast<const char*>(picture.data_ptr<std::uint8_t>()), picture.numel());
  if (!file.flush()) refuse(path + ": cannot be written");
}

// TorchScript tells of an error over many lines: first where, last what.
std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2 && std::string(argv[1]) == "--help") {
      std::cout << usage << '\n';
      return 0;
    }
    const auto options = parse_options(argc, argv);
    auto model = load(options.model);
    for (const auto& [name, value] : model.summary) std::cout << name << ": " << value << '\n';
    const c10::InferenceMode no_gradients;
    write_ppm(options.out, grid(sample(model, options)));
    std::cout << "wrote " << options.out << '\n';
    return 0;
  } catch (const c10::Error& error) {
    std::cerr << "error: " << last_line(error.what_without_backtrace()) << '\n';
  } catch (const std::exception& error) {
    std::cerr << "error: " << last_line(error.what()) << '\n';
  }
  return 2;
}
