// The whole way against the oracle: pictures in by gRPC, logits out, for weights and pictures that
// both sides make from the same seeds.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/net/model_spec.h"
#include "tests/oracle/golden.h"
#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

constexpr double kLogitTolerance = 5e-5;  // of the largest logit; see tests/oracle/README.md

class GoldenServiceTest : public RunningApp, public ::testing::WithParamInterface<std::string> {};

TEST_P(GoldenServiceTest, LogitsAgreeWithTheOracle) {
  const oracle::Golden golden = oracle::ReadGolden(GetParam());
  const nlohmann::json& facts = golden.facts["case"];
  const auto name = facts["variant"].get<std::string>();
  TinyModel model{.variant = *FindVariant(name),
                  .classes = facts["classes"].get<int64_t>(),
                  .seed = facts["seed"].get<int64_t>(),
                  .metadata = {{"task", "classify"}}};
  const auto& depths = model.variant.depths;
  model.metadata["variant"] =
      nlohmann::json({{"dim", model.variant.dim}, {"depths", depths}}).dump();
  if (!facts.value("resize", false)) model.metadata["preprocess"] = R"({"crop": 0})";
  Start("", model);

  v1::ClassifyRequest request;
  request.set_include_logits(true);
  request.set_top_k(static_cast<int32_t>(model.classes));
  for (int i = 0; i < facts.value("batch", 1); ++i) {
    AddRaw(facts["image_seed"].get<int64_t>() + i, facts["height"].get<int>(),
           facts["width"].get<int>(), request);
  }
  const Reply reply = client_->Classify(request);
  ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
  std::vector<float> logits;
  for (const v1::Classification& result : reply.response.results()) {
    std::vector<float> of_image(static_cast<size_t>(model.classes));
    for (const v1::Class& one : result.classes()) {
      of_image[static_cast<size_t>(one.index())] = one.logit();
    }
    logits.insert(logits.end(), of_image.begin(), of_image.end());
  }
  double scale = 0;
  for (const float logit : golden.tensors.at("logits").values) {
    scale = std::max(scale, std::abs(double{logit}));
  }
  EXPECT_LE(oracle::LargestError(golden, "logits", logits), kLogitTolerance * scale);
  for (int i = 0; i < reply.response.results_size(); ++i) {
    EXPECT_EQ(reply.response.results(i).classes(0).index(),
              golden.facts["expected"]["top5"][static_cast<size_t>(i)][0].get<int>());
  }
}

INSTANTIATE_TEST_SUITE_P(, GoldenServiceTest,
                         ::testing::Values("classification_micro_1x1", "classification_micro_64x32",
                                           "classification_micro_97x131",
                                           "classification_micro_224x224", "classification_tiny"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace spatialmamba
