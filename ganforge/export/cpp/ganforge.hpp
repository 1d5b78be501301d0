// Generator exported by ganforge, on libtorch: `generator.pt` (TorchScript) or `generator.pt2` (AOTInductor).
//
//   ganforge::Generator generator("generator.pt");
//   at::Tensor pixels = generator.sample_uint8(16, 0);  // uint8 [16, H, W, C], seeds 0 to 15
//
// Computes on the CPU without gradients. Every error is a ganforge::Error with a message of one line.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "ganforge_about.hpp"

namespace ganforge {

class Generator {
 public:
  // Loads a file of the format that its suffix names. Load only files that you trust.
  explicit Generator(const std::filesystem::path& path);
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;
  ~Generator();

  // Metadata of the file.
  const About& about() const;

  // Returns examples, float32 [count, C, H, W] in [-1, 1], or vectors [count, D]. Example i has seed + i, as in
  // `ganforge sample`. Without a condition, classes or conditions of the data cycle. Truncation: 0 gives the mean image,
  // 1 is none.
  at::Tensor sample(std::int64_t count, std::int64_t seed, const Condition& condition = {},
                    std::optional<double> truncation = {});

  // Returns pixels, uint8 [count, H, W, C]; images only.
  at::Tensor sample_uint8(std::int64_t count, std::int64_t seed, const Condition& condition = {},
                          std::optional<double> truncation = {});

  // Returns examples from latents, float32 [N, z_dim], and classes, int64 [N], or condition vectors, float32 [N, K].
  at::Tensor forward(const at::Tensor& z, const std::optional<at::Tensor>& labels = {},
                     std::optional<double> truncation = {});

  // Returns styles, float32 [N, L, w_dim]. `mapping` and `synthesis` require a style-based generator in a .pt file.
  // `cutoff`: number of coarsest layers that are truncated; -1 for all.
  at::Tensor mapping(const at::Tensor& z, const std::optional<at::Tensor>& labels = {},
                     std::optional<double> truncation = {}, std::int64_t cutoff = -1);

  // Returns images from styles. `noise`: fixed, random, none, only-coarse or only-fine.
  at::Tensor synthesis(const at::Tensor& styles, const std::string& noise = "fixed");

  class File;

 private:
  std::unique_ptr<File> file_;
};

}  // namespace ganforge
