#pragma once

#include <span>

#include "model/ops/context.h"
#include "model/ops/epilogue.h"
#include "model/ops/norm.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Weights of a depthwise 3x3 convolution: taps [9, channels] (tap = 3 * row + column), bias
// [channels]. Not owned.
struct DepthwiseWeights {
  const float* taps = nullptr;
  const float* bias = nullptr;
};

// Depthwise 3x3 convolutions of ragged maps, zero padding of one. All images keep their own
// borders. out must not overlap x. Throw std::invalid_argument if shapes do not fit.

// out = x + conv(x) + bias, normed = LayerNorm(out): the position encoding at the head of each half
// of a block.
void DepthwiseResidualNorm(Context& context, ConstView x, std::span<const Span> spans,
                           const DepthwiseWeights& weights, const NormWeights& norm, View out,
                           View normed);

// out = activation(conv(x) + bias).
void Depthwise(Context& context, ConstView x, std::span<const Span> spans,
               const DepthwiseWeights& weights, Activation activation, View out);

// out = activation(conv(x) + bias) at every second pixel of both axes; `out_spans` are those of
// Halved(spans).
void DepthwiseStride2(Context& context, ConstView x, std::span<const Span> spans,
                      const DepthwiseWeights& weights, Activation activation, View out,
                      std::span<const Span> out_spans);

}  // namespace spatialmamba
