#include "model/net/upernet.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/net/pyramid_bottleneck.h"
#include "model/ops/instruction_set.h"
#include "model/runtime/pool_context.h"
#include "model/weights/checkpoint.h"
#include "tests/model/net/segment_fixture.h"

namespace spatialmamba {
namespace {

constexpr double kLogitTolerance = 5e-5;  // of tests/oracle/README.md

struct Param {
  std::string name;
  InstructionSet set;
};

std::vector<Param> Cases() {
  std::vector<Param> cases;
  for (const char* name : {"landscape", "portrait", "wide_nineteen_classes"}) {
    for (const InstructionSet set : AvailableInstructionSets()) {
      if (set == InstructionSet::kAvx512Bf16) continue;  // fp32 as AVX-512
      if (set == InstructionSet::kPlain && name != std::string("portrait")) continue;  // slow
      cases.push_back({std::string("segmentation_micro_") + name, set});
    }
  }
  cases.push_back({"segmentation_tiny_full", AvailableInstructionSets().front()});
  return cases;
}

std::string ParamName(const testing::TestParamInfo<Param>& info) {
  std::string name = info.param.name + "_" + std::string(Name(info.param.set));
  std::erase_if(name, [](char c) { return c == '-' || c == ' '; });
  return name;
}

class UperNetGolden : public testing::TestWithParam<Param> {
 protected:
  void SetUp() override { ForceInstructionSet(GetParam().set); }
  void TearDown() override { ForceInstructionSet(std::nullopt); }
};
INSTANTIATE_TEST_SUITE_P(, UperNetGolden, testing::ValuesIn(Cases()), ParamName);

std::vector<Param> Bfloat16Cases() {
  std::vector<Param> cases;
  for (const InstructionSet set : AvailableInstructionSets()) {
    if (set == InstructionSet::kPlain) continue;  // slow
    cases.push_back({"segmentation_micro_portrait", set});
  }
  for (const char* name : {"segmentation_micro_wide_nineteen_classes", "segmentation_tiny_full"}) {
    cases.push_back({name, AvailableInstructionSets().front()});
  }
  return cases;
}

class UperNetBfloat16 : public UperNetGolden {};
INSTANTIATE_TEST_SUITE_P(, UperNetBfloat16, testing::ValuesIn(Bfloat16Cases()), ParamName);

void ExpectLabels(const SegmentCase& test, const SegmentOutput& output) {
  const std::vector<uint16_t> labels = test.Labels();
  ASSERT_EQ(output.labels.size(), labels.size());
  size_t differ = 0;
  for (size_t i = 0; i < labels.size(); ++i) differ += output.labels[i] != labels[i] ? 1 : 0;
  testing::Test::RecordProperty("labels_that_differ", static_cast<int>(differ));
  EXPECT_LE(static_cast<double>(differ),
            test.expected["doubtful"].get<double>() * static_cast<double>(labels.size()));
  std::vector<int64_t> counts(static_cast<size_t>(test.spec.classes));
  for (const uint16_t label : output.labels) ++counts[label];
  EXPECT_EQ(output.class_pixels, counts);
}

TEST_P(UperNetGolden, EqualsTheOracle) {
  const SegmentCase test(GetParam().name);
  const UperNet network = test.Network();
  const SegmentBatch batch({test.Picture()});
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const SegmentLogits head = network.FillLogits(context, arena, batch.view(), batch.spans);
  EXPECT_LE(oracle::LargestError(test.golden, "head", ChannelsFirst(head.logits)), kLogitTolerance);
  if (test.facts["variant"] == "micro") {  // the others' enlarged logits would take a gigabyte
    EXPECT_LE(oracle::LargestError(test.golden, "logits", EnlargedLogits(head, batch)),
              kLogitTolerance);
  }
  ExpectLabels(test, UperNet::Label(context, head, batch.spans, batch.queries)[0]);
}

TEST_P(UperNetBfloat16, LogitsAreNearTheOracles) {
  const SegmentCase test(GetParam().name);
  const UperNet network = test.Network(MatrixType::kBfloat16);
  const SegmentBatch batch({test.Picture()});
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const SegmentLogits head = network.FillLogits(context, arena, batch.view(), batch.spans);
  double largest = 0;
  for (const float logit : test.golden.tensors.at("head").values) {
    largest = std::max(largest, std::abs(double{logit}));
  }
  EXPECT_LE(oracle::LargestError(test.golden, "head", ChannelsFirst(head.logits)), 3e-2 * largest);
}

bool SameBits(const SegmentOutput& a, const SegmentOutput& b) {
  return a.labels == b.labels && a.class_pixels == b.class_pixels &&
         a.confidence_height == b.confidence_height && a.confidence_width == b.confidence_width &&
         a.confidence == b.confidence;
}

// The outputs, and the head's logits of each image.
struct Outputs {
  std::vector<SegmentOutput> images;
  std::vector<std::vector<float>> logits;
};

class UperNetTest : public testing::Test {
 protected:
  UperNetTest() : test_("segmentation_micro_wide_nineteen_classes"), network_(test_.Network()) {}

