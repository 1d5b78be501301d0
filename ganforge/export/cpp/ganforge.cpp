#include "ganforge.hpp"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "ganforge_inputs.hpp"
#include "ganforge_latents.hpp"

namespace ganforge {

namespace {

using Labels = std::optional<at::Tensor>;
using Truncation = std::optional<double>;

// Calls libtorch and reduces its errors to one line.
template <typename Call>
auto guarded(const std::string& what, Call&& call) {
  try {
    const at::NoGradGuard no_gradients;
    return std::forward<Call>(call)();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(what + ": out of memory");
  } catch (const c10::Error& error) {
    throw Error(what + ": " + last_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    throw Error(what + ": " + last_line(error.what()));
  }
}

std::string describe(const at::Tensor& tensor) {
  std::ostringstream text;
  text << c10::toString(tensor.scalar_type()) << ' ' << tensor.sizes() << " on " << tensor.device();
  return text.str();
}

// Throws Error unless a tensor is on the CPU with this type and shape; -1 is any size above 0.
void check_tensor(const std::string& name, const at::Tensor& tensor, at::ScalarType type,
                  const std::vector<std::int64_t>& shape) {
  bool fits = tensor.defined() && tensor.device().is_cpu() && tensor.layout() == at::kStrided &&
              tensor.scalar_type() == type && tensor.dim() == static_cast<std::int64_t>(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    const auto size = tensor.size(static_cast<std::int64_t>(i));
    fits = shape[i] == -1 ? size > 0 : size == shape[i];
  }
  if (fits) return;
  std::ostringstream wanted;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    wanted << (i == 0 ? "" : ", ");
    shape[i] == -1 ? wanted << "N" : wanted << shape[i];
  }
  throw Error(name + " is " + (tensor.defined() ? describe(tensor) : "undefined") + ", but must be " +
              c10::toString(type) + " [" + wanted.str() + "] on cpu");
}

void check_arguments(const About& about, const at::Tensor& z, const Labels& labels, Truncation truncation) {
  check_tensor("z", z, at::kFloat, {-1, about.z_dim()});
  if (truncation) about.check_truncation(*truncation);
  if (!labels) return;
  if (about.num_numbers() > 0) return check_tensor("labels", *labels, at::kFloat, {z.size(0), about.num_numbers()});
  check_tensor("labels", *labels, at::kLong, {z.size(0)});
  about.check_class(labels->min().item<std::int64_t>());
  about.check_class(labels->max().item<std::int64_t>());
}

// Returns labels of `count` examples as a tensor; none if they are empty.
Labels to_tensor(const Numbers& labels, std::int64_t count) {
  if (const auto* classes = std::get_if<std::vector<std::int64_t>>(&labels))
    return classes->empty() ? Labels{} : at::tensor(*classes, at::kLong);
  return at::tensor(std::get<std::vector<float>>(labels), at::kFloat).view({count, -1});
}

at::Tensor to_pixels(const at::Tensor& images) {
  return images.mul(127.5).add(127.5).round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

}  // namespace

// Interface of both formats. Arguments are validated.
class Generator::File {
 public:
  explicit File(About about) : about_(std::move(about)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  const About& about() const { return about_; }

  virtual at::Tensor forward(const at::Tensor& z, const Labels& labels, Truncation truncation) = 0;

  // Returns at most one batch of examples from `seed` with classes `labels`.
  virtual at::Tensor sample(std::int64_t count, std::int64_t seed, const Labels& labels, Truncation truncation) {
    auto latents = draw_latents(count, about_.z_dim(), seed);
    return forward(at::tensor(latents).view({count, -1}), labels, truncation);
  }

  virtual std::int64_t batch() const { return batch_size; }

  virtual at::Tensor mapping(const at::Tensor&, const Labels&, Truncation, std::int64_t) { throw no_styles(); }
  virtual at::Tensor synthesis(const at::Tensor&, const std::string&) { throw no_styles(); }

  // Returns examples in batches, each passed through `finish`.
  template <typename Finish>
  at::Tensor sample_all(std::int64_t count, std::int64_t seed, const Condition& condition, Truncation truncation,
                        Finish finish) {
    std::vector<at::Tensor> examples;
    for (std::int64_t start = 0; start < count; start += batch()) {
      const auto some = std::min(batch(), count - start);
      const auto labels = to_tensor(list_labels(about_, start, some, condition), some);
      examples.push_back(finish(sample(some, seed + start, labels, truncation)));
    }
    return at::cat(examples);
  }

 protected:
  Error no_styles() const {
    return Error(about_.path() + ": has no method mapping or synthesis; only .pt files of style-based generators do");
  }

 private:
  About about_;
};

namespace {

class TorchScript : public Generator::File {
 public:
  TorchScript(About about, torch::jit::Module network) : File(std::move(about)), network_(std::move(network)) {}

