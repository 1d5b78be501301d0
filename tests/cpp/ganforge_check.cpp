// What a program of somebody's own may do with ganforge.hpp: floats as they are, tensors of its own, and mistakes.

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "ganforge.hpp"
#include "ganforge_latents.hpp"

namespace {

using ganforge::Generator;

constexpr std::int64_t count = 7, seed = 3;

void write(const std::string& path, const std::vector<at::Tensor>& tensors) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& each : tensors) {
    const auto plain = each.contiguous();
    if (plain.scalar_type() != at::kFloat) throw std::runtime_error("these are no float32");
    file.write(static_cast<const char*>(plain.const_data_ptr()), static_cast<std::streamsize>(plain.nbytes()));
  }
}

at::Tensor latents(std::int64_t number, std::int64_t z_dim, std::int64_t first) {
  return at::tensor(ganforge::draw_latents(number, z_dim, first)).view({number, z_dim});
}

// Examples by seed, of latents laid out otherwise, and, if there are styles, of styles.
void draw(Generator& generator, const std::string& path, std::optional<std::int64_t> label,
          std::optional<double> truncation) {
  const auto z = latents(count, generator.about().z_dim(), seed).t().contiguous().t();
  const auto classes = generator.about().labels(0, count, label);
  const auto labels = classes.empty() ? std::optional<at::Tensor>{} : at::tensor(classes);
  std::vector outputs{generator.sample(count, seed, label, truncation), generator.forward(z, labels, truncation)};
  if (generator.about().text("generator") == "stylegan") {
    auto moved = std::move(generator);
    outputs.push_back(moved.synthesis(moved.mapping(z, labels, truncation, 2), "none"));
  }
  write(path, outputs);
}

// The error of each mistake, one a line.
void make_mistakes(Generator& generator) {
  const auto z_dim = generator.about().z_dim();
  const auto z = at::zeros({2, z_dim});
  const auto styles = [&] { return generator.mapping(z); };
  const std::map<std::string, std::function<void()>> mistakes{
      {"count 0", [&] { generator.sample(0, 0); }},
      {"count 4097", [&] { generator.sample_uint8(4097, 0); }},
      {"seed -1", [&] { generator.sample(1, -1); }},
      {"class 3", [&] { generator.sample(1, 0, 3); }},
      {"class -1", [&] { generator.sample(1, 0, -1); }},
      {"truncation 2", [&] { generator.sample(1, 0, {}, 2.0); }},
      {"truncation 0.5", [&] { generator.sample(1, 0, {}, 0.5); }},
      {"z undefined", [&] { generator.forward(at::Tensor()); }},
      {"z double", [&] { generator.forward(z.to(at::kDouble)); }},
      {"z narrow", [&] { generator.forward(z.narrow(1, 0, 3)); }},
      {"z of no latent", [&] { generator.forward(z.narrow(0, 0, 0)); }},
      {"z of one dimension", [&] { generator.forward(z[0]); }},
      {"z elsewhere", [&] { generator.forward(at::zeros({2, z_dim}, at::Device(at::kMeta))); }},
      {"labels of int32", [&] { generator.forward(z, at::zeros({2}, at::kInt)); }},
      {"labels too few", [&] { generator.forward(z, at::zeros({1}, at::kLong)); }},
      {"labels too high", [&] { generator.forward(z, at::full({2}, 3, at::kLong)); }},
      {"labels negative", [&] { generator.forward(z, at::full({2}, -1, at::kLong)); }},
      {"cutoff 99", [&] { generator.mapping(z, {}, 0.5, 99); }},
      {"styles of two dimensions", [&] { generator.synthesis(z); }},
      {"styles of a layer too few", [&] { generator.synthesis(styles().narrow(1, 0, 1)); }},
      {"noise loud", [&] { generator.synthesis(styles(), "loud"); }},
      {"line unknown", [&] { generator.about().text("nonsense"); }},
      {"line no number", [&] { generator.about().integer("generator", 0, 9); }},
  };
  for (const auto& [name, mistake] : mistakes) {
    std::cout << name << ": ";
    try {
      mistake();
      std::cout << "no error\n";
    } catch (const ganforge::Error& error) {
      std::cout << error.what() << '\n';
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> given(argv + 1, argv + argc);
  if (given.at(0) == "latents") {
    write(given.at(1), {latents(std::stoll(given.at(4)), std::stoll(given.at(2)), std::stoll(given.at(3)))});
    return 0;
  }
  Generator generator(given.at(1));
  if (given.at(0) == "mistakes") {
    make_mistakes(generator);
  } else {
    const auto label = given.at(3) == "-" ? std::nullopt : std::optional(std::stoll(given.at(3)));
    const auto truncation = given.at(4) == "-" ? std::nullopt : std::optional(std::stod(given.at(4)));
    draw(generator, given.at(2), label, truncation);
  }
}
