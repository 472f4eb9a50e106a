// Mask R-CNN on a GPU against Mask R-CNN on a CPU, in small.
#include "model/net/cuda_mask_rcnn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "model/net/mask_rcnn.h"
#include "model/net/mask_rcnn_tensors.h"
#include "model/runtime/pool_context.h"
#include "model/weights/checkpoint.h"
#include "tests/cuda_on_host/fake_device.h"
#include "tests/model/ops/ops_fixture.h"
#include "tests/oracle/synthetic.h"

// After the standard headers, which use names that this defines.
#include "cuda_on_host.h"

namespace spatialmamba {
namespace {

// Tolerances of tests/oracle/README.md.
constexpr double kBoxTolerance = 0.02;
constexpr double kScoreTolerance = 5e-4;
constexpr double kMaskTolerance = 2e-4;

ModelSpec MicroSpec() {
  ModelSpec spec{.task = VisionTask::kDetect, .variant = *FindVariant("micro"), .classes = 7};
  spec.detect.fpn_channels = 16;
  spec.detect.fc_channels = 24;
  return spec;
}

BoundTensors::Values Tensors(const ModelSpec& spec) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : MaskRcnnTensors(spec)) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(5, tensor.key, tensor.shape);
  }
  return tensors;
}

struct Batch {
  std::vector<Span> spans;
  std::vector<DetectQuery> queries;
  std::vector<float> pixels;
};

// An image of its own for each size, of which the last rows and columns are padding.
Batch BatchOf(const std::vector<std::pair<int64_t, int64_t>>& sizes,
              const DetectQuery& query = {}) {
  Batch batch;
  batch.spans = SpansOf(sizes);
  for (const Span& span : batch.spans) {
    const auto own =
        RandomVector(static_cast<uint64_t>(span.height * 1000 + span.width), 3 * span.tokens());
    batch.pixels.insert(batch.pixels.end(), own.begin(), own.end());
    batch.queries.push_back(query);
    batch.queries.back().valid = {std::max<int64_t>(span.height - 3, 1),
                                  std::max<int64_t>(span.width - 5, 1)};
  }
  return batch;
}

DetectQuery LowThreshold() { return {.score_threshold = 0.12F, .max_detections = 20}; }

std::vector<DetectOutput> OnCpu(const ModelSpec& spec, const BoundTensors::Values& tensors,
                                const Batch& batch) {
  const MaskRcnn network(spec, tensors);
  ThreadPool pool(1);
  PoolContext context(pool);
  Arena arena;
  return network.Forward(context, arena, {batch.pixels.data(), TotalTokens(batch.spans), 3, 3},
                         batch.spans, batch.queries);
}

class OnDevice {
 public:
  OnDevice(const ModelSpec& spec, const BoundTensors::Values& tensors, int64_t limit = 20,
           DeviceType type = DeviceType::kFloat32)
      : weights_(type), network_(spec, tensors, weights_, limit) {}

  // What comes back, for all images; CudaDetectAnswers::Read makes detections of it.
  struct Answers {
    CudaDetectAnswers answers;
    PinnedBuffer host;
    std::vector<DetectOutput> Read() const { return answers.Read(host.data()); }
    DetectOutput Read(size_t image) const { return answers.Read(host.data(), image); }
  };

  // capacity: of the launches, at least the batch's. capture: records the forward and replays it.
  Answers Run(const Batch& batch, const DeviceCapacity& capacity, bool capture = false) {
    DeviceGeometry geometry(capacity);
    DeviceArena arena;
    arena.Reserve(network_.WorkspaceBytes(capacity));
    const DeviceDetections detections = network_.TakeDetections(arena, capacity);
    const DeviceBuffer images(3 * sizeof(float) * static_cast<size_t>(capacity.tokens[0]));
    const auto* input = static_cast<const float*>(images.data());
    CUgraphExec_st* graph = nullptr;
    if (capture) {
      BeginCapture(stream_.get());
      network_.Forward(arena, geometry, input, detections, stream_.get());
      graph = EndCapture(stream_.get());
    }
    Answers answers{{batch.queries, network_.sizes()}, {}};
    answers.host = PinnedBuffer(answers.answers.host_bytes());
    geometry.Fill(batch.spans, stream_.get());
    answers.answers.Upload(detections, answers.host.data(), stream_.get());
    CopyToDevice(images.data(), batch.pixels.data(), batch.pixels.size() * sizeof(float),
                 stream_.get());
    if (capture) {
      LaunchGraph(graph, stream_.get());
    } else {
      network_.Forward(arena, geometry, input, detections, stream_.get());
    }
    answers.answers.Launch(detections, answers.host.data(), stream_.get());
    Synchronize(stream_.get());
    if (capture) DestroyGraph(graph);
    return answers;
  }
  std::vector<DetectOutput> Run(const Batch& batch) {
    return Run(batch, DeviceCapacity::Of(batch.spans)).Read();
  }

