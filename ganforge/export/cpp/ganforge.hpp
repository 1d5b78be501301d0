// A generator that ganforge exported, over libtorch: `generator.pt` (TorchScript) or `generator.pt2` (AOTInductor).
//
//   ganforge::Generator generator("generator.pt");
//   at::Tensor pixels = generator.sample_uint8(16, 0);  // uint8 [16, H, W, C], of the seeds 0 to 15
//
// It computes on the CPU and without gradients. Whatever goes wrong is a ganforge::Error of one plain line.

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
  // Loads a file; its name's ending says which kind it is. Only load files from people whose programs you would run.
  explicit Generator(const std::filesystem::path& path);
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;
  ~Generator();

  // What the file says of itself.
  const About& about() const;

  // Examples, float32 [count, C, H, W] in [-1, 1], or vectors [count, D]. Example i is that of seed + i, the one that
  // `ganforge sample` makes. Without a label all classes come in turn; a truncation of 0 makes all alike, 1 changes
  // nothing.
  at::Tensor sample(std::int64_t count, std::int64_t seed, std::optional<std::int64_t> label = {},
                    std::optional<double> truncation = {});

  // The same as pixels, uint8 [count, H, W, C]; images only.
  at::Tensor sample_uint8(std::int64_t count, std::int64_t seed, std::optional<std::int64_t> label = {},
                          std::optional<double> truncation = {});

  // Examples of latents, float32 [N, z_dim], and of classes, int64 [N].
  at::Tensor forward(const at::Tensor& z, const std::optional<at::Tensor>& labels = {},
                     std::optional<double> truncation = {});

  // Styles of latents, float32 [N, L, w_dim]; generators by styles in a .pt file only, as for `synthesis`.
  // `cutoff`: so many of the coarsest layers are truncated; -1 for all.
  at::Tensor mapping(const at::Tensor& z, const std::optional<at::Tensor>& labels = {},
                     std::optional<double> truncation = {}, std::int64_t cutoff = -1);

  // Images of styles. `noise` is fixed (the same each time), random, none, only-coarse or only-fine.
  at::Tensor synthesis(const at::Tensor& styles, const std::string& noise = "fixed");

  class File;

 private:
  std::unique_ptr<File> file_;
};

}  // namespace ganforge
