#include "tests/oracle/synthetic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

namespace spatialmamba::oracle {
namespace {

uint64_t Fnv1a64(std::string_view text) {
  return oracle::Fnv1a64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

uint64_t SplitMix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

// Offset and scale of a parameter, by the last parts of its key. The first that matches wins.
std::pair<double, double> Rule(std::string_view key, std::span<const int64_t> shape) {
  const std::string_view leaf = key.substr(key.rfind('.') + 1);
  if (leaf == "running_mean") return {0.0, 0.1};
  if (leaf == "running_var") return {1.0, 0.25};
  if (leaf == "A_logs") return {0.0, 0.5};
  if (leaf == "Ds") return {1.0, 0.1};
  if (leaf == "dt_projs_bias") return {-4.0, 2.0};
  if (leaf.starts_with("kernel_3")) return {0.2, 0.5};
  if (leaf == "alpha") return {0.4, 0.3};
  if (key.ends_with("cpe1.weight") || key.ends_with("cpe2.weight")) return {0.0, 0.15};
  if (leaf == "bias") return {0.0, 0.1};
  if (leaf == "weight" && shape.size() == 1) return {1.0, 0.1};
  if (key.ends_with("fc_cls.weight"))
    return {0.0, 4.0 * std::sqrt(3.0 / static_cast<double>(shape[1]))};
  int64_t fan_in = 1;
  for (size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
  return {0.0, std::sqrt(3.0 / static_cast<double>(fan_in))};
}

}  // namespace

uint64_t Fnv1a64(std::span<const uint8_t> bytes) {
  uint64_t value = 0xCBF29CE484222325U;
  for (const uint8_t byte : bytes) value = (value ^ byte) * 0x100000001B3U;
  return value;
}

std::vector<double> Unit(int64_t seed, std::string_view key, int64_t count) {
  const uint64_t first = Fnv1a64(key) + static_cast<uint64_t>(seed) * 0x9E3779B97F4A7C15U;
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>(SplitMix64(first + i) >> 40) * (2.0 / (1 << 24)) - 1.0;
  }
  return values;
}

std::vector<float> Tensor(int64_t seed, std::string_view key, std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  const auto [offset, scale] = Rule(key, shape);
  std::vector<double> values = Unit(seed, key, count);
  for (double& value : values) value = offset + scale * value;
  if (key.ends_with("fc_cls.bias")) values.back() += 4.5 * std::log(static_cast<double>(shape[0]));
  return {values.begin(), values.end()};
}

std::vector<uint8_t> Image(int64_t seed, int64_t height, int64_t width) {
  const double tau = 2 * std::numbers::pi;
  const std::vector<double> p = Unit(seed, "image.shading", 18);
  std::vector<double> canvas(static_cast<size_t>(height * width * 3));
  const auto pixel = [&](int64_t y, int64_t x) { return canvas.data() + (y * width + x) * 3; };
  // numpy.linspace(0, 1, n)[i] is i * (1 / (n - 1)), its last value exactly 1.
  const auto line = [](int64_t i, int64_t n) {
    if (i == n - 1 && n > 1) return 1.0;
    return n > 1 ? static_cast<double>(i) * (1.0 / static_cast<double>(n - 1)) : 0.0;
  };
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const double y = line(i, height);
      const double x = line(j, width);
      for (size_t c = 0; c < 3; ++c) {
        const double* q = p.data() + c * 6;
        double value = 127.5 + 60.0 * std::sin(tau * (q[0] * 3 * y + q[1] * 3 * x + q[2]));
        value = value + 40.0 * std::cos(tau * (q[3] * 7 * y + q[4] * 5 * x + q[5]));
        pixel(i, j)[c] = value;
      }
    }
  }
  std::vector<double> boxes = Unit(seed, "image.boxes", 8 * 7);
  for (double& value : boxes) value = (value + 1.0) / 2.0;
  for (size_t b = 0; b < 8; ++b) {
    const double* q = boxes.data() + b * 7;  // centre y and x, size y and x, colour
    const auto h = static_cast<double>(height);
    const auto w = static_cast<double>(width);
    const auto top = static_cast<int64_t>(q[0] * h * 0.8);
    const auto left = static_cast<int64_t>(q[1] * w * 0.8);
    const int64_t bottom =
        std::min(height, top + std::max<int64_t>(4, static_cast<int64_t>(q[2] * h * 0.3)));
    const int64_t right =
        std::min(width, left + std::max<int64_t>(4, static_cast<int64_t>(q[3] * w * 0.3)));
    for (int64_t y = top; y < bottom; ++y) {
      for (int64_t x = left; x < right; ++x) {
        for (size_t c = 0; c < 3; ++c) pixel(y, x)[c] = q[4 + c] * 255.0;
      }
    }
  }
  const std::vector<double> noise = Unit(seed, "image.noise", height * width * 3);
  std::vector<uint8_t> picture(canvas.size());
  for (size_t i = 0; i < canvas.size(); ++i) {
    picture[i] =
        static_cast<uint8_t>(std::clamp(std::nearbyint(canvas[i] + 6.0 * noise[i]), 0.0, 255.0));
  }
  return picture;
}

}  // namespace spatialmamba::oracle
