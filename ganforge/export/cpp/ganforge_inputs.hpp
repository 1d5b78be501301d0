// Input tensors of .onnx and .pt2 files, in order. Requires only the standard library.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ganforge_about.hpp"

namespace ganforge {

// Numbers of a tensor in row-major order; as labels, classes [N] or condition vectors [N, K].
using Numbers = std::variant<std::vector<std::int64_t>, std::vector<float>>;

// A tensor in row-major order; the shape of a scalar is empty.
struct Input {
  std::string name;
  std::vector<std::int64_t> shape;
  Numbers numbers;
};

// Returns the labels of examples `start` to `start + count`; empty without classes and vectors.
inline Numbers list_labels(const About& about, std::int64_t start, std::int64_t count, const Condition& condition) {
  if (about.num_numbers() > 0) return about.vectors(start, count, condition.numbers);
  return about.labels(start, count, condition.label);
}

// Returns the maximum batch size, which is smaller for networks with much noise.
inline std::int64_t batch_limit(const About& about) {
  constexpr std::int64_t most_noise = 1 << 24;
  if (!about.has("noise_size")) return batch_size;
  return std::clamp<std::int64_t>(most_noise / about.integer("noise_size", 1, 1 << 28), 1, batch_size);
}

// Returns the input tensors for `count` latents, in the file's order. Noise is the network's fixed noise, as in
// `ganforge sample`.
inline std::vector<Input> list_inputs(const About& about, std::int64_t count, std::vector<float> z,
                                      Numbers labels, double truncation) {
  std::vector<Input> inputs;
  for (const auto& name : about.words("inputs")) {
    if (name == "z") {
      inputs.push_back({name, {count, about.z_dim()}, std::move(z)});
    } else if (name == "labels") {
      const auto length = about.num_numbers();
      const auto size = std::visit([](const auto& numbers) { return numbers.size(); }, labels);
      const bool fits = std::holds_alternative<std::vector<float>>(labels) == (length > 0);
      if (!fits || size != static_cast<std::size_t>(count * std::max<std::int64_t>(length, 1))) {
        const auto wanted = length > 0 ? "a vector of " + std::to_string(length) + " numbers" : std::string("a class");
        throw Error("this generator requires " + wanted + " for each latent");
      }
      auto shape = length > 0 ? std::vector<std::int64_t>{count, length} : std::vector<std::int64_t>{count};
      inputs.push_back({name, std::move(shape), std::move(labels)});
    } else if (name == "truncation") {
      inputs.push_back({name, {}, std::vector<float>{static_cast<float>(truncation)}});
    } else if (name == "cutoff") {
      inputs.push_back({name, {}, std::vector<std::int64_t>{-1}});
    } else if (name == "noise") {
      const auto size = about.integer("noise_size", 1, 1 << 28);
      inputs.push_back({name, {count, size}, std::vector<float>(static_cast<std::size_t>(count * size))});
    } else if (name == "fixed_noise") {
      auto shares = about.numbers("fixed_noise");
      inputs.push_back({name, {static_cast<std::int64_t>(shares.size())}, std::move(shares)});
    } else {
      throw Error(about.path() + ": input '" + name + "' is unsupported");
    }
  }
  return inputs;
}

}  // namespace ganforge
