#include "tests/server/masks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <png.h>

namespace spatialmamba {
namespace {

struct Input {
  const std::string* file;
  size_t at = 0;
};

void Read(png_structp png, png_bytep target, size_t count) {
  auto* input = static_cast<Input*>(png_get_io_ptr(png));
  if (count > input->file->size() - input->at) png_error(png, "cut off");
  std::memcpy(target, input->file->data() + input->at, count);
  input->at += count;
}

}  // namespace

PngPixels ReadPng(const std::string& file) {
  Input input{&file};
  png_structp png = png_create_read_struct(
      PNG_LIBPNG_VER_STRING, nullptr,
      [](png_structp, png_const_charp message) { throw std::runtime_error(message); },
      [](png_structp, png_const_charp) {});
  png_infop info = png_create_info_struct(png);
  png_set_read_fn(png, &input, Read);
  png_read_info(png, info);
  PngPixels pixels{.height = png_get_image_height(png, info),
                   .width = png_get_image_width(png, info),
                   .bits = png_get_bit_depth(png, info),
                   .palette = png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE};
  png_colorp colors = nullptr;
  int count = 0;
  if (png_get_PLTE(png, info, &colors, &count) != 0) {
    for (int i = 0; i < count; ++i) {
      pixels.colors.insert(pixels.colors.end(), {colors[i].red, colors[i].green, colors[i].blue});
    }
  }
  png_set_packing(png);  // fewer than eight bits: one byte a pixel all the same
  if (pixels.bits == 16) png_set_swap(png);
  png_read_update_info(png, info);
  std::vector<uint8_t> row(png_get_rowbytes(png, info));
  for (int64_t y = 0; y < pixels.height; ++y) {
    png_read_row(png, row.data(), nullptr);
    for (int64_t x = 0; x < pixels.width; ++x) {
      uint16_t value = row[static_cast<size_t>(x)];
      if (pixels.bits == 16) std::memcpy(&value, row.data() + 2 * x, 2);
      pixels.values.push_back(value);
    }
  }
  png_destroy_read_struct(&png, &info, nullptr);
  return pixels;
}

std::vector<uint16_t> SetPixels(const v1::CocoRle& mask) {
  std::vector<uint16_t> pixels(static_cast<size_t>(mask.height()) *
                               static_cast<size_t>(mask.width()));
  std::vector<int64_t> counts;
  int64_t at = 0;
  const std::string& text = mask.counts();
  for (size_t i = 0; i < text.size();) {
    int64_t value = 0;
    int shift = 0;
    bool more = true;
    while (more) {
      const int group = text.at(i++) - 48;
      value |= static_cast<int64_t>(group & 0x1F) << shift;
      more = (group & 0x20) != 0;
      shift += 5;
      if (!more && (group & 0x10) != 0) value |= -(int64_t{1} << shift);
    }
    if (counts.size() > 2) value += counts[counts.size() - 2];
    for (const int64_t end = at + value; at < end; ++at) {
      pixels.at(static_cast<size_t>(at % mask.height() * mask.width() + at / mask.height())) =
          static_cast<uint16_t>(counts.size() % 2);
    }
    counts.push_back(value);
  }
  if (at != static_cast<int64_t>(pixels.size())) throw std::runtime_error("runs do not fit");
  return pixels;
}

std::vector<uint16_t> SetPixels(const v1::PolygonMask& mask, int64_t height, int64_t width) {
  std::vector<uint16_t> pixels(static_cast<size_t>(height * width));
  for (const v1::Polygon& polygon : mask.polygons()) {
    std::vector<uint16_t> part(pixels.size());
    const int corners = polygon.xy_size() / 2;
    for (int i = 0; i < corners; ++i) {
      const int next = (i + 1) % corners;
      if (polygon.xy(2 * i) != polygon.xy(2 * next)) continue;
      const auto x = static_cast<int64_t>(polygon.xy(2 * i));
      const auto [low, high] = std::minmax({polygon.xy(2 * i + 1), polygon.xy(2 * next + 1)});
      for (auto y = static_cast<int64_t>(low); y < static_cast<int64_t>(high); ++y) {
        for (int64_t right = x; right < width; ++right) {
          part[static_cast<size_t>(y * width + right)] ^= 1U;
        }
      }
    }
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] |= part[i];
  }
  return pixels;
}

int64_t DifferentPixels(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  if (a.size() != b.size()) return -1;
  int64_t differ = 0;
  for (size_t i = 0; i < a.size(); ++i) differ += a[i] != b[i] ? 1 : 0;
  return differ;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(std::string(SPATIALMAMBA_SOURCE_DIR) + "/" + path, std::ios::binary);
  if (!in) throw std::runtime_error(path + " is missing");
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace spatialmamba