  const CudaMaskRcnn& network() const { return network_; }

 private:
  CudaStream stream_;
  DeviceWeights weights_;
  CudaMaskRcnn network_;
};

double BoxError(const Box& a, const Box& b) {
  return static_cast<double>(
      std::max({std::abs(a.left - b.left), std::abs(a.top - b.top), std::abs(a.right - b.right),
                std::abs(a.bottom - b.bottom)}));
}

void ExpectNear(const DetectOutput& output, const DetectOutput& want) {
  ASSERT_EQ(output.detections.size(), want.detections.size());
  for (size_t i = 0; i < want.detections.size(); ++i) {
    EXPECT_EQ(output.detections[i].label, want.detections[i].label) << i;
    EXPECT_NEAR(output.detections[i].score, want.detections[i].score, kScoreTolerance) << i;
    EXPECT_LE(BoxError(output.detections[i].box, want.detections[i].box), kBoxTolerance) << i;
  }
  ASSERT_EQ(output.mask_probabilities.size(), want.mask_probabilities.size());
  for (size_t i = 0; i < want.mask_probabilities.size(); ++i) {
    ASSERT_NEAR(output.mask_probabilities[i], want.mask_probabilities[i], kMaskTolerance) << i;
  }
}

class CudaMaskRcnnTest : public testing::Test {
 protected:
  void TearDown() override { cuda_on_host::options.seed = 0; }

  const ModelSpec spec_ = MicroSpec();
  const BoundTensors::Values tensors_ = Tensors(spec_);
};

TEST_F(CudaMaskRcnnTest, FindsWhatTheCpuFinds) {
  const Batch batch = BatchOf({{64, 96}, {33, 50}, {1, 1}}, LowThreshold());
  const std::vector<DetectOutput> want = OnCpu(spec_, tensors_, batch);
  const std::vector<DetectOutput> outputs = OnDevice(spec_, tensors_).Run(batch);
  ASSERT_EQ(outputs.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_GE(want[i].detections.size(), i < 2 ? 5U : 0U) << i;
    ExpectNear(outputs[i], want[i]);
  }
}

TEST_F(CudaMaskRcnnTest, ImagesOfUnequalSizesGetTheBitsThatTheyGetAlone) {
  const std::vector<std::pair<int64_t, int64_t>> sizes = {{40, 24}, {64, 96}, {7, 90}};
  for (const DeviceType type : {DeviceType::kFloat32, DeviceType::kBfloat16}) {
    OnDevice device(spec_, tensors_, 20, type);
    Batch batch = BatchOf(sizes, LowThreshold());
    batch.queries[0].score_threshold = 0.05F;
    batch.queries[1].masks = false;
    batch.queries[2].max_detections = 3;
    batch.queries[2].score_threshold = 0;
    const std::vector<DetectOutput> together = device.Run(batch);
    for (size_t i = 0; i < sizes.size(); ++i) {
      Batch alone = BatchOf({sizes[i]});
      alone.queries[0] = batch.queries[i];
      const std::vector<DetectOutput> own = device.Run(alone);
      EXPECT_FALSE(own[0].detections.empty()) << i;
      EXPECT_TRUE(together[i] == own[0]) << i;
    }
    EXPECT_TRUE(together[1].mask_probabilities.empty());
    EXPECT_EQ(together[2].detections.size(), 3U);
  }
}

TEST_F(CudaMaskRcnnTest, ACaptureServesSmallerBatchesWithoutChangingABit) {
  OnDevice device(spec_, tensors_);
  const Batch batch = BatchOf({{33, 50}, {16, 40}}, LowThreshold());
  const std::vector<DetectOutput> want = device.Run(batch);
  const DeviceCapacity capacity = DeviceCapacity::Of(BatchOf({{64, 64}, {33, 40}, {16, 41}}).spans);
  EXPECT_TRUE(device.Run(batch, capacity, true).Read() == want);
}

TEST_F(CudaMaskRcnnTest, NoOrderOfThreadsChangesABit) {
  OnDevice device(spec_, tensors_);
  const Batch batch = BatchOf({{33, 50}}, LowThreshold());
  const std::vector<DetectOutput> want = device.Run(batch);
  for (const unsigned seed : {1U, 2U}) {
    cuda_on_host::options.seed = seed;
    EXPECT_TRUE(device.Run(batch) == want) << seed;
  }
}

