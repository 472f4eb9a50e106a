#include "model/net/backbone.h"

#include <algorithm>

#include "model/ops/conv.h"
#include "model/ops/depthwise.h"
#include "model/ops/gemm.h"
#include "model/ops/mlp.h"
#include "model/ops/row_items.h"
#include "model/ops/scan.h"
#include "model/ops/state_fusion.h"

namespace spatialmamba {
namespace {

SpanList Copied(std::span<const Span> spans) { return {spans.begin(), spans.end()}; }

// The first `rows * channels` values of a buffer as a map of that shape.
View Shaped(View buffer, int64_t rows, int64_t channels) {
  return {buffer.data, rows, channels, channels};
}

}  // namespace

// What each buffer holds at most over the stem and all stages, in floats.
struct Backbone::Sizes {
  int64_t x = 0;  // [tokens, dim], two of them, and its normalised form
  int64_t wide =
      0;  // u and z [tokens, 4 dim]; the MLP's hidden layer; the down-sampling's [tokens, 8 dim]
  int64_t inner = 0;   // [tokens, 2 dim], two of them
  int64_t narrow = 0;  // [tokens, rank + 2]

  int64_t total() const {
    return 3 * Arena::Floats(1, x) + Arena::Floats(1, wide) + 2 * Arena::Floats(1, inner) +
           Arena::Floats(1, narrow);
  }
};

struct Backbone::Buffers {
  View x;     // the residual stream
  View next;  // the other half of a ping-pong with x
  View normed;
  View wide;
  View inner;
  View state;
  View narrow;
};

Backbone::Backbone(const Variant& variant, const BoundTensors& tensors, const std::string& prefix)
    : variant_(variant), stem_(MakeStem(tensors, prefix + "patch_embed", variant.dim)) {
  for (size_t i = 0; i < 4; ++i) {
    const std::string key = prefix + "layers." + std::to_string(i);
    const int64_t dim = variant.dims()[i];
    for (int64_t b = 0; b < variant.depths[i]; ++b) {
      stages_[i].blocks.push_back(MakeBlock(tensors, key + ".blocks." + std::to_string(b), dim));
    }
    if (i < 3) stages_[i].downsample = MakeDownSampling(tensors, key + ".downsample", dim);
  }
}

Backbone::Sizes Backbone::Plan(std::span<const Span> images) const {
  Sizes sizes;
  SpanList spans = Halved(Copied(images));
  sizes.inner = TotalTokens(spans) * (variant_.dim / 2);  // the stem at half the resolution
  spans = Halved(std::move(spans));
  for (size_t i = 0; i < 4; ++i) {
    const int64_t tokens = TotalTokens(spans);
    const int64_t dim = variant_.dims()[i];
    SpanList halved = Halved(spans);
    sizes.x = std::max(sizes.x, tokens * dim);
    sizes.wide = std::max(sizes.wide, tokens * dim * (i < 3 ? 8 : 4));
    sizes.inner =
        std::max({sizes.inner, tokens * 2 * dim, i < 3 ? TotalTokens(halved) * 8 * dim : 0});
    sizes.narrow = std::max(sizes.narrow, tokens * (StepRank(dim) + 2));
    spans = std::move(halved);
  }
  return sizes;
}

int64_t Backbone::WorkspaceFloats(std::span<const Span> spans) const { return Plan(spans).total(); }

SpanList Backbone::RunStem(Context& context, Buffers& buffers, ConstView images,
                           std::span<const Span> spans) const {
  const int64_t dim = variant_.dim;
  const SpanList half = Halved(Copied(spans));
  SpanList quarter = Halved(half);
  const View a = Shaped(buffers.inner, TotalTokens(half), dim / 2);
  const View b = Shaped(buffers.state, TotalTokens(half), dim / 2);
  const auto relu = [](const LinearLayer& layer) {
    return Epilogue{.bias = layer.bias_data(), .activation = Activation::kRelu};
  };
  Conv3x3(context, images, spans, 2, stem_.conv1.weights, relu(stem_.conv1), a, half);
  Conv3x3(context, a, half, 1, stem_.conv2a.weights, relu(stem_.conv2a), b, half);
  const Epilogue add{
      .bias = stem_.conv2b.bias_data(), .residual = a.data, .residual_stride = a.stride};
  Conv3x3(context, b, half, 1, stem_.conv2b.weights, add, a, half);
  const View wide = Shaped(buffers.wide, TotalTokens(quarter), 4 * dim);
  Conv3x3(context, a, half, 2, stem_.conv3.weights, relu(stem_.conv3), wide, quarter);
  buffers.x = Shaped(buffers.x, TotalTokens(quarter), dim);
  Gemm(context, wide, stem_.project.weights, {.bias = stem_.project.bias_data()}, buffers.x);
  return quarter;
}

void Backbone::RunBlock(Context& context, const Buffers& buffers, const BlockLayer& block,
                        std::span<const Span> spans) {
  const View x = buffers.x;
  const int64_t tokens = x.rows;
  const int64_t dim = x.channels;
  const View next = Shaped(buffers.next, tokens, dim);
  const View normed = Shaped(buffers.normed, tokens, dim);
  const View wide = Shaped(buffers.wide, tokens, 4 * dim);  // u [.., 2 dim], z [.., 2 dim]
  const View inner = Shaped(buffers.inner, tokens, 2 * dim);
  const View state = Shaped(buffers.state, tokens, 2 * dim);
  const View rbc = Shaped(buffers.narrow, tokens, block.ssm.rank + 2);

  DepthwiseResidualNorm(context, x, spans, block.cpe1.view(), block.norm1.view(), next, normed);
  Gemm(context, normed, block.ssm.in_proj.weights, {}, wide);
  Depthwise(context, wide.Channels(0, 2 * dim), spans, block.ssm.conv.view(), Activation::kSilu,
            inner);
  Gemm(context, inner, block.ssm.x_proj.weights, {}, rbc);
  Scan(context, inner, rbc, spans, block.ssm.scan(), state);
  StateFusion(context,
              {.h = state,
               .c = rbc.Channels(block.ssm.rank + 1, 1),
               .x = inner,
               .z = wide.Channels(2 * dim, 2 * dim)},
              spans, block.ssm.fusion(), inner);
  Gemm(context, inner, block.ssm.out_proj.weights,
       {.residual = next.data, .residual_stride = next.stride}, next);
  DepthwiseResidualNorm(context, next, spans, block.cpe2.view(), block.norm2.view(), x, normed);
  Mlp(context, normed, block.mlp(), x, wide, x);
}

void Backbone::Forward(Context& context, Arena& arena, ConstView images,
                       std::span<const Span> spans, OnStage on_stage) const {
  const Sizes sizes = Plan(spans);
  Buffers buffers{.x = arena.Take(1, sizes.x),
                  .next = arena.Take(1, sizes.x),
                  .normed = arena.Take(1, sizes.x),
                  .wide = arena.Take(1, sizes.wide),
                  .inner = arena.Take(1, sizes.inner),
                  .state = arena.Take(1, sizes.inner),
                  .narrow = arena.Take(1, sizes.narrow)};
  SpanList at = RunStem(context, buffers, images, spans);
  for (size_t i = 0; i < 4; ++i) {
    for (const BlockLayer& block : stages_[i].blocks) RunBlock(context, buffers, block, at);
    on_stage(i, buffers.x, at);
    if (i == 3) return;
    const DownSamplingLayer& down = stages_[i].downsample;
    const int64_t dim = variant_.dims()[i];
    const SpanList halved = Halved(at);
    const View wide = Shaped(buffers.wide, TotalTokens(at), 8 * dim);
    const View reduced = Shaped(buffers.inner, TotalTokens(halved), 8 * dim);
    Gemm(context, buffers.x, down.expand.weights,
         {.bias = down.expand.bias_data(), .activation = Activation::kRelu}, wide);
    DepthwiseStride2(context, wide, at, down.conv.view(), Activation::kRelu, reduced, halved);
    buffers.x = Shaped(buffers.x, TotalTokens(halved), 2 * dim);
    Gemm(context, reduced, down.project.weights, {.bias = down.project.bias_data()}, buffers.x);
    at = halved;
  }
}

}  // namespace spatialmamba
