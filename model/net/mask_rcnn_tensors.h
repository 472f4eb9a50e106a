#pragma once

#include <vector>

#include "model/net/model_spec.h"
#include "model/weights/binder.h"

namespace spatialmamba {

// Every tensor of a detector, under the keys of the published checkpoints: backbone. (with the
// norms of its maps), neck., rpn_head., roi_head. The mask head's only if the spec has masks.
std::vector<ExpectedTensor> MaskRcnnTensors(const ModelSpec& spec);

}  // namespace spatialmamba
