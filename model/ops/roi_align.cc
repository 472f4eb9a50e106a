#include "model/ops/roi_align.h"

#include <stdexcept>

#include "model/ops/roi_align_params.h"

namespace spatialmamba {

void RoiAlign(Context& context, std::span<const RoiMap> maps, std::span<const Roi> rois,
              int64_t cells, View out) {
  const auto count = static_cast<int64_t>(rois.size());
  if (cells < 1 || out.rows != count * cells * cells) {
    throw std::invalid_argument("RoiAlign: the output has another shape than the boxes ask for");
  }
  for (const Roi& roi : rois) {
    if (roi.map < 0 || roi.map >= static_cast<int64_t>(maps.size())) {
      throw std::invalid_argument("RoiAlign: a box names a map that is not there");
    }
  }
  // Two by two samples a cell at least, each of four pixels.
  const int64_t values = out.rows * out.channels;
  const OpScope scope(context, {.op = "roi_align",
                                .rows = count,
                                .inputs = out.channels,
                                .outputs = cells * cells * out.channels,
                                .multiply_adds = values * 16,
                                .map_bytes = 4 * values});
  context.ParallelFor(count, [&](int64_t i, int worker) {
    const Roi& roi = rois[static_cast<size_t>(i)];
    const RoiMap& map = maps[static_cast<size_t>(roi.map)];
    RoiAlignCpu({.map = map.data,
                 .map_stride = map.stride,
                 .height = map.height,
                 .width = map.width,
                 .channels = out.channels,
                 .scale = map.scale,
                 .box = roi.box,
                 .cells = cells,
                 .out = out.row(i * cells * cells),
                 .out_stride = out.stride},
                context.Scratch(worker), Context::kScratchFloats);
  });
}

}  // namespace spatialmamba
