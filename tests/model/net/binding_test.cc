#include <cmath>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/net/tensor_list.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

int64_t Elements(const ExpectedTensor& tensor) {
  int64_t count = 1;
  for (const int64_t side : tensor.shape) count *= side;
  return count;
}

bool IsParameter(const std::string& key) {
  return !key.ends_with("running_mean") && !key.ends_with("running_var") &&
         !key.ends_with("num_batches_tracked");
}

TEST(TensorList, AddsUpToThePublishedParameterCounts) {
  const std::pair<const char*, int64_t> published[] = {
      {"tiny", 26'748'862}, {"small", 43'074'280}, {"base", 95'745'592}};
  for (const auto& [name, parameters] : published) {
    int64_t count = 0;
    std::set<std::string> keys;
    for (const ExpectedTensor& tensor : ClassifierTensors(*FindVariant(name), 1000)) {
      EXPECT_TRUE(keys.insert(tensor.key).second) << tensor.key << " twice";
      if (IsParameter(tensor.key)) count += Elements(tensor);
    }
    EXPECT_EQ(count, parameters) << name;
  }
}

TEST(TensorList, BackboneOfADetectorHasItsPrefixAndFeatureNorms) {
  const std::vector<ExpectedTensor> tensors =
      BackboneTensors(*FindVariant("micro"), "backbone.", true);
  std::set<std::string> keys;
  for (const ExpectedTensor& tensor : tensors) {
    EXPECT_TRUE(tensor.key.starts_with("backbone.")) << tensor.key;
    keys.insert(tensor.key);
  }
  EXPECT_TRUE(keys.contains("backbone.outnorm3.bias"));
  EXPECT_FALSE(keys.contains("backbone.norm.weight"));
}

TEST(Variants, AreDataAndHaveNames) {
  EXPECT_EQ(VariantName({96, {2, 4, 21, 5}}), "base");
  EXPECT_EQ(VariantName({32, {1, 1, 3, 1}}), "custom");
  EXPECT_FALSE(FindVariant("huge").has_value());
}

TEST(CheckFinite, NamesTheDamagedTensors) {
  const BoundTensors::Values tensors = {
      {"good", {1.0F}}, {"bad", {1.0F, NAN}}, {"worse", {INFINITY}}};
  try {
    CheckFinite(tensors);
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("bad, worse"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace spatialmamba