  Outputs Run(const std::vector<SegmentPicture>& pictures, int threads = 2) const {
    ThreadPool pool(threads);
    PoolContext context(pool);
    Arena arena;
    const SegmentBatch batch(pictures);
    const SegmentLogits head = network_.FillLogits(context, arena, batch.view(), batch.spans);
    Outputs outputs{UperNet::Label(context, head, batch.spans, batch.queries), {}};
    for (const Span& span : head.spans) {
      outputs.logits.emplace_back(head.logits.row(span.offset),
                                  head.logits.row(span.offset + span.tokens()));
    }
    return outputs;
  }

  SegmentCase test_;
  UperNet network_;
};

std::vector<SegmentPicture> PicturesOfUnequalSizes() {
  std::vector<SegmentPicture> pictures = {{11, {40, 60}, {160, 96}},
                                          {12, {9, 90}, {200, 96}},
                                          {13, {50, 33}, {96, 128}},
                                          {14, {200, 210}, {80, 40}}};
  pictures[1].query.confidence = true;
  pictures[2].query.original = {7, 300};  // any size will do
  pictures[3].query.confidence = true;
  return pictures;
}

TEST_F(UperNetTest, ImagesOfUnequalSizesGetTheBitsThatTheyGetAlone) {
  const std::vector<SegmentPicture> pictures = PicturesOfUnequalSizes();
  for (const MatrixType matrices : {MatrixType::kFloat32, MatrixType::kBfloat16}) {
    network_ = test_.Network(matrices);
    const Outputs together = Run(pictures);
    for (size_t i = 0; i < pictures.size(); ++i) {
      const Outputs alone = Run({pictures[i]});
      EXPECT_TRUE(SameBits(together.images[i], alone.images[0])) << i;
      EXPECT_EQ(together.logits[i], alone.logits[0]) << i;
    }
  }
}

TEST_F(UperNetTest, ThreadsDoNotChangeABit) {
  const std::vector<SegmentPicture> pictures = PicturesOfUnequalSizes();
  for (const MatrixType matrices : {MatrixType::kFloat32, MatrixType::kBfloat16}) {
    network_ = test_.Network(matrices);
    const Outputs one = Run(pictures, 1);
    for (const int threads : {2, 3}) {
      const Outputs many = Run(pictures, threads);
      EXPECT_EQ(one.logits, many.logits) << threads;
      for (size_t i = 0; i < pictures.size(); ++i) {
        EXPECT_TRUE(SameBits(one.images[i], many.images[i])) << i << " " << threads;
      }
    }
  }
}

TEST_F(UperNetTest, TheAnswerHasThePicturesSizeAndConfidenceTheHeads) {
  const Outputs outputs = Run(PicturesOfUnequalSizes());
  EXPECT_EQ(outputs.images[0].labels.size(), 40U * 60U);
  EXPECT_TRUE(outputs.images[0].confidence.empty());
  EXPECT_EQ(outputs.images[2].labels.size(), 7U * 300U);
  const SegmentOutput& with = outputs.images[3];
  EXPECT_EQ(with.confidence_height, 10);
  EXPECT_EQ(with.confidence_width, 11);  // of 40 x 42
  EXPECT_EQ(with.confidence.size(), 110U);
  EXPECT_GE(*std::min_element(with.confidence.begin(), with.confidence.end()), 255 / 19);
  for (const SegmentOutput& output : outputs.images) {
    EXPECT_EQ(std::accumulate(output.class_pixels.begin(), output.class_pixels.end(), int64_t{0}),
              static_cast<int64_t>(output.labels.size()));
  }
}

TEST_F(UperNetTest, TinyAndExtremePicturesAnswer) {
  std::vector<SegmentPicture> pictures = {
      {21, {1, 1}, {64, 64}}, {22, {1, 200}, {400, 64}}, {23, {300, 2}, {320, 64}}};
  // An input of one pixel, whose pools are all larger than its map, for a large picture.
  pictures.push_back(pictures[0]);
  pictures.back().input = {
      .height = 1, .width = 1, .valid_height = 1, .valid_width = 1, .pixels = {0, 1, 2}};
  pictures.back().query.original = {100, 70};
  const Outputs outputs = Run(pictures);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const PixelSize& size = pictures[i].query.original;
    EXPECT_EQ(static_cast<int64_t>(outputs.images[i].labels.size()), size.height * size.width);
    EXPECT_TRUE(SameBits(outputs.images[i], Run({pictures[i]}).images[0])) << i;
  }
  const std::vector<int64_t>& counts = outputs.images.back().class_pixels;
  EXPECT_EQ(*std::max_element(counts.begin(), counts.end()), 7000);
}

TEST_F(UperNetTest, NumbersThatAreNotFiniteAreAnError) {
  for (const char* key : {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}) {
    BoundTensors::Values tensors = SyntheticTensors(UperNetTensors(test_.spec), 1);
    std::fill(tensors.at(key).begin(), tensors.at(key).end(), 3e38F);
    tensors.at("decode_head.conv_seg.weight")[0] = 3e38F;
    const UperNet network(test_.spec, tensors);
    ThreadPool pool(2);
    PoolContext context(pool);
    Arena arena;
    const SegmentBatch batch({test_.Picture()});
    EXPECT_THROW(network.Forward(context, arena, batch.view(), batch.spans, batch.queries),
                 std::domain_error)
        << key;
  }
}

TEST_F(UperNetTest, EachImageNeedsAQueryOfASize) {
  ThreadPool pool(1);
  PoolContext context(pool);
  Arena arena;
  SegmentBatch batch({test_.Picture()});
  EXPECT_THROW(network_.Forward(context, arena, batch.view(), batch.spans, {}),
               std::invalid_argument);
  batch.queries[0].original = {3, 0};
  EXPECT_THROW(network_.Forward(context, arena, batch.view(), batch.spans, batch.queries),
               std::invalid_argument);
}

TEST_F(UperNetTest, MemoryGrowsWithTheImagesAndNotTheirProducts) {
  const std::vector<Span> one = {{0, 512, 2048}};
  const std::vector<Span> two = {{0, 512, 2048}, {512 * 2048, 512, 2048}};
  const int64_t floats = network_.WorkspaceFloats(one);
  // The four levels twice, one piece of the products, and the head's smaller maps: all nine
  // products of 512 outputs would add 1.5 times as much again.
  EXPECT_LT(floats, 13 * 512 * 128 * 512 / 4);
  EXPECT_NEAR(static_cast<double>(network_.WorkspaceFloats(two)), 2.0 * static_cast<double>(floats),
              1e-3 * static_cast<double>(floats));
}

TEST(UperNet, PoolScalesAndWidthAreData) {
  ModelSpec spec{
      .task = VisionTask::kSegment, .variant = {.dim = 8, .depths = {1, 1, 1, 1}}, .classes = 5};
  spec.segment = {.channels = 70, .pool_scales = {1, 4}};
  const UperNet network(spec, SyntheticTensors(UperNetTensors(spec), 3));
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const SegmentBatch batch({SegmentPicture(5, {40, 61}, {128, 96})});
  const SegmentOutput output =
      network.Forward(context, arena, batch.view(), batch.spans, batch.queries)[0];
  EXPECT_EQ(output.labels.size(), 40U * 61U);
  EXPECT_EQ(output.class_pixels.size(), 5U);
}

TEST(UperNet, SpecsAndTensorsThatCannotBeAreRefused) {
  ModelSpec spec{
      .task = VisionTask::kSegment, .variant = {.dim = 8, .depths = {1, 1, 1, 1}}, .classes = 5};
  spec.segment.channels = 16;
  BoundTensors::Values tensors = SyntheticTensors(UperNetTensors(spec), 3);
  for (const std::vector<int64_t>& scales : {std::vector<int64_t>{}, {1, 0, 3, 6}}) {
    ModelSpec other = spec;
    other.segment.pool_scales = scales;
    EXPECT_THROW(UperNet(other, tensors), std::invalid_argument);
  }
  tensors.at("decode_head.fpn_convs.1.bn.running_var")[3] = -1.0F;
  try {
    const UperNet network(spec, tensors);
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("decode_head.fpn_convs.1.bn.running_var"));
  }
}

