#include "model/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <span>
#include <stdexcept>
#include <vector>

#include "model/image/cubic_cpu.h"

namespace spatialmamba {
namespace {

constexpr int64_t kChannels = 3;

void CheckSizes(const Image& image, int64_t height, int64_t width) {
  if (image.height <= 0 || image.width <= 0 || height <= 0 || width <= 0) {
    throw std::invalid_argument(
        "a picture cannot be resized from or to a size that is not positive");
  }
  if (static_cast<int64_t>(image.rgb.size()) / kChannels / image.width != image.height ||
      static_cast<int64_t>(image.rgb.size()) != image.height * image.width * kChannels) {
    throw std::invalid_argument("a picture's bytes are not height x width x 3");
  }
}

// Keys' kernel, a = -0.5.
double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) {
    return (1.5 * x - 2.5) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

CubicTaps TapsOf(int64_t output, int64_t count, int64_t size) {
  const double scale = static_cast<double>(count) / static_cast<double>(size);
  const double reach = 2.0 * std::max(scale, 1.0);
  const double centre = (static_cast<double>(output) + 0.5) * scale;
  const auto first = std::max<int64_t>(0, static_cast<int64_t>(centre - reach + 0.5));
  const auto last = std::min(count, static_cast<int64_t>(centre + reach + 0.5));
  std::vector<double> exact;
  double total = 0;
  for (int64_t i = first; i < last; ++i) {
    const double at = (static_cast<double>(i) - centre + 0.5) * (1.0 / std::max(scale, 1.0));
    exact.push_back(Cubic(at));
    total += exact.back();
  }
  CubicTaps taps{.first = first, .weights = {}};
  for (const double weight : exact) {
    const double bits = weight / total * (1 << kCubicBits) + std::copysign(0.5, weight);
    taps.weights.push_back(static_cast<int32_t>(bits));
  }
  return taps;
}

// Those of the outputs from, ..., from + wanted - 1.
std::vector<CubicTaps> TapsOf(int64_t from, int64_t wanted, int64_t count, int64_t size) {
  std::vector<CubicTaps> taps;
  for (int64_t i = 0; i < wanted; ++i) {
    taps.push_back(TapsOf(from + i, count, size));
  }
  return taps;
}

// The rows [first, last) of the picture, resized horizontally to the wanted columns.
Image CubicHorizontal(const Image& image, int64_t first, int64_t last, int64_t width,
                      const Window& window) {
  Image result = BlackImage(last - first, window.width);
  if (width == image.width) {
    for (int64_t row = first; row < last; ++row) {
      std::copy_n(Row(image, row) + window.left * kChannels, window.width * kChannels,
                  Row(result, row - first));
    }
    return result;
  }
  const std::vector<CubicTaps> columns = TapsOf(window.left, window.width, image.width, width);
  for (int64_t row = first; row < last; ++row) {
    const int64_t readable = (image.height - row) * image.width * kChannels;
    CubicColumnsCpu(Row(image, row), readable, columns, Row(result, row - first));
  }
  return result;
}

// `image` holds the rows of the source from `first` on.
Image CubicVertical(const Image& image, int64_t first, std::span<const CubicTaps> taps) {
  Image result = BlackImage(static_cast<int64_t>(taps.size()), image.width);
  std::vector<const uint8_t*> sources;
  for (size_t row = 0; row < taps.size(); ++row) {
    sources.clear();
    for (size_t k = 0; k < taps[row].weights.size(); ++k) {
      sources.push_back(Row(image, taps[row].first - first + static_cast<int64_t>(k)));
    }
    CubicRowsCpu(sources, taps[row].weights, image.width * kChannels,
                 Row(result, static_cast<int64_t>(row)));
  }
  return result;
}

}  // namespace

Image ResizeBicubic(const Image& image, int64_t height, int64_t width, const Window& window) {
  CheckSizes(image, height, width);
  if (window.top < 0 || window.left < 0 || window.height <= 0 || window.width <= 0 ||
      window.height > height - window.top || window.width > width - window.left) {
    throw std::invalid_argument("the wanted window is not within the resized picture");
  }
  if (height == image.height) {
    return CubicHorizontal(image, window.top, window.top + window.height, width, window);
  }
  const std::vector<CubicTaps> rows = TapsOf(window.top, window.height, image.height, height);
  const int64_t first = rows.front().first;
  const int64_t last = rows.back().first + static_cast<int64_t>(rows.back().weights.size());
  return CubicVertical(CubicHorizontal(image, first, last, width, window), first, rows);
}

Image ResizeBilinear(const Image& image, int64_t height, int64_t width) {
  CheckSizes(image, height, width);
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  if (image.height > kMost || image.width > kMost || height > kMost || width > kMost) {
    throw std::invalid_argument("a side of a picture is too long to be resized");
  }
  // Pictures are the unit of parallelism here: OpenCV's own threads would fight over the cores.
  static const bool kSingleThreaded = (cv::setNumThreads(1), true);
  static_cast<void>(kSingleThreaded);
  Image result = BlackImage(height, width);
  const cv::Mat source(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3,
                       const_cast<uint8_t*>(image.rgb.data()));  // only read
  cv::Mat target(static_cast<int>(height), static_cast<int>(width), CV_8UC3, result.rgb.data());
  cv::resize(source, target, target.size(), 0, 0, cv::INTER_LINEAR);
  return result;
}

}  // namespace spatialmamba