  at::Tensor forward(const at::Tensor& z, const Labels& labels, Truncation truncation) override {
    auto arguments = list_arguments(labels, truncation);
    arguments["z"] = z;
    return call("forward", std::move(arguments));
  }

  at::Tensor sample(std::int64_t count, std::int64_t seed, const Labels& labels, Truncation truncation) override {
    auto arguments = list_arguments(labels, truncation);
    arguments["count"] = count;
    arguments["seed"] = seed;
    return call("sample", std::move(arguments));
  }

  at::Tensor mapping(const at::Tensor& z, const Labels& labels, Truncation truncation, std::int64_t cutoff) override {
    require_styles();
    const auto num_styles = shape_of_styles()[1];
    if (cutoff < -1 || cutoff > num_styles) throw out_of_range<std::int64_t>("cutoff", cutoff, -1, num_styles);
    auto arguments = list_arguments(labels, truncation);
    arguments["z"] = z;
    arguments["cutoff"] = cutoff;
    return call("mapping", std::move(arguments));
  }

  at::Tensor synthesis(const at::Tensor& styles, const std::string& noise) override {
    require_styles();
    check_tensor("styles", styles, at::kFloat, shape_of_styles());
    const auto modes = {"random", "fixed", "none", "only-coarse", "only-fine"};
    if (std::find(modes.begin(), modes.end(), noise) == modes.end())
      throw Error("noise is '" + noise + "', but must be random, fixed, none, only-coarse or only-fine");
    return call("synthesis", {{"w", styles}, {"noise", noise}});
  }

 private:
  static torch::jit::Kwargs list_arguments(const Labels& labels, Truncation truncation) {
    torch::jit::Kwargs arguments;
    if (labels) arguments["labels"] = *labels;
    if (truncation && *truncation != 1.0) arguments["truncation"] = *truncation;
    return arguments;
  }

  at::Tensor call(const std::string& method, torch::jit::Kwargs arguments) {
    return network_.get_method(method)({}, arguments).toTensor();
  }

  void require_styles() const {
    if (!network_.find_method("mapping") || !network_.find_method("synthesis")) throw no_styles();
  }

  // [N, L, w_dim] with -1 for N, found by mapping one latent once.
  const std::vector<std::int64_t>& shape_of_styles() {
    if (shape_of_styles_.empty()) {
      torch::jit::Kwargs arguments{{"z", at::zeros({1, about().z_dim()})}};
      if (const auto labels = to_tensor(list_labels(about(), 0, 1, {}), 1)) arguments["labels"] = *labels;
      shape_of_styles_ = call("mapping", std::move(arguments)).sizes().vec();
      if (shape_of_styles_.size() != 3) throw Error(about().path() + ": its styles do not have shape [N, L, w_dim]");
      shape_of_styles_[0] = -1;
    }
    return shape_of_styles_;
  }

  torch::jit::Module network_;
  std::vector<std::int64_t> shape_of_styles_;
};

class Package : public Generator::File {
 public:
  Package(About about, std::unique_ptr<torch::inductor::AOTIModelPackageLoader> loader)
      : File(std::move(about)), loader_(std::move(loader)) {}

