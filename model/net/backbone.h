#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"
#include "model/ops/row_items.h"
#include "model/ops/view.h"

namespace spatialmamba {

// The four-stage Spatial-Mamba backbone (arXiv 2410.15091) on ragged batches. Const after
// construction. A forward of at most 32 images takes nothing from the heap.
class Backbone {
 public:
  // `tensors` holds what BackboneTensors(variant, prefix, ...) lists.
  Backbone(const Variant& variant, const BoundTensors& tensors, const std::string& prefix);

  // A stage's output before its down-sampling, at stride 4 << stage: map [tokens, dims[stage]],
  // valid during the call.
  using OnStage = absl::FunctionRef<void(size_t stage, ConstView map, std::span<const Span> spans)>;

  // images: normalised pixels [tokens, 3]. Each image's maps are the same bits whatever else is in
  // the batch. `arena` must have been reset to at least WorkspaceFloats(spans) and what the
  // callback takes.
  void Forward(Context& context, Arena& arena, ConstView images, std::span<const Span> spans,
               OnStage on_stage) const;

  int64_t WorkspaceFloats(std::span<const Span> spans) const;

  const Variant& variant() const { return variant_; }

 private:
  struct Stage {
    std::vector<BlockLayer> blocks;
    DownSamplingLayer downsample;  // unused in the last
  };
  struct Sizes;
  struct Buffers;

  Sizes Plan(std::span<const Span> spans) const;
  SpanList RunStem(Context& context, Buffers& buffers, ConstView images,
                   std::span<const Span> spans) const;
  static void RunBlock(Context& context, const Buffers& buffers, const BlockLayer& block,
                       std::span<const Span> spans);

  Variant variant_;
  StemLayer stem_;
  std::array<Stage, 4> stages_;
};

}  // namespace spatialmamba
