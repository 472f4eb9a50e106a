#include "model/net/upernet_tensors.h"

#include <string>

#include "model/net/tensor_list.h"
#include "model/net/tensor_list_builder.h"

namespace spatialmamba {
namespace {

// A convolution without a bias and its BatchNorm.
void AddConvUnit(TensorListBuilder& list, const std::string& key, int64_t outputs, int64_t inputs,
                 int64_t kernel) {
  list.Add(key + ".conv.weight", {outputs, inputs, kernel, kernel});
  list.BatchNorm(key + ".bn", outputs);
}

}  // namespace

std::vector<ExpectedTensor> UperNetTensors(const ModelSpec& spec) {
  TensorListBuilder list;
  const std::string head = "decode_head.";
  const int64_t channels = spec.segment.channels;
  const auto scales = static_cast<int64_t>(spec.segment.pool_scales.size());
  const int64_t top = spec.variant.dims()[3];
  list.Append(BackboneTensors(spec.variant, "backbone.", true));
  list.Biased(head + "conv_seg", {spec.classes, channels, 1, 1});
  for (int64_t i = 0; i < scales; ++i) {
    AddConvUnit(list, head + "psp_modules." + std::to_string(i) + ".1", channels, top, 1);
  }
  AddConvUnit(list, head + "bottleneck", channels, top + scales * channels, 3);
  for (size_t i = 0; i < 3; ++i) {
    const std::string level = std::to_string(i);
    AddConvUnit(list, head + "lateral_convs." + level, channels, spec.variant.dims()[i], 1);
    AddConvUnit(list, head + "fpn_convs." + level, channels, channels, 3);
  }
  AddConvUnit(list, head + "fpn_bottleneck", channels, 4 * channels, 3);
  return list.Take();
}

}  // namespace spatialmamba
