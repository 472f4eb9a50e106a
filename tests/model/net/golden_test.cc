#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/net/classifier.h"
#include "model/net/tensor_list.h"
#include "model/ops/instruction_set.h"
#include "model/ops/layer_norm.h"
#include "model/runtime/pool_context.h"
#include "model/tasks/preprocess.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/synthetic.h"

// Tensor by tensor against what the oracle computed; the tolerances are those of
// tests/oracle/README.md.
namespace spatialmamba {
namespace {

constexpr double kStageTolerance = 2e-3;
constexpr double kMapTolerance = 2e-4;
constexpr double kLogitTolerance = 5e-5;

BoundTensors::Values Synthetic(const std::vector<ExpectedTensor>& list, int64_t seed) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : list) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(seed, tensor.key, tensor.shape);
  }
  return tensors;
}

// The case's pictures as one batch of network inputs.
struct Batch {
  std::vector<float> pixels;
  std::vector<Span> spans;

  ConstView view() const { return {pixels.data(), TotalTokens(spans), 3, 3}; }
};

Batch Pictures(const nlohmann::json& facts) {
  Batch batch;
  PreprocessOptions options{.input = ClassifyInput{}};
  if (!facts.value("resize", false)) options.input = ClassifyInput{.crop = 0};
  for (int64_t i = 0; i < facts.value("batch", int64_t{1}); ++i) {
    const auto height = facts["height"].get<int64_t>();
    const auto width = facts["width"].get<int64_t>();
    const Image image{height, width,
                      oracle::Image(facts["image_seed"].get<int64_t>() + i, height, width)};
    const NetworkInput input = Preprocess(image, options);
    batch.spans.push_back({TotalTokens(batch.spans), input.height, input.width});
    batch.pixels.insert(batch.pixels.end(), input.pixels.begin(), input.pixels.end());
  }
  return batch;
}

std::vector<float> Values(ConstView map) {
  std::vector<float> values;
  for (int64_t r = 0; r < map.rows; ++r)
    values.insert(values.end(), map.row(r), map.row(r) + map.channels);
  return values;
}

struct Param {
  std::string name;
  InstructionSet set;
};

std::string ParamName(const testing::TestParamInfo<Param>& info) {
  std::string name = info.param.name + "_" + std::string(Name(info.param.set));
  std::erase_if(name, [](char c) { return c == '-' || c == ' '; });
  return name;
}

// The large variants on the best instruction set only: the plain one would take a minute for each.
std::vector<Param> Cases(const std::vector<std::string>& everywhere,
                         const std::vector<std::string>& on_the_best) {
  std::vector<Param> cases;
  for (const std::string& name : everywhere) {
    for (const InstructionSet set : AvailableInstructionSets()) cases.push_back({name, set});
  }
  for (const std::string& name : on_the_best)
    cases.push_back({name, AvailableInstructionSets().front()});
  return cases;
}

class GoldenCase : public testing::TestWithParam<Param> {
 protected:
  void SetUp() override { ForceInstructionSet(GetParam().set); }
  void TearDown() override { ForceInstructionSet(std::nullopt); }
};

const std::vector<std::string> kSmallClassifiers = {
    "classification_micro_1x1", "classification_micro_64x32", "classification_micro_97x131",
    "classification_micro_224x224"};
const std::vector<std::string> kPublishedClassifiers = {
    "classification_tiny", "classification_small", "classification_base"};

class ClassifierGolden : public GoldenCase {
 protected:
  // [images, classes].
  std::vector<float> Logits(
      MatrixType matrices,
      Backbone::OnStage on_stage = [](size_t, ConstView, std::span<const Span>) {}) {
    const nlohmann::json& facts = golden_.facts["case"];
    const Variant variant = *FindVariant(facts["variant"].get<std::string>());
    const auto classes = facts["classes"].get<int64_t>();
    const Classifier classifier(
        variant, classes,
        {Synthetic(ClassifierTensors(variant, classes), facts["seed"].get<int64_t>()), matrices});
    const Batch batch = Pictures(facts);
    const auto images = static_cast<int64_t>(batch.spans.size());
    std::vector<float> logits(static_cast<size_t>(images * classes));
    ThreadPool pool(2);
    PoolContext context(pool);
    Arena arena;
    classifier.Forward(context, arena, batch.view(), batch.spans,
                       {logits.data(), images, classes, classes}, on_stage);
    return logits;
  }

  double LargestLogit() const {
    double largest = 0;
    for (const float logit : golden_.tensors.at("logits").values) {
      largest = std::max(largest, std::abs(double{logit}));
    }
    return largest;
  }

  oracle::Golden golden_ = oracle::ReadGolden(GetParam().name);
};
INSTANTIATE_TEST_SUITE_P(, ClassifierGolden,
                         testing::ValuesIn(Cases(kSmallClassifiers, kPublishedClassifiers)),
                         ParamName);

