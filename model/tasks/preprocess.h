#pragma once

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "model/image/decode.h"
#include "model/image/image.h"

namespace spatialmamba {

// The three input rules, with the published evaluation settings as defaults.
struct ClassifyInput {
  int64_t resize_short = 256;  // Pillow's antialiased bicubic; the long side is truncated
  int64_t crop = 224;          // central square; 0: no resize and no crop, the picture as it is
};
struct DetectInput {
  std::array<int64_t, 2> scale = {1333, 800};  // keep-ratio, OpenCV's bilinear
  int64_t pad = 32;  // zeros right and below up to a multiple of this, after normalising
};
struct SegmentInput {
  std::array<int64_t, 2> scale = {2048, 512};  // as detection, no padding
};

struct PreprocessOptions {
  std::variant<ClassifyInput, DetectInput, SegmentInput> input;
  std::array<float, 3> mean = {123.675F, 116.28F, 103.53F};  // R G B, of 0..255 values
  std::array<float, 3> std = {58.395F, 57.12F, 57.375F};
  Orientation orientation = Orientation::kApply;
};

// What a network eats: fp32, channels last, row-major [height, width, 3], RGB, normalised.
struct NetworkInput {
  int64_t height = 0;
  int64_t width = 0;
  int64_t valid_height = 0;  // without padding
  int64_t valid_width = 0;
  std::vector<float> pixels;
};

struct NetworkInputSize {
  int64_t height = 0;
  int64_t width = 0;
};

// Size of the network's input for a picture of that size (after orientation): known before anything
// is decoded, so that work can be admitted by its cost. Throws ImageError (kTooLarge, kBadShape)
// for a picture that has no pixels or would become more than 2^31, and std::invalid_argument for
// options that no picture could satisfy.
NetworkInputSize InputSize(int64_t height, int64_t width, const PreprocessOptions& options);

// The bytes that Preprocess normalises: after resize and crop, before normalisation and padding.
Image ResizeAndCrop(const Image& image, const PreprocessOptions& options);

// Bytes after resize and crop are equal to the published pipelines'; see
// tests/oracle/preprocess.py. Memory is bounded by the picture and the result, whatever the aspect
// ratio.
NetworkInput Preprocess(const Image& image, const PreprocessOptions& options);

}  // namespace spatialmamba