  at::Tensor forward(const at::Tensor& z, const Labels& labels, Truncation truncation) override {
    const auto latents = z.contiguous();
    Numbers given;
    if (labels) {
      const auto each = labels->contiguous();
      const auto read = [&each](const auto* start) { return std::vector(start, start + each.numel()); };
      if (about().num_numbers() > 0) {
        given = read(each.const_data_ptr<float>());
      } else {
        given = read(each.const_data_ptr<std::int64_t>());
      }
    }
    const auto* first = latents.const_data_ptr<float>();
    auto inputs = list_inputs(about(), z.size(0), std::vector<float>(first, first + latents.numel()),
                                    std::move(given), truncation.value_or(1.0));
    std::vector<at::Tensor> tensors;  // views of `inputs`
    for (auto& input : inputs) {
      const auto view = [&input](auto& numbers) {
        using Number = typename std::decay_t<decltype(numbers)>::value_type;
        return at::from_blob(numbers.data(), input.shape, c10::CppTypeToScalarType<Number>::value);
      };
      tensors.push_back(std::visit(view, input.numbers));
    }
    const auto outputs = loader_->run(tensors);
    if (outputs.empty()) throw Error(about().path() + ": returns no output");
    return outputs[0];
  }

  std::int64_t batch() const override { return batch_limit(about()); }

 private:
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> loader_;
};

// libtorch's own messages about unreadable files describe its internals.
std::unique_ptr<Generator::File> load_torchscript(const std::string& path) {
  torch::jit::ExtraFilesMap texts{{"summary.txt", ""}, {"ganforge.json", ""}};
  torch::jit::Module network;
  try {
    network = torch::jit::load(path, at::kCPU, texts);
  } catch (const std::exception&) {
    throw Error(path + ": not a TorchScript file, or a damaged one");
  }
  network.eval();
  About about(texts["summary.txt"], texts["ganforge.json"], path);
  if (!network.find_method("sample")) throw Error(path + ": has no method sample; export it with a newer ganforge");
  return std::make_unique<TorchScript>(std::move(about), std::move(network));
}

std::unique_ptr<Generator::File> load_package(const std::string& path) {
  // Without this a package does not validate its inputs, and may read out of bounds.
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 0);
  std::unordered_map<std::string, std::string> texts;
  try {
    texts = torch::inductor::AOTIModelPackageLoader::load_metadata_from_package(path, "model");
  } catch (const std::exception&) {
    throw Error(path + ": not an AOTInductor package, or a damaged one");
  }
  About about(texts["summary.txt"], texts["ganforge.json"], path);
  auto loader = guarded(path, [&path] { return std::make_unique<torch::inductor::AOTIModelPackageLoader>(path); });
  return std::make_unique<Package>(std::move(about), std::move(loader));
}

}  // namespace

Generator::Generator(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) throw Error(path.string() + ": file not found");
  if (path.extension() == ".onnx") throw Error(path.string() + ": requires ONNX Runtime; load it by ganforge_onnx.hpp");
  file_ = path.extension() == ".pt2" ? load_package(path.string()) : load_torchscript(path.string());
}

Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;
Generator::~Generator() = default;

const About& Generator::about() const { return file_->about(); }

at::Tensor Generator::sample(std::int64_t count, std::int64_t seed, const Condition& condition,
                             Truncation truncation) {
  about().check(count, seed, condition, truncation);
  return guarded("sample", [&] {
    return file_->sample_all(count, seed, condition, truncation, [](const at::Tensor& examples) { return examples; });
  });
}

at::Tensor Generator::sample_uint8(std::int64_t count, std::int64_t seed, const Condition& condition,
                                   Truncation truncation) {
  about().check(count, seed, condition, truncation);
  about().check_image();
  return guarded("sample_uint8", [&] { return file_->sample_all(count, seed, condition, truncation, to_pixels); });
}

at::Tensor Generator::forward(const at::Tensor& z, const Labels& labels, Truncation truncation) {
  check_arguments(about(), z, labels, truncation);
  return guarded("forward", [&] { return file_->forward(z, labels, truncation); });
}

at::Tensor Generator::mapping(const at::Tensor& z, const Labels& labels, Truncation truncation, std::int64_t cutoff) {
  check_arguments(about(), z, labels, truncation);
  return guarded("mapping", [&] { return file_->mapping(z, labels, truncation, cutoff); });
}

at::Tensor Generator::synthesis(const at::Tensor& styles, const std::string& noise) {
  return guarded("synthesis", [&] { return file_->synthesis(styles, noise); });
}

}  // namespace ganforge
