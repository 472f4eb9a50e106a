#include "model/net/pyramid_bottleneck.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "model/net/conv_unit.h"
#include "model/ops/conv.h"
#include "model/ops/gemm.h"
#include "model/ops/upsampled_taps.h"

namespace spatialmamba {

PyramidBottleneck::PyramidBottleneck(const BoundTensors& tensors, const std::string& key,
                                     std::span<const int64_t> channels) {
  const ConvUnit unit =
      FoldConvUnit(tensors, key, std::accumulate(channels.begin(), channels.end(), int64_t{0}), 9);
  first_ = PackConvolution(unit, {0, channels[0]});
  for (int64_t output = 0; output < unit.outputs(); output += kOutputsAtOnce) {
    const int64_t count = std::min(kOutputsAtOnce, unit.outputs() - output);
    std::vector<PackedMatrix>& piece = products_.emplace_back();
    int64_t input = channels[0];
    for (const int64_t width : channels.subspan(1)) {
      piece.push_back(PackTaps(unit, {input, width}, output, count));
      input += width;
    }
  }
}

int64_t PyramidBottleneck::WorkspaceFloats(int64_t tokens) const {
  const auto maps = static_cast<int64_t>(products_[0].size());
  // Of each map at most 15 more, which Arena rounds up by.
  return Arena::Floats(tokens, products_[0][0].outputs()) + 16 * maps;
}

void PyramidBottleneck::Forward(Context& context, Arena& arena, std::span<const SizedMap> maps,
                                View out) const {
  if (maps.size() != products_[0].size() + 1) {
    throw std::invalid_argument("PyramidBottleneck: there must be " +
                                std::to_string(products_[0].size() + 1) + " maps");
  }
  Conv3x3(context, maps[0].map, maps[0].spans, 1, first_.weights, {.bias = first_.bias_data()}, out,
          maps[0].spans);
  int64_t output = 0;
  for (const std::vector<PackedMatrix>& piece : products_) {
    const int64_t before = arena.used();
    std::vector<TapProducts> taps;
    for (size_t m = 0; m < piece.size(); ++m) {
      const SizedMap& map = maps[m + 1];
      const View products = arena.Take(map.map.rows, piece[m].outputs());
      Gemm(context, map.map, piece[m], {}, products);
      taps.push_back({products, map.spans});
    }
    const int64_t count = piece[0].outputs() / 9;
    AddUpsampledTapsRelu(context, taps, out.Channels(output, count), maps[0].spans);
    output += count;
    arena.Rewind(before);
  }
}

}  // namespace spatialmamba
