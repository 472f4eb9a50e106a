// The replica on a real GPU: whatever way a batch takes there, an image gets the same bits.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/net/mask_rcnn_tensors.h"
#include "model/net/tensor_list.h"
#include "model/net/upernet_tensors.h"
#include "model/ops/cuda_api.h"
#include "model/runtime/cuda_replica.h"
#include "model/runtime/thread_pool.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

std::string WhyNoGpu() {
  try {
    SetCudaDevice(0);
    QueryDeviceMemory();
    return "";
  } catch (const CudaError& error) {
    return error.what();
  }
}

struct Case {
  std::string name;
  VisionTask task;
  MatrixType matrices;
};

ModelSpec SpecOf(const Case& one) {
  return {
      .task = one.task, .variant = *FindVariant("tiny"), .classes = 10, .matrices = one.matrices};
}

BoundTensors Weights(const ModelSpec& spec) {
  std::vector<ExpectedTensor> list = ClassifierTensors(spec.variant, spec.classes);
  if (spec.task == VisionTask::kDetect) list = MaskRcnnTensors(spec);
  if (spec.task == VisionTask::kSegment) list = UperNetTensors(spec);
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : list) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(1, tensor.key, tensor.shape);
  }
  return {std::move(tensors), MatrixType::kFloat32};
}

Query QueryOf(VisionTask task, int64_t height, int64_t width) {
  if (task == VisionTask::kDetect) {
    return DetectQuery{.valid = {height, width}, .score_threshold = 0.01F};
  }
  if (task == VisionTask::kSegment) {
    return SegmentQuery{.original = {height + 7, width - 3}, .confidence = true, .logits = true};
  }
  return ClassifyQuery();
}

// Pictures that differ in everything.
class Pictures {
 public:
  explicit Pictures(VisionTask task) : task_(task) {}

  void Add(int64_t height, int64_t width) {
    std::vector<float> values;
    const auto seed = static_cast<int64_t>(pixels_.size());
    for (const double v : oracle::Unit(seed, "input.x", height * width * 3)) {
      values.push_back(static_cast<float>(v));
    }
    pixels_.push_back(std::move(values));
    views_.push_back({pixels_.back().data(), height, width, QueryOf(task_, height, width)});
  }
  const std::vector<ImageView>& views() const { return views_; }

 private:
  VisionTask task_;
  std::vector<std::vector<float>> pixels_;
  std::vector<ImageView> views_;
};

class GpuReplicaTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoGpu(); !why.empty()) GTEST_SKIP() << "no GPU: " << why;
    spec_ = SpecOf(GetParam());
  }

  std::unique_ptr<CudaReplica> Make(size_t graph_bytes, int64_t max_batch_size = 8) {
    return std::make_unique<CudaReplica>(
        spec_, MakeCudaNetwork(spec_, Weights(spec_), 100),
        CudaReplicaOptions{.max_batch_size = max_batch_size, .graph_bytes = graph_bytes}, pool_);
  }

  // By image, each alone.
  std::vector<Prediction> OneByOne(Replica& replica, const std::vector<ImageView>& views) {
    std::vector<Prediction> answers;
    for (const ImageView& view : views) {
      answers.push_back(std::move(replica.Run({&view, 1})[0]));
    }
    return answers;
  }

  ModelSpec spec_;
  ThreadPool pool_{4};
};

constexpr size_t kGiB = size_t{1} << 30;

TEST_P(GpuReplicaTest, CapturedOrLaunchedAloneOrInARaggedBatchAnImageGetsTheSameBits) {
  Pictures pictures(spec_.task);
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{224, 224},
                                      {96, 130},
                                      {224, 224},
                                      {33, 97},
                                      {150, 301},
                                      {224, 223}}) {
    pictures.Add(height, width);
  }
  const auto captured = Make(8 * kGiB);
  EXPECT_THAT(captured->captured(), ::testing::ElementsAre(1, 2, 3, 4, 6, 8));
  const auto launched = Make(0);
  const std::vector<Prediction> expected = OneByOne(*launched, pictures.views());
  EXPECT_EQ(launched->Run(pictures.views()), expected);
  EXPECT_EQ(OneByOne(*captured, pictures.views()), expected);
  for (int round = 0; round < 3; ++round) EXPECT_EQ(captured->Run(pictures.views()), expected);
  for (const int64_t count : captured->Errors()) EXPECT_EQ(count, 0);
}

TEST_P(GpuReplicaTest, ImagesLargerThanEveryCaptureAndTheStagingBuffersAreAnswered) {
  Pictures pictures(spec_.task);
  pictures.Add(1000, 1504);
  pictures.Add(64, 64);
  pictures.Add(801, 700);
  const auto captured = Make(8 * kGiB, 2);
  const auto launched = Make(0);
  const std::vector<Prediction> expected = OneByOne(*launched, pictures.views());
  EXPECT_EQ(captured->Run(pictures.views()), expected);
  EXPECT_EQ(OneByOne(*captured, pictures.views()), expected);
}

TEST_P(GpuReplicaTest, WithoutMemoryForABatchItRunsInHalvesAndForAnImageItIsRefused) {
  Pictures pictures(spec_.task);
  for (int i = 0; i < 4; ++i) pictures.Add(1024, 1024);
  const auto replica = Make(kGiB / 2, 1);
  const std::vector<Prediction> expected = OneByOne(*replica, pictures.views());
  Pictures large(spec_.task);
  large.Add(4096, 2048);
  {
    // Leaves enough for two images of the first size.
    const auto left =
        static_cast<size_t>(2.5 * static_cast<double>(replica->WorkspaceBytes(1024, 1024)));
    const DeviceBuffer occupied(QueryDeviceMemory().free - left);
    EXPECT_EQ(replica->Run(pictures.views()), expected);
    EXPECT_THROW(replica->Run(large.views()), OutOfDeviceMemory);
    EXPECT_GE(replica->Errors()[static_cast<size_t>(DeviceErrorKind::kOutOfMemory)], 1);
    EXPECT_EQ(replica->Run(pictures.views()), expected);
  }
  EXPECT_EQ(replica->Run(large.views()).size(), 1);
  EXPECT_EQ(replica->Errors()[static_cast<size_t>(DeviceErrorKind::kCanary)], 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, GpuReplicaTest,
    ::testing::Values(Case{"ClassifyBf16", VisionTask::kClassify, MatrixType::kBfloat16},
                      Case{"ClassifyFp32", VisionTask::kClassify, MatrixType::kFloat32},
                      Case{"DetectBf16", VisionTask::kDetect, MatrixType::kBfloat16},
                      Case{"SegmentBf16", VisionTask::kSegment, MatrixType::kBfloat16}),
    [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace spatialmamba
