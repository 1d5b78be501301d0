// Measures the inference time of a generator on libtorch.

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "ganforge.hpp"
#include "ganforge_latents.hpp"
#include "ganforge_program.hpp"

namespace {

constexpr const char* usage = "usage: ganforge_time MODEL [--batch N] [--seconds S] [--threads T]";

class Model {
 public:
  Model(const std::string& path, std::optional<int> threads) : generator_(path) {
    if (threads) at::set_num_threads(*threads);
  }

  auto prepare(std::int64_t count) {
    const auto& about = generator_.about();
    const auto z = at::tensor(ganforge::draw_latents(count, about.z_dim(), 0)).view({count, -1});
    const auto classes = about.labels(0, count, {});
    const auto vectors = about.vectors(0, count, {});
    auto labels = classes.empty() ? std::optional<at::Tensor>{} : at::tensor(classes);
    if (!vectors.empty()) labels = at::tensor(vectors).view({count, -1});
    return [this, z, labels] { generator_.forward(z, labels); };
  }

 private:
  ganforge::Generator generator_;
};

}  // namespace

int main(int argc, char** argv) { return ganforge::run(argc, argv, usage, ganforge::time_calls<Model>); }