TEST_F(CudaMaskRcnnTest, QueriesDecideWhatIsFound) {
  OnDevice device(spec_, tensors_);
  const std::pair<int64_t, int64_t> size = {33, 50};
  Batch batch = BatchOf({size, size, size, size, size, size}, LowThreshold());
  const DetectOutput all = OnCpu(spec_, tensors_, BatchOf({size}, LowThreshold()))[0];
  ASSERT_FALSE(all.detections.empty());
  const int64_t label = all.detections[0].label;
  batch.queries[0].classes = {{label, 100000, -1}};
  batch.queries[1].classes = std::vector<int64_t>{};
  batch.queries[2].score_threshold = 1;
  batch.queries[3].max_detections = 0;
  batch.queries[4].nms_overlap = 0;
  batch.queries[5].valid = {0, 0};  // no proposals
  const std::vector<DetectOutput> outputs = device.Run(batch);
  const std::vector<DetectOutput> want = OnCpu(spec_, tensors_, batch);
  EXPECT_FALSE(outputs[0].detections.empty());
  EXPECT_FALSE(outputs[4].detections.empty());
  for (size_t i = 0; i < want.size(); ++i) ExpectNear(outputs[i], want[i]);
}

// More boxes than go through the mask head together, and as many as the limit.
TEST_F(CudaMaskRcnnTest, MasksComeInPieces) {
  ModelSpec spec = spec_;
  spec.detect.fpn_channels = 8;
  const BoundTensors::Values tensors = Tensors(spec);
  const Batch batch = BatchOf({{24, 40}, {40, 24}}, {.score_threshold = 0, .max_detections = 130});
  const std::vector<DetectOutput> want = OnCpu(spec, tensors, batch);
  const std::vector<DetectOutput> outputs = OnDevice(spec, tensors, 130).Run(batch);
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(want[i].detections.size(), 130U);
    ExpectNear(outputs[i], want[i]);
  }
}

TEST_F(CudaMaskRcnnTest, WithoutAMaskHeadItDetectsTheSameBoxes) {
  const Batch batch = BatchOf({{33, 50}}, LowThreshold());
  const std::vector<DetectOutput> with = OnDevice(spec_, tensors_).Run(batch);
  ModelSpec spec = spec_;
  spec.detect.masks = false;
  const std::vector<DetectOutput> without = OnDevice(spec, Tensors(spec)).Run(batch);
  EXPECT_FALSE(with[0].detections.empty());
  EXPECT_TRUE(without[0].detections == with[0].detections);
  EXPECT_TRUE(without[0].mask_probabilities.empty());
}

TEST_F(CudaMaskRcnnTest, AnImageWithoutFiniteNumbersFailsAlone) {
  OnDevice device(spec_, tensors_);
  Batch batch = BatchOf({{33, 50}, {16, 40}}, LowThreshold());
  const std::vector<DetectOutput> want = device.Run(batch);
  batch.pixels[0] = std::numeric_limits<float>::quiet_NaN();
  const auto answers = device.Run(batch, DeviceCapacity::Of(batch.spans));
  EXPECT_THROW(answers.Read(0), std::domain_error);
  EXPECT_THROW(answers.Read(), std::domain_error);
  EXPECT_TRUE(answers.Read(1) == want[1]);
}

TEST_F(CudaMaskRcnnTest, NumbersThatAreNotFiniteAreAnError) {
  const Batch batch = BatchOf({{33, 50}}, LowThreshold());
  const std::pair<const char*, const char*> keys[] = {
      {"rpn_head.rpn_cls.weight", "score of a region proposal"},
      {"rpn_head.rpn_reg.weight", "position of a region proposal"},
      {"roi_head.bbox_head.fc_cls.weight", "box head"},
      {"roi_head.bbox_head.fc_reg.weight", "box head"}};
  for (const auto& [key, what] : keys) {
    BoundTensors::Values tensors = tensors_;
    std::fill(tensors.at(key).begin(), tensors.at(key).end(), 3e38F);  // no sum of it is finite
    try {
      OnDevice(spec_, tensors).Run(batch);
      ADD_FAILURE() << key;
    } catch (const std::domain_error& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  }
}

TEST_F(CudaMaskRcnnTest, RefusesWhatItWasNotMadeFor) {
  DeviceWeights weights(DeviceType::kFloat32);
  EXPECT_THROW(CudaMaskRcnn(spec_, tensors_, weights, 0), std::invalid_argument);
  EXPECT_THROW(CudaMaskRcnn(spec_, tensors_, weights, 1001), std::invalid_argument);
  ModelSpec odd = spec_;
  odd.detect.fpn_channels = 12;
  EXPECT_THROW(CudaMaskRcnn(odd, Tensors(odd), weights, 100), CheckpointError);
  const std::vector<DetectQuery> queries = {{.max_detections = 21}};
  EXPECT_THROW(CudaDetectAnswers(queries, {.classes = 7, .limit = 20}), std::invalid_argument);
}

}  // namespace
}  // namespace spatialmamba
