// Samples images from a generator on libtorch.

#include <ATen/Context.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ganforge.hpp"
#include "ganforge_program.hpp"

namespace {

constexpr const char* usage =
    "usage: ganforge_sample MODEL [--count N] [--seed S] [--class NAME] [--condition NAME=VALUE,...] "
    "[--truncation PSI] [--grid grid.png] [--no-marking]";

class Model {
 public:
  explicit Model(const std::string& path) : generator_(path) {}

  const ganforge::About& about() const { return generator_.about(); }

  std::vector<std::uint8_t> sample_pixels(std::int64_t count, std::int64_t seed, const ganforge::Condition& condition,
                                          std::optional<double> truncation) {
    at::manual_seed(static_cast<std::uint64_t>(seed));  // for networks with random noise
    const auto pixels = generator_.sample_uint8(count, seed, condition, truncation);
    const auto* first = pixels.const_data_ptr<std::uint8_t>();
    return {first, first + pixels.numel()};
  }

 private:
  ganforge::Generator generator_;
};

}  // namespace

int main(int argc, char** argv) { return ganforge::run(argc, argv, usage, ganforge::sample<Model>); }
