#pragma once

#include <string>
#include <vector>

#include "model/net/model_spec.h"
#include "model/weights/binder.h"

namespace spatialmamba {

// Every tensor of a backbone, under the keys of the published checkpoints, each with `prefix` in
// front ("" or "backbone."). `feature_norms`: with the LayerNorms of the four maps, which detection
// and segmentation have.
std::vector<ExpectedTensor> BackboneTensors(const Variant& variant, const std::string& prefix,
                                            bool feature_norms);

// Every tensor of a classifier.
std::vector<ExpectedTensor> ClassifierTensors(const Variant& variant, int64_t classes);

}  // namespace spatialmamba