TEST_P(ClassifierGolden, StagesAndLogits) {
  const std::vector<float> logits =
      Logits(MatrixType::kFloat32, [&](size_t stage, ConstView map, std::span<const Span>) {
        EXPECT_LE(oracle::LargestError(golden_, "stage" + std::to_string(stage), Values(map)),
                  kStageTolerance);
      });
  EXPECT_LE(oracle::LargestError(golden_, "logits", logits), kLogitTolerance * LargestLogit());
  const auto& top5 = golden_.facts["expected"]["top5"];
  const auto classes = static_cast<int64_t>(logits.size() / top5.size());
  for (size_t i = 0; i < top5.size(); ++i) {
    const auto first = logits.begin() + static_cast<int64_t>(i) * classes;
    EXPECT_EQ(std::max_element(first, first + classes) - first, top5[i][0].get<int64_t>());
  }
}

// Logits within 3 % of the largest, and the same first class wherever it leads by twice that.
TEST_P(ClassifierGolden, LogitsInBfloat16) {
  const std::vector<float> logits = Logits(MatrixType::kBfloat16);
  const std::vector<float>& expected = golden_.tensors.at("logits").values;
  const double tolerance = 3e-2 * LargestLogit();
  EXPECT_LE(oracle::LargestError(golden_, "logits", logits), tolerance);
  const size_t images = golden_.facts["expected"]["top5"].size();
  const auto classes = static_cast<int64_t>(logits.size() / images);
  for (size_t i = 0; i < images; ++i) {
    const int64_t offset = static_cast<int64_t>(i) * classes;
    std::vector<float> sorted(expected.begin() + offset, expected.begin() + offset + classes);
    const auto best = std::max_element(sorted.begin(), sorted.end()) - sorted.begin();
    std::ranges::sort(sorted, std::greater());
    if (double{sorted[0]} - double{sorted[1]} <= 2 * tolerance) continue;
    const auto first = logits.begin() + offset;
    EXPECT_EQ(std::max_element(first, first + classes) - first, best);
  }
}

TEST(Golden, ANumberThatIsNoneIsTheLargestError) {
  const oracle::Golden golden = {.facts = {{"samples", nlohmann::json::object()}},
                                 .tensors = {{"map", {.shape = {4}, .values = {1, 2, 3, 4}}}}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_DOUBLE_EQ(oracle::LargestError(golden, "map", {1, 2.5F, 3, 4}), .5);
  EXPECT_EQ(oracle::LargestError(golden, "map", {6, nan, 3, 4}),
            std::numeric_limits<double>::infinity());
}

class BackboneGolden : public GoldenCase {};
INSTANTIATE_TEST_SUITE_P(, BackboneGolden,
                         testing::ValuesIn(Cases({"backbone_micro_97x131", "backbone_micro_33x40",
                                                  "backbone_micro_224x224"},
                                                 {"backbone_tiny_160x224"})),
                         ParamName);

// [tokens, channels] of equal images -> [images, channels, height, width], as the oracle stores
// maps.
std::vector<float> ChannelsFirst(ConstView map, std::span<const Span> spans) {
  std::vector<float> values;
  for (const Span& span : spans) {
    for (int64_t c = 0; c < map.channels; ++c) {
      for (int64_t t = 0; t < span.tokens(); ++t) values.push_back(map.row(span.offset + t)[c]);
    }
  }
  return values;
}

TEST_P(BackboneGolden, NormalisedMaps) {
  const oracle::Golden golden = oracle::ReadGolden(GetParam().name);
  const nlohmann::json& facts = golden.facts["case"];
  const Variant variant = *FindVariant(facts["variant"].get<std::string>());
  const BoundTensors tensors =
      Synthetic(BackboneTensors(variant, "", true), facts["seed"].get<int64_t>());
  const Backbone backbone(variant, tensors, "");
  const Batch batch = Pictures(facts);
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  arena.Reset(backbone.WorkspaceFloats(batch.spans));
  int stages = 0;
  backbone.Forward(context, arena, batch.view(), batch.spans,
                   [&](size_t stage, ConstView map, std::span<const Span> spans) {
                     const NormLayer norm = MakeNorm(tensors, "outnorm" + std::to_string(stage));
                     std::vector<float> normed(static_cast<size_t>(map.rows * map.channels));
                     const View out{normed.data(), map.rows, map.channels, map.channels};
                     LayerNorm(context, map, norm.view(), out);
                     EXPECT_LE(oracle::LargestError(golden, "map" + std::to_string(stage),
                                                    ChannelsFirst(out, spans)),
                               kMapTolerance);
                     ++stages;
                   });
  EXPECT_EQ(stages, 4);
}

}  // namespace
}  // namespace spatialmamba
