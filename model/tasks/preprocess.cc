#include "model/tasks/preprocess.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "model/image/resize.h"

namespace spatialmamba {
namespace {

// Every product of sides below stays far within int64 when sides do not exceed this.
constexpr int64_t kMaxSide = int64_t{1} << 31;
constexpr int64_t kMaxPixels = int64_t{1} << 31;

void CheckPicture(int64_t height, int64_t width) {
  if (height <= 0 || width <= 0) {
    throw ImageError(ImageError::Reason::kBadShape,
                     "the picture has no pixels: its height and width must be at least 1");
  }
  if (height > kMaxSide || width > kMaxSide) {
    throw ImageError(kMaxSide, std::max(height, width),
                     "a side of the picture is longer than 2147483648 pixels: send a smaller one");
  }
}

void CheckSetting(int64_t value, int64_t least, const char* name) {
  if (value < least || value > kMaxSide) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                ", which is not between " + std::to_string(least) +
                                " and 2147483648");
  }
}

NetworkInputSize Bounded(int64_t height, int64_t width) {
  if (height > kMaxPixels / width) {
    throw ImageError(kMaxPixels, height * width,
                     "the network's input would be " + std::to_string(height) + " x " +
                         std::to_string(width) +
                         " pixels, more than 2147483648: send a smaller picture or lower the "
                         "input size");
  }
  return {.height = height, .width = width};
}

// The largest size of the same shape whose long side is at most the larger number and short side at
// most the smaller one, rounded half up in float64. It may enlarge. Very thin pictures keep one
// pixel.
NetworkInputSize FittedSize(int64_t height, int64_t width, const std::array<int64_t, 2>& scale) {
  CheckSetting(scale[0], 1, "the first number of scale");
  CheckSetting(scale[1], 1, "the second number of scale");
  const auto [short_bound, long_bound] = std::minmax(scale[0], scale[1]);
  const auto [short_side, long_side] = std::minmax(height, width);
  const double factor =
      std::min(static_cast<double>(long_bound) / static_cast<double>(long_side),
               static_cast<double>(short_bound) / static_cast<double>(short_side));
  const auto fitted = [&](int64_t side) {
    const auto rounded = static_cast<int64_t>(static_cast<double>(side) * factor + 0.5);
    return std::max<int64_t>(rounded, 1);
  };
  return Bounded(fitted(height), fitted(width));
}

// Half of `spare`, rounded half to even.
int64_t CropOffset(int64_t spare) {
  const int64_t half = spare / 2;
  return spare % 2 == 0 ? half : half + half % 2;
}

void CheckClassifyInput(const ClassifyInput& input) {
  CheckSetting(input.crop, 0, "crop");
  if (input.crop > 0) {
    CheckSetting(input.resize_short, input.crop, "resize_short");
  }
}

Image ClassifyPixels(const Image& image, const ClassifyInput& input) {
  CheckClassifyInput(input);
  if (input.crop == 0) {
    return image;
  }
  const auto [short_side, long_side] = std::minmax(image.height, image.width);
  const auto resized_long = static_cast<int64_t>(
      static_cast<double>(input.resize_short * long_side) / static_cast<double>(short_side));
  const bool portrait = image.width <= image.height;
  const int64_t height = portrait ? resized_long : input.resize_short;
  const int64_t width = portrait ? input.resize_short : resized_long;
  return ResizeBicubic(image, height, width,
                       {.top = CropOffset(height - input.crop),
                        .left = CropOffset(width - input.crop),
                        .height = input.crop,
                        .width = input.crop});
}

Image Fitted(const Image& image, const std::array<int64_t, 2>& scale) {
  const NetworkInputSize size = FittedSize(image.height, image.width, scale);
  return ResizeBilinear(image, size.height, size.width);
}

int64_t PaddedSide(int64_t side, int64_t pad) { return (side + pad - 1) / pad * pad; }

// Works out the sizes of each rule.
struct SizeOf {
  int64_t height = 0;
  int64_t width = 0;

  NetworkInputSize operator()(const ClassifyInput& input) const {
    CheckClassifyInput(input);
    return input.crop == 0 ? Bounded(height, width) : Bounded(input.crop, input.crop);
  }
  NetworkInputSize operator()(const DetectInput& input) const {
    CheckSetting(input.pad, 1, "pad");
    const NetworkInputSize fitted = FittedSize(height, width, input.scale);
    return Bounded(PaddedSide(fitted.height, input.pad), PaddedSide(fitted.width, input.pad));
  }
  NetworkInputSize operator()(const SegmentInput& input) const {
    return FittedSize(height, width, input.scale);
  }
};

// Works out the pixels of each rule, before normalisation and padding.
struct PixelsOf {
  const Image& image;

  Image operator()(const ClassifyInput& input) const { return ClassifyPixels(image, input); }
  Image operator()(const DetectInput& input) const { return Fitted(image, input.scale); }
  Image operator()(const SegmentInput& input) const { return Fitted(image, input.scale); }
};

// The normalised value of every byte, channel by channel.
using NormalisedBytes = std::array<std::array<float, 256>, 3>;

NormalisedBytes Normalised(const PreprocessOptions& options) {
  NormalisedBytes table;
  for (size_t channel = 0; channel < table.size(); ++channel) {
    for (size_t value = 0; value < table[channel].size(); ++value) {
      table[channel][value] =
          (static_cast<float>(value) - options.mean[channel]) / options.std[channel];
    }
  }
  return table;
}

}  // namespace

NetworkInputSize InputSize(int64_t height, int64_t width, const PreprocessOptions& options) {
  CheckPicture(height, width);
  return std::visit(SizeOf{.height = height, .width = width}, options.input);
}

Image ResizeAndCrop(const Image& image, const PreprocessOptions& options) {
  InputSize(image.height, image.width, options);
  return std::visit(PixelsOf{.image = image}, options.input);
}

NetworkInput Preprocess(const Image& image, const PreprocessOptions& options) {
  const NetworkInputSize size = InputSize(image.height, image.width, options);
  const Image bytes = ResizeAndCrop(image, options);
  const NormalisedBytes table = Normalised(options);
  NetworkInput input{
      .height = size.height,
      .width = size.width,
      .valid_height = bytes.height,
      .valid_width = bytes.width,
      .pixels = std::vector<float>(static_cast<size_t>(size.height * size.width * 3))};
  const uint8_t* source = bytes.rgb.data();
  for (int64_t row = 0; row < bytes.height; ++row) {
    float* target = input.pixels.data() + row * size.width * 3;
    for (int64_t column = 0; column < bytes.width; ++column) {
      for (const auto& channel : table) {
        *target++ = channel[*source++];
      }
    }
  }
  return input;
}

}  // namespace spatialmamba
