#include "model/runtime/cpu_replica.h"

#include <cstring>
#include <memory>
#include <stdexcept>

#include <gtest/gtest.h>

#include "model/net/tensor_list.h"
#include "model/runtime/thread_pool.h"
#include "model/weights/checkpoint.h"
#include "tests/oracle/float_tensor.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

constexpr Variant kNano{8, {1, 1, 1, 1}};
constexpr int64_t kClasses = 10;
const ModelSpec kSpec{VisionTask::kClassify, kNano, kClasses};

Checkpoint Synthetic() {
  Checkpoint checkpoint;
  for (const ExpectedTensor& tensor : ClassifierTensors(kNano, kClasses)) {
    if (tensor.optional) continue;
    checkpoint.tensors[tensor.key] =
        oracle::FloatTensor(oracle::Tensor(3, tensor.key, tensor.shape), tensor.shape);
  }
  return checkpoint;
}

// Pictures of many sizes, smaller than the fusion's reach and larger, odd and even.
struct Pictures {
  Pictures() {
    const std::pair<int64_t, int64_t> sizes[] = {{64, 48}, {1, 1},   {33, 97}, {64, 48},
                                                 {5, 160}, {96, 31}, {224, 7}};
    for (const auto& [height, width] : sizes) {
      std::vector<float> values;
      for (const double v :
           oracle::Unit(static_cast<int64_t>(pixels.size()), "input.x", height * width * 3)) {
        values.push_back(static_cast<float>(v));
      }
      pixels.push_back(std::move(values));
      views.push_back({pixels.back().data(), height, width});
    }
  }
  std::vector<std::vector<float>> pixels;
  std::vector<ImageView> views;
};

const std::vector<float>& Logits(const Prediction& prediction) {
  return std::get<ClassifyOutput>(prediction).logits;
}

void ExpectTheSameBitsInABatch(const ModelSpec& spec) {
  const Checkpoint checkpoint = Synthetic();
  const Pictures pictures;
  ThreadPool one(1);
  CpuReplica reference(spec, checkpoint, one);
  std::vector<std::vector<float>> alone;
  for (const ImageView& view : pictures.views)
    alone.push_back(Logits(reference.Run({&view, 1})[0]));
  for (const int threads : {1, 2, 3, 4, 16}) {  // 16: all images in one ragged batch
    ThreadPool pool(threads);
    CpuReplica replica(spec, checkpoint, pool);
    for (int round = 0; round < 3; ++round) {
      const std::vector<Prediction> together = replica.Run(pictures.views);
      ASSERT_EQ(together.size(), alone.size());
      for (size_t i = 0; i < alone.size(); ++i) {
        EXPECT_EQ(std::memcmp(Logits(together[i]).data(), alone[i].data(),
                              alone[i].size() * sizeof(float)),
                  0)
            << "image " << i << ", " << threads << " threads";
      }
    }
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(Logits(replica.Run({&pictures.views[i], 1})[0]), alone[i])
          << i << ", " << threads << " threads";
    }
  }
}

TEST(Replica, EachImageOfARaggedBatchHasTheBitsItGetsAloneOnAnyNumberOfThreads) {
  ExpectTheSameBitsInABatch(kSpec);
}

TEST(Replica, EachImageHasTheBitsItGetsAloneInBfloat16Too) {
  ModelSpec spec = kSpec;
  spec.matrices = MatrixType::kBfloat16;
  ExpectTheSameBitsInABatch(spec);
}

TEST(Replica, RefusesWeightsThatDoNotFitTheVariant) {
  ThreadPool pool(1);
  EXPECT_THROW(
      CpuReplica({VisionTask::kClassify, *FindVariant("micro"), kClasses}, Synthetic(), pool),
      CheckpointError);
  EXPECT_THROW(CpuReplica({VisionTask::kClassify, kNano, 11}, Synthetic(), pool), CheckpointError);
  EXPECT_THROW(CpuReplica({VisionTask::kClassify, {7, {1, 1, 1, 1}}, kClasses}, Synthetic(), pool),
               CheckpointError);
}

TEST(Replica, RefusesAnImageWithoutPixels) {
  ThreadPool pool(1);
  CpuReplica replica(kSpec, Synthetic(), pool);
  const ImageView nothing{nullptr, 4, 4};
  EXPECT_THROW(replica.Run({&nothing, 1}), std::invalid_argument);
  EXPECT_TRUE(replica.Run({}).empty());
}

TEST(Replica, WorkspaceGrowsWithTheImage) {
  ThreadPool pool(1);
  const CpuReplica replica(kSpec, Synthetic(), pool);
  EXPECT_GT(replica.WorkspaceBytes(1, 1), 0);
  const int64_t one = replica.WorkspaceBytes(256, 256);
  EXPECT_NEAR(static_cast<double>(replica.WorkspaceBytes(1024, 1024)),
              16.0 * static_cast<double>(one), 0.01 * static_cast<double>(one) * 16);
}

}  // namespace
}  // namespace spatialmamba
