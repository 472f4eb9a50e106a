#pragma once

#include <string>
#include <vector>

#include "model/net/model_spec.h"
#include "model/ops/device_batch.h"
#include "model/ops/epilogue.h"

namespace spatialmamba {

// One of a backbone's matrix products on a batch of 224x224 pictures.
struct GemmCase {
  std::string layer;  // "stage0.fc1"
  int rows = 0;
  int inputs = 0;
  int outputs = 0;
  Activation activation = Activation::kNone;
  bool bias = false;
  bool residual = false;
  int launches = 0;  // of this shape in a forward
};
std::vector<GemmCase> GemmsOf(const Variant& variant, int images);

// The median milliseconds of one product, over several sets of operands, measured for `seconds`.
double GemmMilliseconds(const GemmCase& gemm, DeviceType type, double seconds);

}  // namespace spatialmamba
