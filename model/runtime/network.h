#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/ops/arena.h"
#include "model/ops/context.h"
#include "model/ops/view.h"
#include "model/runtime/prediction.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {

// The network of any task behind one face. Const after construction: several threads may run it,
// each with its own context and arena.
class Network {
 public:
  virtual ~Network() = default;

  // images: normalised pixels [tokens, 3] of a ragged batch; one query an image, of the network's
  // task. The predictions by image; each gets the bits that it would get alone. Resets the arena.
  // Throws std::invalid_argument if sizes or tasks do not fit.
  virtual std::vector<Prediction> Forward(Context& context, Arena& arena, ConstView images,
                                          std::span<const Span> spans,
                                          std::span<const Query> queries) const = 0;

  // What a forward takes from the arena.
  virtual int64_t WorkspaceFloats(std::span<const Span> spans) const = 0;
};

// The network's tensors. Throws CheckpointError if the checkpoint does not fit the spec.
BoundTensors BindWeights(const ModelSpec& spec, const Checkpoint& checkpoint, MatrixType matrices);

// Binds and packs the weights. Throws CheckpointError if the checkpoint does not fit the spec.
std::unique_ptr<Network> MakeNetwork(const ModelSpec& spec, const Checkpoint& checkpoint);

// Sizes of the heads and number of classes as the shapes in a checkpoint tell them; what they do
// not tell is left as it is.
void ReadHeadSizes(const Checkpoint& checkpoint, ModelSpec& spec);

}  // namespace spatialmamba
