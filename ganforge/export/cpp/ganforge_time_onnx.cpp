// Measures the inference time of a generator on ONNX Runtime.

#include <cstdint>
#include <optional>
#include <string>

#include "ganforge_latents.hpp"
#include "ganforge_onnx.hpp"
#include "ganforge_program.hpp"

namespace {

constexpr const char* usage = "usage: ganforge_time_onnx MODEL [--batch N] [--seconds S] [--threads T]";

class Model {
 public:
  Model(const std::string& path, std::optional<int> threads) : generator_(path, threads) {}

  auto prepare(std::int64_t count) {
    const auto& about = generator_.about();
    auto z = ganforge::draw_latents(count, about.z_dim(), 0);
    auto labels = ganforge::list_labels(about, 0, count, {});
    return [this, z, labels] { generator_.forward(z, labels); };
  }

 private:
  ganforge::OnnxGenerator generator_;
};

}  // namespace

int main(int argc, char** argv) { return ganforge::run(argc, argv, usage, ganforge::time_calls<Model>); }
