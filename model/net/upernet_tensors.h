#pragma once

#include <vector>

#include "model/net/model_spec.h"
#include "model/weights/binder.h"

namespace spatialmamba {

// Every tensor of a segmenter, under the keys of the published checkpoints: backbone. (with the
// norms of its maps) and decode_head. Those files also hold auxiliary_head., which only training
// reads: Bind ignores it by that prefix.
std::vector<ExpectedTensor> UperNetTensors(const ModelSpec& spec);

}  // namespace spatialmamba