TEST(PyramidBottleneck, RefusesAnotherNumberOfMaps) {
  BoundTensors::Values tensors;
  tensors["b.conv.weight"] = std::vector<float>(2 * 5 * 9, 1.0F);
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
    tensors[std::string("b.bn.") + part] = {1.0F, 1.0F};
  }
  const std::vector<int64_t> channels = {3, 2};
  const PyramidBottleneck bottleneck(tensors, "b", channels);
  ThreadPool pool(1);
  PoolContext context(pool);
  Arena arena;
  EXPECT_THROW(bottleneck.Forward(context, arena, {}, {}), std::invalid_argument);
}

TEST(UperNetTensors, AddUpToThePublishedParameterCount) {
  const ModelSpec spec{
      .task = VisionTask::kSegment, .variant = *FindVariant("tiny"), .classes = 150};
  int64_t sum = 0;
  for (const ExpectedTensor& tensor : UperNetTensors(spec)) {
    if (tensor.key.starts_with("backbone.") || tensor.optional ||
        tensor.key.find("running_") != std::string::npos) {
      continue;
    }
    int64_t elements = 1;
    for (const int64_t side : tensor.shape) elements *= side;
    sum += elements;
  }
  EXPECT_EQ(sum, 29'678'742);  // as PyTorch counts those of the oracle's head
}

}  // namespace
}  // namespace spatialmamba
