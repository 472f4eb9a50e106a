#include "model/ops/box_decode.h"

#include <stdexcept>

#include "model/ops/box_decode_params.h"

namespace spatialmamba {

void AnchorBoxes(std::span<const int64_t> indices, int64_t width, int64_t stride,
                 std::span<Box> out) {
  if (indices.size() != out.size() || width < 1) {
    throw std::invalid_argument("AnchorBoxes: sizes do not fit");
  }
  AnchorBoxesCpu({.indices = indices.data(),
                  .count = static_cast<int64_t>(indices.size()),
                  .width = width,
                  .stride = stride,
                  .out = out.data()});
}

void DecodeBoxes(std::span<const Box> boxes, ConstView deltas, const DeltaScales& scales,
                 const PixelSize& picture, std::span<Box> out) {
  const auto count = static_cast<int64_t>(boxes.size());
  if (deltas.rows != count || deltas.channels != 4 || out.size() != boxes.size()) {
    throw std::invalid_argument("DecodeBoxes: sizes do not fit");
  }
  DecodeBoxesCpu({.boxes = boxes.data(),
                  .deltas = deltas.data,
                  .deltas_stride = deltas.stride,
                  .count = count,
                  .centre_scale = scales.centre,
                  .extent_scale = scales.extent,
                  .height = static_cast<float>(picture.height),
                  .width = static_cast<float>(picture.width),
                  .out = out.data()});
}

}  // namespace spatialmamba
