#include "model/net/mask_rcnn_tensors.h"

#include <string>

#include "model/net/tensor_list.h"
#include "model/net/tensor_list_builder.h"

namespace spatialmamba {
namespace {

void AddMaskHead(TensorListBuilder& list, const std::string& key, int64_t channels,
                 int64_t classes) {
  for (int i = 0; i < 4; ++i) {
    list.Biased(key + ".convs." + std::to_string(i) + ".conv", {channels, channels, 3, 3});
  }
  list.Biased(key + ".upsample", {channels, channels, 2, 2});
  list.Biased(key + ".conv_logits", {classes, channels, 1, 1});
}

}  // namespace

std::vector<ExpectedTensor> MaskRcnnTensors(const ModelSpec& spec) {
  TensorListBuilder list;
  const int64_t channels = spec.detect.fpn_channels;
  const int64_t hidden = spec.detect.fc_channels;
  list.Append(BackboneTensors(spec.variant, "backbone.", true));
  for (size_t i = 0; i < 4; ++i) {
    const std::string level = std::to_string(i);
    list.Biased("neck.lateral_convs." + level + ".conv", {channels, spec.variant.dims()[i], 1, 1});
    list.Biased("neck.fpn_convs." + level + ".conv", {channels, channels, 3, 3});
  }
  list.Biased("rpn_head.rpn_conv", {channels, channels, 3, 3});
  list.Biased("rpn_head.rpn_cls", {3, channels, 1, 1});
  list.Biased("rpn_head.rpn_reg", {12, channels, 1, 1});
  list.Biased("roi_head.bbox_head.shared_fcs.0", {hidden, channels * 49});
  list.Biased("roi_head.bbox_head.shared_fcs.1", {hidden, hidden});
  list.Biased("roi_head.bbox_head.fc_cls", {spec.classes + 1, hidden});
  list.Biased("roi_head.bbox_head.fc_reg", {4 * spec.classes, hidden});
  if (spec.detect.masks) AddMaskHead(list, "roi_head.mask_head", channels, spec.classes);
  return list.Take();
}

}  // namespace spatialmamba
