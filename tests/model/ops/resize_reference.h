#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "model/ops/box.h"
#include "tests/model/ops/ops_fixture.h"

namespace spatialmamba {

// One image in double precision, [height, width, channels].
struct Plane {
  Plane(const PixelSize& pixels, int64_t depth)
      : size(pixels),
        channels(depth),
        values(static_cast<size_t>(pixels.height * pixels.width * depth)) {}

  Plane(const Map& map, const Span& span) : Plane({span.height, span.width}, map.channels) {
    for (int64_t t = 0; t < span.tokens(); ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        values[static_cast<size_t>(t * channels + c)] =
            static_cast<double>(map.at(span.offset + t, c));
      }
    }
  }

  double& at(int64_t y, int64_t x, int64_t c) {
    return values[static_cast<size_t>((y * size.width + x) * channels + c)];
  }
  double at(int64_t y, int64_t x, int64_t c) const {
    return values[static_cast<size_t>((y * size.width + x) * channels + c)];
  }
  // Zero outside the image.
  double Padded(int64_t y, int64_t x, int64_t c) const {
    return y < 0 || y >= size.height || x < 0 || x >= size.width ? 0.0 : at(y, x, c);
  }

  PixelSize size;
  int64_t channels;
  std::vector<double> values;
};

// Half-pixel centres, clamped edges.
inline Plane Resized(const Plane& from, const PixelSize& size) {
  const auto position = [](int64_t i, int64_t source, int64_t target) {
    const double scale = static_cast<double>(source) / static_cast<double>(target);
    return std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0,
                      static_cast<double>(source - 1));
  };
  Plane out(size, from.channels);
  for (int64_t y = 0; y < size.height; ++y) {
    const double v = position(y, from.size.height, size.height);
    const auto top = static_cast<int64_t>(v);
    const int64_t bottom = std::min(top + 1, from.size.height - 1);
    for (int64_t x = 0; x < size.width; ++x) {
      const double u = position(x, from.size.width, size.width);
      const auto left = static_cast<int64_t>(u);
      const int64_t right = std::min(left + 1, from.size.width - 1);
      const double down = v - static_cast<double>(top);
      const double across = u - static_cast<double>(left);
      for (int64_t c = 0; c < from.channels; ++c) {
        out.at(y, x, c) =
            (1 - down) * ((1 - across) * from.at(top, left, c) + across * from.at(top, right, c)) +
            down * ((1 - across) * from.at(bottom, left, c) + across * from.at(bottom, right, c));
      }
    }
  }
  return out;
}

}  // namespace spatialmamba
