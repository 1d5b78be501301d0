// Grids of images, written as PNG or PPM. Requires only the standard library.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "ganforge_about.hpp"

namespace ganforge {

// Rows of pixels from the top with interleaved channels: gray, RGB or RGBA.
struct Picture {
  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t channels = 0;
  std::vector<std::uint8_t> bytes;
};

// Arranges images in a nearly square grid on black with gaps of 2 pixels. Pixels have shape
// [count, height, width, channels]; of 2 channels the first is shown, of more than 4 three evenly spaced.
inline Picture make_grid(std::span<const std::uint8_t> pixels, std::size_t count, std::size_t height, std::size_t width,
                         std::size_t channels) {
  constexpr std::size_t gap = 2;
  if (count == 0 || height == 0 || width == 0 || channels == 0 || pixels.size() != count * height * width * channels)
    throw Error(std::to_string(pixels.size()) + " bytes of pixels do not match the shape of the images");
  std::size_t columns = 1;
  while (columns * columns < count) ++columns;
  const std::size_t rows = (count + columns - 1) / columns;
  const std::size_t shown = channels > 4 ? 3 : channels == 2 ? 1 : channels;
  const std::array<std::size_t, 4> spaced{0, channels / 2, channels - 1, 0}, first{0, 1, 2, 3};
  const auto& chosen = channels > 4 ? spaced : first;
  Picture picture{columns * (width + gap) - gap, rows * (height + gap) - gap, shown, {}};
  picture.bytes.resize(picture.width * picture.height * shown);
  for (std::size_t i = 0; i < count * height * width; ++i) {
    const std::size_t image = i / (height * width), y = i / width % height, x = i % width;
    const std::size_t top = image / columns * (height + gap), left = image % columns * (width + gap);
    const auto place = ((top + y) * picture.width + left + x) * shown;
    for (std::size_t c = 0; c < shown; ++c) picture.bytes[place + c] = pixels[i * channels + chosen[c]];
  }
  return picture;
}

namespace detail {

inline constexpr auto crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t sum = i;
    for (int bit = 0; bit < 8; ++bit) sum = (sum & 1U) != 0 ? 0xedb88320U ^ (sum >> 1U) : sum >> 1U;
    table[i] = sum;
  }
  return table;
}();

inline void append_big_endian(std::string& text, std::uint32_t number) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) text += static_cast<char>((number >> shift) & 0xffU);
}

// Writes a PNG chunk: length, type, data, and CRC-32 of type and data.
inline void write_chunk(std::ostream& file, const std::string& kind, const std::string& content) {
  std::string chunk;
  append_big_endian(chunk, static_cast<std::uint32_t>(content.size()));
  chunk += kind + content;
  std::uint32_t sum = 0xffffffffU;
  for (std::size_t i = 4; i < chunk.size(); ++i)
    sum = crc_table[(sum ^ static_cast<std::uint8_t>(chunk[i])) & 0xffU] ^ (sum >> 8U);
  append_big_endian(chunk, ~sum);
  file.write(chunk.data(), static_cast<std::streamsize>(chunk.size()));
}

// Pixels are stored uncompressed, without zlib: blocks of at most 65535 bytes, one per chunk.
inline void write_png(std::ostream& file, const Picture& picture, const std::string& xmp) {
  std::string header;
  append_big_endian(header, static_cast<std::uint32_t>(picture.width));
  append_big_endian(header, static_cast<std::uint32_t>(picture.height));
  header += '\x08';  // bits per channel
  header += picture.channels == 1 ? '\x00' : picture.channels == 3 ? '\x02' : '\x06';
  header.append(3, '\x00');
  file.write("\x89PNG\r\n\x1a\n", 8);
  write_chunk(file, "IHDR", header);
  // After the keyword: not compressed, no language, no translated keyword.
  if (!xmp.empty()) write_chunk(file, "iTXt", "XML:com.adobe.xmp" + std::string(5, '\0') + xmp);

  constexpr std::size_t largest = 65535;
  const std::size_t row = picture.width * picture.channels + 1;  // each begins with filter type 0
  const std::size_t size = row * picture.height;
  std::uint32_t low = 1, high = 0;  // Adler-32
  for (std::size_t start = 0; start < size; start += largest) {
    const std::size_t length = std::min(largest, size - start);
    std::string block = start == 0 ? "\x78\x01" : "";
    block += start + length == size ? '\x01' : '\x00';
    for (const auto number : {length, ~length}) {
      block += static_cast<char>(number & 0xffU);
      block += static_cast<char>((number >> 8U) & 0xffU);
    }
    for (std::size_t i = start; i < start + length; ++i) {
      const std::uint8_t byte = i % row == 0 ? std::uint8_t{0} : picture.bytes[i - i / row - 1];
      low = (low + byte) % 65521U;
      high = (high + low) % 65521U;
      block += static_cast<char>(byte);
    }
    if (start + length == size) append_big_endian(block, (high << 16U) | low);
    write_chunk(file, "IDAT", block);
  }
  write_chunk(file, "IEND", "");
}

inline void write_ppm(std::ostream& file, const Picture& picture) {
  file << "P6\n" << picture.width << ' ' << picture.height << "\n255\n";
  std::string row;
  for (std::size_t i = 0; i < picture.width * picture.height; ++i) {
    for (std::size_t channel = 0; channel < 3; ++channel)
      row += static_cast<char>(picture.bytes[i * picture.channels + (picture.channels == 1 ? 0 : channel)]);
    if ((i + 1) % picture.width == 0) {
      file.write(row.data(), static_cast<std::streamsize>(row.size()));
      row.clear();
    }
  }
}

}  // namespace detail

// Throws Error unless the name ends in .png or .ppm.
inline void check_picture_name(const std::filesystem::path& path) {
  if (path.extension() != ".png" && path.extension() != ".ppm")
    throw Error(path.string() + ": unsupported image format; the name must end in .png or .ppm");
}

// Writes PNG or PPM (without alpha) by the suffix, atomically: on an error an existing file stays. PNG takes an XMP
// packet, such as that of `xmp_packet`; PPM has no place for one. Throws Error if it cannot be written.
inline void write_picture(const std::filesystem::path& path, const Picture& picture, const std::string& xmp = "") {
  check_picture_name(path);
  auto draft = path;
  draft += ".part";
  std::ofstream file(draft, std::ios::binary | std::ios::trunc);
  if (!file) throw Error(path.string() + ": cannot be written; check the folder and its permissions");
  path.extension() == ".png" ? detail::write_png(file, picture, xmp) : detail::write_ppm(file, picture);
  file.close();
  std::error_code problem;
  if (file) std::filesystem::rename(draft, path, problem);
  if (!file || problem) {
    std::error_code ignored;  // the error is known already
    std::filesystem::remove(draft, ignored);
    throw Error(path.string() + ": cannot be written; " + (problem ? problem.message() : "the disk may be full"));
  }
}

}  // namespace ganforge
