#pragma once

#include <cstdint>

namespace spatialmamba {

// An axis-parallel rectangle in pixels, of the picture that the context names.
struct Box {
  float left = 0;
  float top = 0;
  float right = 0;
  float bottom = 0;

  bool operator==(const Box&) const = default;
};

struct PixelSize {
  int64_t height = 0;
  int64_t width = 0;

  bool operator==(const PixelSize&) const = default;
};

}  // namespace spatialmamba
