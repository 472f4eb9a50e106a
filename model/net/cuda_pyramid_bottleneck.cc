#include "model/net/cuda_pyramid_bottleneck.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "model/net/conv_unit.h"
#include "model/net/level_gemm.h"
#include "model/ops/upsampled_taps_cuda.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

// What products may take, if a panel takes no more: about what an L2 cache holds of them until they
// are enlarged.
constexpr int64_t kProductBytes = int64_t{32} << 20;

// The products of all nine taps with those inputs, in the order that AddUpsampledTapsReluCuda
// reads.
LinearLayer PackPanels(const ConvUnit& unit, const InputRange& inputs) {
  std::vector<float> rows;
  rows.reserve(static_cast<size_t>(9 * unit.outputs() * inputs.count));
  for (int64_t first = 0; first < unit.outputs(); first += kTapPanel) {
    const int64_t last = std::min(first + kTapPanel, unit.outputs());
    for (int64_t tap = 0; tap < 9; ++tap) {
      for (int64_t o = first; o < last; ++o) {
        for (int64_t i = 0; i < inputs.count; ++i) {
          rows.push_back(
              unit.weight[static_cast<size_t>((o * unit.inputs + inputs.first + i) * 9 + tap)]);
        }
      }
    }
  }
  return {PackedMatrix(rows, 9 * unit.outputs(), inputs.count), {}};
}

// The product of outputs [first, first + count).
DeviceGemm PanelGemm(const DeviceLinear& products, DeviceType type, const DeviceEnlarged& map,
                     int first, int count, const DeviceMap& out) {
  DeviceGemm gemm = products.Gemm(map.map, out);
  gemm.weights = static_cast<const char*>(products.weights) +
                 int64_t{9} * first * products.stride * DeviceBytes(type);
  gemm.outputs = 9 * count;
  gemm.rows = map.rows;
  gemm.row_capacity = map.row_capacity;
  return gemm;
}

}  // namespace

CudaPyramidBottleneck::CudaPyramidBottleneck(const BoundTensors& tensors, const std::string& key,
                                             std::span<const int64_t> channels,
                                             DeviceWeights& weights)
    : type_(weights.type()) {
  const ConvUnit unit =
      FoldConvUnit(tensors, key, std::accumulate(channels.begin(), channels.end(), int64_t{0}), 9);
  const auto odd = [](int64_t width) { return width % 8 != 0; };
  if (odd(unit.outputs()) || std::any_of(channels.begin(), channels.end(), odd)) {
    throw CheckpointError("the GPU kernels need channels in multiples of 8 in " + key +
                          ": serve this model on a CPU");
  }
  if (channels.size() < 2 || channels.size() > kMostTapMaps + 1) {
    throw CheckpointError("the GPU kernels join 2 to " + std::to_string(kMostTapMaps + 1) +
                          " maps in " + key + ": serve this model on a CPU");
  }
  first_ = weights.Linear(PackConvolution(unit, {0, channels[0]}));
  int64_t input = channels[0];
  for (const int64_t width : channels.subspan(1)) {
    products_.push_back(weights.Linear(PackPanels(unit, {input, width})));
    input += width;
  }
}

int CudaPyramidBottleneck::OutputsAtOnce(int64_t rows) const {
  const auto panels_of = [](int64_t outputs) { return (outputs + kTapPanel - 1) / kTapPanel; };
  const int64_t panels = panels_of(outputs());
  const int64_t panel_bytes = 9 * kTapPanel * rows * DeviceBytes(type_);
  const int64_t held = std::clamp(kProductBytes / panel_bytes, int64_t{1}, panels);
  // As few pieces as that takes, all of about the same size.
  const int64_t pieces = (panels + held - 1) / held;
  const int64_t outputs_at_once = (panels + pieces - 1) / pieces * kTapPanel;
  return static_cast<int>(std::min<int64_t>(outputs_at_once, outputs()));
}

size_t CudaPyramidBottleneck::WorkspaceBytes(std::span<const int64_t> row_capacities) const {
  const int at_once =
      OutputsAtOnce(std::accumulate(row_capacities.begin(), row_capacities.end(), int64_t{0}));
  size_t bytes = 0;
  for (const int64_t rows : row_capacities) bytes += DeviceArena::Bytes(rows, 9 * at_once, type_);
  return bytes;
}

void CudaPyramidBottleneck::Forward(DeviceArena& arena, const DeviceMap& first,
                                    const DeviceLevel& level, std::span<const DeviceEnlarged> maps,
                                    const DeviceMap& out, CUstream_st* stream) const {
  if (maps.size() != products_.size()) {
    throw std::invalid_argument("CudaPyramidBottleneck: there must be " +
                                std::to_string(products_.size() + 1) + " maps");
  }
  LevelConv3x3(first_.Gemm(first, out), level, stream);
  int64_t rows = 0;
  for (const DeviceEnlarged& map : maps) rows += map.row_capacity;
  const int at_once = OutputsAtOnce(rows);
  for (int output = 0; output < outputs(); output += at_once) {
    const size_t before = arena.used();
    const int count = std::min(at_once, outputs() - output);
    DeviceTapMaps taps;
    for (const DeviceEnlarged& map : maps) {
      DeviceTapProducts& own = taps.maps[taps.count];
      own.products = arena.Take(map.row_capacity, 9 * count, type_);
      own.spans = map.spans;
      own.side = map.side;
      GemmCuda(PanelGemm(products_[static_cast<size_t>(taps.count++)], type_, map, output, count,
                         own.products),
               stream);
    }
    AddUpsampledTapsReluCuda(taps, out.Channels(output, count), level, stream);
    arena.Rewind(before);
  }
}

}  // namespace spatialmamba
