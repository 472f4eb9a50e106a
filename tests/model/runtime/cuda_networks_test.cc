// The real networks behind the replica, their kernels on the CPU: small, as they are slow there.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "model/net/mask_rcnn_tensors.h"
#include "model/net/tensor_list.h"
#include "model/net/upernet_tensors.h"
#include "model/runtime/cpu_replica.h"
#include "model/runtime/cuda_replica.h"
#include "model/runtime/thread_pool.h"
#include "model/weights/checkpoint.h"
#include "tests/oracle/float_tensor.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

constexpr int64_t kClasses = 10;
const Variant kVariant{16, {1, 1, 1, 1}};

Checkpoint Synthetic(const std::vector<ExpectedTensor>& tensors) {
  Checkpoint checkpoint;
  for (const ExpectedTensor& tensor : tensors) {
    if (tensor.optional) continue;
    checkpoint.tensors[tensor.key] =
        oracle::FloatTensor(oracle::Tensor(3, tensor.key, tensor.shape), tensor.shape);
  }
  return checkpoint;
}

ModelSpec Spec(MatrixType matrices) {
  return {.task = VisionTask::kClassify,
          .variant = kVariant,
          .classes = kClasses,
          .matrices = matrices};
}

std::vector<float> Pixels(int64_t seed, int64_t height, int64_t width) {
  std::vector<float> pixels;
  for (const double v : oracle::Unit(seed, "input.x", height * width * 3)) {
    pixels.push_back(static_cast<float>(v));
  }
  return pixels;
}

const std::vector<float>& Logits(const Prediction& prediction) {
  return std::get<ClassifyOutput>(prediction).logits;
}

void ExpectTheAnswersOfTheCpu(MatrixType matrices, float tolerance) {
  ThreadPool pool(1);
  const Checkpoint checkpoint = Synthetic(ClassifierTensors(kVariant, kClasses));
  const auto replica = MakeCudaReplica(
      Spec(matrices), checkpoint,
      {.height = 16, .width = 16, .max_batch_size = 2, .graph_bytes = 1 << 24}, pool);
  CpuReplica reference(Spec(MatrixType::kFloat32), checkpoint, pool);
  const std::vector<float> square = Pixels(1, 16, 16);
  const std::vector<float> wide = Pixels(2, 9, 27);  // together they fit two squares
  const ImageView images[] = {{square.data(), 16, 16}, {wide.data(), 9, 27}};
  const std::vector<Prediction> together = replica->Run(images);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(replica->Run({&images[i], 1})[0], together[i]) << "alone or not, image " << i;
    const std::vector<float>& logits = Logits(together[i]);
    const std::vector<Prediction> expected = reference.Run({&images[i], 1});
    ASSERT_EQ(logits.size(), kClasses);
    for (size_t k = 0; k < logits.size(); ++k) {
      EXPECT_NEAR(logits[k], Logits(expected[0])[k], tolerance) << "image " << i;
    }
  }
}

TEST(CudaClassifierReplica, AnswersAsTheCpuDoes) {
  ExpectTheAnswersOfTheCpu(MatrixType::kFloat32, 1e-4F);
}

TEST(CudaClassifierReplica, AnswersNearlyAsTheCpuDoesInBfloat16) {
  ExpectTheAnswersOfTheCpu(MatrixType::kBfloat16, 0.1F);
}

// A replica on the device and one on the CPU, and their answers about two images.
struct Twins {
  explicit Twins(const ModelSpec& spec, const Checkpoint& checkpoint)
      : pool(1),
        device(MakeCudaReplica(spec, checkpoint,
                               {.height = 32,
                                .width = 32,
                                .max_batch_size = 2,
                                .max_detections = 20,
                                .graph_bytes = 1 << 26},
                               pool)),
        cpu(spec, checkpoint, pool) {}

  // The second is of another shape than was captured.
  void Ask(const Query& first, const Query& second) {
    const ImageView images[] = {{square.data(), 32, 32, first}, {wide.data(), 20, 36, second}};
    answers = device->Run(images);
    expected = cpu.Run(images);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(device->Run({&images[i], 1})[0], answers[i]) << "alone or not, image " << i;
    }
  }

  ThreadPool pool;
  std::unique_ptr<Replica> device;
  CpuReplica cpu;
  const std::vector<float> square = Pixels(1, 32, 32);
  const std::vector<float> wide = Pixels(2, 20, 36);
  std::vector<Prediction> answers;
  std::vector<Prediction> expected;
};

TEST(CudaDetectReplica, FindsWhatTheCpuFinds) {
  const ModelSpec spec{.task = VisionTask::kDetect,
                       .variant = kVariant,
                       .classes = 3,
                       .detect = {.fpn_channels = 16, .fc_channels = 16, .masks = true}};
  Twins twins(spec, Synthetic(MaskRcnnTensors(spec)));
  twins.Ask(
      DetectQuery{.valid = {32, 32}, .score_threshold = 0, .max_detections = 20},
      DetectQuery{.valid = {20, 36}, .score_threshold = 0, .max_detections = 5, .masks = false});
  for (size_t i = 0; i < 2; ++i) {
    const auto& found = std::get<DetectOutput>(twins.answers[i]);
    const auto& expected = std::get<DetectOutput>(twins.expected[i]);
    ASSERT_FALSE(expected.detections.empty());
    ASSERT_EQ(found.detections.size(), expected.detections.size());
    EXPECT_EQ(found.mask_probabilities.size(), expected.mask_probabilities.size());
    for (size_t k = 0; k < found.detections.size(); ++k) {
      EXPECT_NEAR(found.detections[k].score, expected.detections[k].score, 1e-4F);
    }
  }
  const DetectQuery too_many{.valid = {32, 32}, .max_detections = 21};
  const ImageView image{twins.square.data(), 32, 32, too_many};
  EXPECT_THROW(twins.device->Run({&image, 1}), std::invalid_argument);
}

TEST(CudaSegmentReplica, LabelsAsTheCpuDoes) {
  const ModelSpec spec{.task = VisionTask::kSegment,
                       .variant = kVariant,
                       .classes = 5,
                       .segment = {.channels = 16, .pool_scales = {1, 2, 3, 6}}};
  Twins twins(spec, Synthetic(UperNetTensors(spec)));
  twins.Ask(SegmentQuery{.original = {40, 30}, .confidence = true},
            SegmentQuery{.original = {20, 36}, .logits = true});
  for (size_t i = 0; i < 2; ++i) {
    const auto& found = std::get<SegmentOutput>(twins.answers[i]);
    const auto& expected = std::get<SegmentOutput>(twins.expected[i]);
    ASSERT_EQ(found.labels.size(), expected.labels.size());
    const auto [differs, other] = std::ranges::mismatch(found.labels, expected.labels);
    EXPECT_EQ(differs, found.labels.end()) << "at " << differs - found.labels.begin();
    EXPECT_EQ(found.class_pixels, expected.class_pixels);
    EXPECT_EQ(found.confidence.size(), expected.confidence.size());
    EXPECT_EQ(found.logits.size(), expected.logits.size());
  }
}

TEST(CudaClassifierReplica, AVariantThatTheKernelsDoNotKnowNamesTheRemedy) {
  ThreadPool pool(1);
  ModelSpec spec = Spec(MatrixType::kBfloat16);
  spec.variant.dim = 8;
  try {
    MakeCudaReplica(spec, Synthetic(ClassifierTensors(spec.variant, kClasses)), {}, pool);
    FAIL() << "made";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "variant: on a GPU dim must be a multiple of 16, not 8: run this model with "
                 "`device: cpu`");
  }
}

}  // namespace
}  // namespace spatialmamba
