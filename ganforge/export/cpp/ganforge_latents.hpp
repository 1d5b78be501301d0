// Latents of a seed, equal to `torch.randn(z_dim)` on a CPU after `manual_seed(seed)` within 1e-6.
// Requires only the standard library.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <random>
#include <span>
#include <vector>

namespace ganforge {

// Fills a latent vector from N(0, 1). Only the low 32 bits of the seed are used.
inline void draw_latent(std::uint64_t seed, std::span<float> z) {
  std::mt19937 bits(static_cast<std::uint32_t>(seed & 0xffffffffU));
  constexpr std::size_t chunk = 16, half = chunk / 2;

  if (z.size() < chunk) {
    // Box-Muller pairs of uniform numbers with 53 bits.
    const auto uniform = [&bits] {
      const std::uint64_t high = bits(), low = bits();
      return std::ldexp(static_cast<double>(((high << 32U) | low) & ((std::uint64_t{1} << 53U) - 1)), -53);
    };
    for (std::size_t i = 0; i < z.size(); i += 2) {
      const double angle = 2.0 * std::numbers::pi * uniform();
      const double radius = std::sqrt(-2.0 * std::log1p(-uniform()));
      z[i] = static_cast<float>(radius * std::cos(angle));
      if (i + 1 < z.size()) z[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
    return;
  }

  // Uniform numbers with 24 bits; numbers i and i + 8 of a chunk of 16 form a Box-Muller pair.
  const auto uniform = [&bits] { return std::ldexp(static_cast<float>(bits() & 0xffffffU), -24); };
  const auto to_normal = [](std::span<float> numbers) {
    for (std::size_t i = 0; i < half; ++i) {
      const float radius = std::sqrt(-2.0F * std::log(1.0F - numbers[i]));
      const float angle = 2.0F * std::numbers::pi_v<float> * numbers[i + half];
      numbers[i] = radius * std::cos(angle);
      numbers[i + half] = radius * std::sin(angle);
    }
  };
  for (auto& number : z) number = uniform();
  for (std::size_t i = 0; i + chunk <= z.size(); i += chunk) to_normal(z.subspan(i, chunk));
  if (z.size() % chunk != 0) {  // the last 16 are drawn again, as torch does
    const auto last = z.last(chunk);
    for (auto& number : last) number = uniform();
    to_normal(last);
  }
}

// Returns latents [count, z_dim]; row i has seed + i.
inline std::vector<float> draw_latents(std::int64_t count, std::int64_t z_dim, std::int64_t seed) {
  const auto size = static_cast<std::size_t>(z_dim);
  std::vector<float> latents(static_cast<std::size_t>(count) * size);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    draw_latent(static_cast<std::uint64_t>(seed) + i, std::span(latents).subspan(i * size, size));
  return latents;
}

}  // namespace ganforge
