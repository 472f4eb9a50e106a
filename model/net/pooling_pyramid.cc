#include "model/net/pooling_pyramid.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "model/net/conv_unit.h"
#include "model/ops/adaptive_pool.h"
#include "model/ops/gemm.h"

namespace spatialmamba {
namespace {

// The map's own channels, then those of each scale.
std::vector<int64_t> Channels(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                              std::span<const int64_t> scales) {
  if (scales.empty() || *std::min_element(scales.begin(), scales.end()) < 1) {
    throw std::invalid_argument("pool scales must be positive, and there must be one");
  }
  std::vector<int64_t> channels(
      scales.size() + 1, static_cast<int64_t>(tensors.at(key + ".bottleneck.bn.bias").size()));
  channels[0] = inputs;
  return channels;
}

// One square of that side an image.
std::vector<Span> Grids(int64_t images, int64_t side) {
  std::vector<Span> spans;
  for (int64_t i = 0; i < images; ++i) spans.push_back({i * side * side, side, side});
  return spans;
}

}  // namespace

PoolingPyramid::PoolingPyramid(const BoundTensors& tensors, const std::string& key, int64_t inputs,
                               std::vector<int64_t> scales)
    : scales_(std::move(scales)),
      bottleneck_(tensors, key + ".bottleneck", Channels(tensors, key, inputs, scales_)) {
  for (size_t i = 0; i < scales_.size(); ++i) {
    convs_.push_back(
        MakeConvUnit(tensors, key + ".psp_modules." + std::to_string(i) + ".1", inputs, 1));
  }
}

int64_t PoolingPyramid::WorkspaceFloats(int64_t images) const {
  int64_t floats = 0;
  int64_t tokens = 0;
  for (const int64_t scale : scales_) {
    const int64_t cells = images * scale * scale;
    floats += Arena::Floats(cells, convs_[0].weights.inputs()) + Arena::Floats(cells, channels());
    tokens += cells;
  }
  return floats + bottleneck_.WorkspaceFloats(tokens);
}

void PoolingPyramid::Forward(Context& context, Arena& arena, const SizedMap& x, View out) const {
  const int64_t before = arena.used();
  const auto images = static_cast<int64_t>(x.spans.size());
  std::vector<std::vector<Span>> grids;
  for (const int64_t scale : scales_) grids.push_back(Grids(images, scale));
  std::vector<SizedMap> maps = {x};
  for (size_t i = 0; i < scales_.size(); ++i) {
    const int64_t cells = images * scales_[i] * scales_[i];
    const View pooled = arena.Take(cells, x.map.channels);
    const View reduced = arena.Take(cells, channels());
    AdaptiveAveragePool(context, x.map, x.spans, scales_[i], pooled);
    Gemm(context, pooled, convs_[i].weights,
         {.bias = convs_[i].bias_data(), .activation = Activation::kRelu}, reduced);
    maps.push_back({reduced, grids[i]});
  }
  bottleneck_.Forward(context, arena, maps, out);
  arena.Rewind(before);
}

}  // namespace spatialmamba
