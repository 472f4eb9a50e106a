#include "model/net/tensor_list.h"

#include <utility>

#include "model/net/layers.h"
#include "model/net/tensor_list_builder.h"

namespace spatialmamba {
namespace {

using Shape = TensorListBuilder::Shape;

void AddStem(TensorListBuilder& list, const std::string& key, int64_t dim) {
  const int64_t half = dim / 2;
  const std::pair<const char*, Shape> convolutions[] = {{"conv1", {half, 3, 3, 3}},
                                                        {"conv2.0", {half, half, 3, 3}},
                                                        {"conv2.1", {half, half, 3, 3}},
                                                        {"conv3.0", {4 * dim, half, 3, 3}},
                                                        {"conv3.1", {dim, 4 * dim, 1, 1}}};
  for (const auto& [name, shape] : convolutions) {
    list.Add(key + "." + name + ".conv.weight", shape);
    list.BatchNorm(key + "." + name + ".norm", shape[0]);
  }
}

void AddSsm(TensorListBuilder& list, const std::string& key, int64_t dim) {
  const int64_t inner = 2 * dim;
  const int64_t rank = StepRank(dim);
  list.Add(key + ".in_proj.weight", {2 * inner, dim});
  list.Depthwise(key + ".conv2d", inner);
  list.Add(key + ".x_proj_weight", {rank + 2, inner});
  list.Add(key + ".dt_projs_weight", {inner, rank});
  list.Add(key + ".dt_projs_bias", {inner});
  list.Add(key + ".A_logs", {inner, 1});
  list.Add(key + ".Ds", {inner});
  for (const char* kernel : {"kernel_3", "kernel_3_1", "kernel_3_2"}) {
    list.Add(key + ".state_fusion." + kernel, {inner, 1, 3, 3});
  }
  list.Add(key + ".state_fusion.alpha", {3});
  list.LayerNorm(key + ".out_norm", inner);
  list.Add(key + ".out_proj.weight", {dim, inner});
}

void AddBlock(TensorListBuilder& list, const std::string& key, int64_t dim) {
  list.Depthwise(key + ".cpe1", dim);
  list.LayerNorm(key + ".ln_1", dim);
  AddSsm(list, key + ".self_attention", dim);
  list.Depthwise(key + ".cpe2", dim);
  list.LayerNorm(key + ".ln_2", dim);
  list.Add(key + ".mlp.fc1.weight", {4 * dim, dim});
  list.Add(key + ".mlp.fc1.bias", {4 * dim});
  list.Add(key + ".mlp.fc2.weight", {dim, 4 * dim});
  list.Add(key + ".mlp.fc2.bias", {dim});
}

void AddDownSampling(TensorListBuilder& list, const std::string& key, int64_t dim) {
  list.Add(key + ".conv.0.conv.weight", {8 * dim, dim, 1, 1});
  list.Add(key + ".conv.0.conv.bias", {8 * dim});
  list.Depthwise(key + ".conv.1.conv", 8 * dim);
  list.Add(key + ".conv.2.conv.weight", {2 * dim, 8 * dim, 1, 1});
  list.Add(key + ".conv.2.conv.bias", {2 * dim});
  list.BatchNorm(key + ".conv.2.norm", 2 * dim);
}

void AddBackbone(TensorListBuilder& list, const Variant& variant, const std::string& prefix) {
  AddStem(list, prefix + "patch_embed", variant.dim);
  for (size_t stage = 0; stage < 4; ++stage) {
    const std::string key = prefix + "layers." + std::to_string(stage);
    const int64_t dim = variant.dims()[stage];
    for (int64_t block = 0; block < variant.depths[stage]; ++block) {
      AddBlock(list, key + ".blocks." + std::to_string(block), dim);
    }
    if (stage < 3) AddDownSampling(list, key + ".downsample", dim);
  }
}

}  // namespace

std::vector<ExpectedTensor> BackboneTensors(const Variant& variant, const std::string& prefix,
                                            bool feature_norms) {
  TensorListBuilder list;
  AddBackbone(list, variant, prefix);
  if (feature_norms) {
    for (size_t stage = 0; stage < 4; ++stage) {
      list.LayerNorm(prefix + "outnorm" + std::to_string(stage), variant.dims()[stage]);
    }
  }
  return list.Take();
}

std::vector<ExpectedTensor> ClassifierTensors(const Variant& variant, int64_t classes) {
  TensorListBuilder list;
  AddBackbone(list, variant, "");
  list.LayerNorm("norm", variant.dims()[3]);
  list.Add("head.weight", {classes, variant.dims()[3]});
  list.Add("head.bias", {classes});
  return list.Take();
}

}  // namespace spatialmamba
