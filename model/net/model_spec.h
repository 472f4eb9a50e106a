#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "model/ops/matrix_type.h"

namespace spatialmamba {

enum class VisionTask { kClassify, kDetect, kSegment };

// The size of a backbone: data, not code. dims double from stage to stage.
struct Variant {
  int64_t dim = 0;
  std::array<int64_t, 4> depths = {};

  std::array<int64_t, 4> dims() const { return {dim, 2 * dim, 4 * dim, 8 * dim}; }
  bool operator==(const Variant&) const = default;
};

// tiny, small, base (published) and micro (for tests). Nothing for another name.
std::optional<Variant> FindVariant(std::string_view name);
// The inverse; "custom" for a variant without a name.
std::string_view VariantName(const Variant& variant);

// Sizes of the heads, with those of the published checkpoints as defaults.
struct DetectHead {
  int64_t fpn_channels = 256;
  int64_t fc_channels = 1024;
  bool masks = true;
};
struct SegmentHead {
  int64_t channels = 512;
  std::vector<int64_t> pool_scales = {1, 2, 3, 6};
};

// Everything that decides the shapes of a network's tensors, and how it computes.
struct ModelSpec {
  VisionTask task = VisionTask::kClassify;
  Variant variant;
  int64_t classes = 0;     // without the background
  DetectHead detect = {};  // of its task only, as the next
  SegmentHead segment = {};
  // Of the large products. The projections to the scan's parameters, the first convolution and the
  // last layers of the heads (scores, box offsets, logits) are fp32 whatever this says.
  MatrixType matrices = MatrixType::kFloat32;
};

}  // namespace spatialmamba
