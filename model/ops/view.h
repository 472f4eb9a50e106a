#pragma once

#include <cstdint>
#include <span>

namespace spatialmamba {

// Where one image lies in a ragged batch: height * width consecutive tokens in row-major pixel
// order.
struct Span {
  int64_t offset = 0;  // its first token
  int64_t height = 0;
  int64_t width = 0;

  int64_t tokens() const { return height * width; }
  bool operator==(const Span&) const = default;
};

// A feature map of a batch: tokens [rows, channels], channels last, fp32. `stride` is the distance
// between rows in elements, at least `channels`, so that a slice of the channels is a view too. Not
// owned.
struct ConstView {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t channels = 0;
  int64_t stride = 0;

  const float* row(int64_t i) const { return data + i * stride; }
  ConstView Channels(int64_t first, int64_t count) const {
    return {data + first, rows, count, stride};
  }
};

struct View {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t channels = 0;
  int64_t stride = 0;

  float* row(int64_t i) const { return data + i * stride; }
  View Channels(int64_t first, int64_t count) const { return {data + first, rows, count, stride}; }
  operator ConstView() const {
    return {data, rows, channels, stride};
  }  // NOLINT(google-explicit-constructor)
};

// Tokens of all images together.
inline int64_t TotalTokens(std::span<const Span> spans) {
  return spans.empty() ? 0 : spans.back().offset + spans.back().tokens();
}

}  // namespace spatialmamba
