// Samples images from a generator on ONNX Runtime.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ganforge_onnx.hpp"
#include "ganforge_program.hpp"

namespace {

constexpr const char* usage =
    "usage: ganforge_sample_onnx MODEL [--count N] [--seed S] [--class NAME] [--condition NAME=VALUE,...] "
    "[--truncation PSI] [--grid grid.png] [--no-marking]";

class Model {
 public:
  explicit Model(const std::string& path) : generator_(path) {}

  const ganforge::About& about() const { return generator_.about(); }

  std::vector<std::uint8_t> sample_pixels(std::int64_t count, std::int64_t seed, const ganforge::Condition& condition,
                                          std::optional<double> truncation) {
    return generator_.sample_uint8(count, seed, condition, truncation);
  }

 private:
  ganforge::OnnxGenerator generator_;
};

}  // namespace

int main(int argc, char** argv) { return ganforge::run(argc, argv, usage, ganforge::sample<Model>); }
