// Generator exported by ganforge, on ONNX Runtime.
//
//   ganforge::OnnxGenerator generator("generator.onnx");
//   std::vector<std::uint8_t> pixels = generator.sample_uint8(16, 0);  // [16, H, W, C], seeds 0 to 15
//
// Computes on the CPU. Every error is a ganforge::Error with a message of one line.

#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "ganforge_about.hpp"
#include "ganforge_inputs.hpp"
#include "ganforge_latents.hpp"

namespace ganforge {

class OnnxGenerator {
 public:
  // Loads a file. `threads`: number of threads; by default one per core.
  explicit OnnxGenerator(const std::filesystem::path& path, std::optional<int> threads = {})
      : environment_(ORT_LOGGING_LEVEL_FATAL, "ganforge"), session_(load(environment_, path, threads)),
        about_(read("summary.txt"), read("ganforge.json"), path.string()) {
    const Ort::AllocatorWithDefaultOptions allocator;
    for (std::size_t i = 0; i < session_.GetInputCount(); ++i)
      inputs_.emplace_back(session_.GetInputNameAllocated(i, allocator).get());
    if (inputs_ != about_.words("inputs") || session_.GetOutputCount() == 0)
      throw Error(path.string() + ": its inputs do not match its summary");
    output_ = session_.GetOutputNameAllocated(0, allocator).get();
  }

  // Metadata of the file.
  const About& about() const { return about_; }

  // Returns examples, [count, C, H, W] in [-1, 1], or vectors [count, D], row-major. Example i has seed + i, as in
  // `ganforge sample`. Without a condition, classes or conditions of the data cycle. Truncation: 0 gives the mean image,
  // 1 is none.
  std::vector<float> sample(std::int64_t count, std::int64_t seed, const Condition& condition = {},
                            std::optional<double> truncation = {}) {
    about_.check(count, seed, condition, truncation);
    const auto limit = batch_limit(about_);
    std::vector<float> examples;
    for (std::int64_t start = 0; start < count; start += limit) {
      const auto some = std::min(limit, count - start);
      const auto batch =
          forward(draw_latents(some, about_.z_dim(), seed + start), list_labels(about_, start, some, condition),
                  truncation);
      examples.insert(examples.end(), batch.begin(), batch.end());
    }
    return examples;
  }

  // Returns pixels, [count, H, W, C]; images only.
  std::vector<std::uint8_t> sample_uint8(std::int64_t count, std::int64_t seed, const Condition& condition = {},
                                         std::optional<double> truncation = {}) {
    about_.check_image();
    const auto images = sample(count, seed, condition, truncation);
    const auto channels = static_cast<std::size_t>(about_.shape()[0]);
    const auto size = static_cast<std::size_t>(about_.shape()[1] * about_.shape()[2]);
    std::vector<std::uint8_t> pixels(images.size());
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto image = i / (channels * size), channel = i / size % channels, place = i % size;
      const float shade = std::nearbyint(images[i] * 127.5F + 127.5F);  // half to even, as torch
      const float clipped = shade > 0.0F ? std::min(shade, 255.0F) : 0.0F;  // NaN becomes black
      pixels[(image * size + place) * channels + channel] = static_cast<std::uint8_t>(clipped);
    }
    return pixels;
  }

  // Returns examples from latents [N, z_dim], row-major, and N classes from 0 or N condition vectors; empty without.
  std::vector<float> forward(std::vector<float> z, Numbers labels = {},
                             std::optional<double> truncation = {}) {
    const auto z_dim = static_cast<std::size_t>(about_.z_dim());
    if (z.empty() || z.size() % z_dim != 0) {
      throw Error("z has " + std::to_string(z.size()) + " numbers, but must have " + std::to_string(z_dim) +
                  " a latent");
    }
    const auto count = z.size() / z_dim;
    if (const auto* classes = std::get_if<std::vector<std::int64_t>>(&labels)) {
      if (!classes->empty() && classes->size() != count) {
        throw Error("there are " + std::to_string(classes->size()) + " labels for " + std::to_string(count) +
                    " latents");
      }
      for (const auto label : *classes) about_.check_class(label);
    }
    if (truncation) about_.check_truncation(*truncation);
    auto inputs = list_inputs(about_, static_cast<std::int64_t>(count), std::move(z), std::move(labels),
                              truncation.value_or(1.0));
    return run(inputs, count);
  }

 private:
  static Ort::Session load(const Ort::Env& environment, const std::filesystem::path& path, std::optional<int> threads) {
    if (!std::filesystem::is_regular_file(path)) throw Error(path.string() + ": file not found");
    try {
      Ort::SessionOptions options;
      if (threads) options.SetIntraOpNumThreads(*threads);
      return Ort::Session(environment, path.c_str(), options);
    } catch (const Ort::Exception&) {
      throw Error(path.string() + ": not an ONNX file, a damaged one, or unsupported by this ONNX Runtime");
    }
  }

  // Returns a metadata text; empty if it is missing.
  std::string read(const char* name) const {
    const Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(name, allocator);
    return text ? text.get() : "";
  }

  std::vector<float> run(std::vector<Input>& inputs, std::size_t count) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<Ort::Value> values;
    std::vector<const char*> names;
    for (auto& input : inputs) {
      names.push_back(input.name.c_str());
      const auto view = [&](auto& numbers) {
        return Ort::Value::CreateTensor(memory, numbers.data(), numbers.size(), input.shape.data(), input.shape.size());
      };
      values.push_back(std::visit(view, input.numbers));
    }
    try {
      const char* output = output_.c_str();
      const auto outputs = session_.Run(Ort::RunOptions{}, names.data(), values.data(), values.size(), &output, 1);
      const auto kind = outputs.at(0).GetTensorTypeAndShapeInfo();
      std::vector<std::int64_t> shape{static_cast<std::int64_t>(count)};
      shape.insert(shape.end(), about_.shape().begin(), about_.shape().end());
      if (kind.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || kind.GetShape() != shape)
        throw Error(about_.path() + ": its output does not match its summary");
      const auto* first = outputs[0].GetTensorData<float>();
      return {first, first + kind.GetElementCount()};
    } catch (const Ort::Exception& error) {
      throw Error(about_.path() + ": " + last_line(error.what()));
    }
  }

  Ort::Env environment_;
  Ort::Session session_;
  About about_;
  std::vector<std::string> inputs_;
  std::string output_;
};

}  // namespace ganforge
