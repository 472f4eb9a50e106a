#pragma once

#include <span>

#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// A map of low resolution that has been multiplied by each tap of a 3x3 convolution: products
// [tokens, 9 * channels], tap (3 * row + column) * channels + channel.
struct TapProducts {
  ConstView products;
  std::span<const Span> spans;
};

// The rest of a 3x3 convolution (zero padding of one) of maps that were enlarged bilinearly.
// Enlarging commutes with the product of one tap, so that the products are taken at low resolution:
// each is enlarged here, shifted by its tap, and added up; taps outside the image give nothing.
// Every ratio of sizes is right, also one below one.
//
// sum = ReLU(sum + what all maps give), sum [tokens of spans, channels]. A pixel's result does not
// depend on the threads or the other images. Throws std::invalid_argument if shapes do not fit.
void AddUpsampledTapsRelu(Context& context, std::span<const TapProducts> maps, View sum,
                          std::span<const Span> spans);

}  // namespace spatialmamba
