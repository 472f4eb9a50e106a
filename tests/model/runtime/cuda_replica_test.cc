// The GPU runtime's logic, with a fake network on devices made of the CPU.
#include "model/runtime/cuda_replica.h"

#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/ops/cuda_api.h"
#include "model/runtime/thread_pool.h"
#include "tests/cuda_on_host/fake_device.h"
#include "tests/model/runtime/fake_cuda_network.h"

namespace spatialmamba {
namespace {

using cuda_on_host::CountsOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
const ModelSpec kSpec{VisionTask::kClassify, *FindVariant("micro"), kFakeClasses};

// A picture and its answer.
class Picture {
 public:
  Picture(int64_t height, int64_t width, float first = 1)
      : pixels_(static_cast<size_t>(3 * height * width)), height_(height), width_(width) {
    for (size_t i = 0; i < pixels_.size(); ++i) pixels_[i] = first + static_cast<float>(i % 5);
  }
  ImageView view() const { return {pixels_.data(), height_, width_}; }
  std::vector<float> logits() const { return FakeLogits(pixels_, height_, width_); }

 private:
  std::vector<float> pixels_;
  int64_t height_;
  int64_t width_;
};

class CudaReplicaTest : public ::testing::Test {
 protected:
  CudaReplicaTest() { cuda_on_host::ResetDevices(2); }
  ~CudaReplicaTest() override {
    replica_.reset();
    EXPECT_EQ(CountsOf().live_blocks, 0);
    SetCudaDevice(0);
    cuda_on_host::ResetDevices();
  }

  // Batches of up to eight images of 8 x 8.
  static CudaReplicaOptions Options() {
    return {.height = 8, .width = 8, .max_batch_size = 8, .graph_bytes = 1 << 20};
  }
  CudaReplica& Start(const CudaReplicaOptions& options = Options()) {
    replica_ = std::make_unique<CudaReplica>(kSpec, MakeFakeCudaNetwork(faults_), options, pool_);
    return *replica_;
  }

  std::vector<std::optional<Prediction>> Run(const std::vector<Picture>& pictures) {
    return replica_->Run(Views(pictures), [](size_t) { return true; });
  }
  static std::vector<ImageView> Views(const std::vector<Picture>& pictures) {
    std::vector<ImageView> views;
    for (const Picture& picture : pictures) views.push_back(picture.view());
    return views;
  }
  void ExpectAnswers(const std::vector<Picture>& pictures) {
    const auto predictions = Run(pictures);
    ASSERT_EQ(predictions.size(), pictures.size());
    for (size_t i = 0; i < pictures.size(); ++i) {
      EXPECT_EQ(std::get<ClassifyOutput>(predictions[i].value()).logits, pictures[i].logits());
    }
  }
  int64_t Errors(DeviceErrorKind kind) const {
    return replica_->Errors()[static_cast<size_t>(kind)];
  }
  // What the next batch throws as `Error`.
  template <typename Error>
  std::string WhatIsThrown(const std::vector<Picture>& pictures) {
    try {
      Run(pictures);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  }

  FakeNetworkFaults faults_;
  ThreadPool pool_{2};
  std::unique_ptr<CudaReplica> replica_;
};

TEST_F(CudaReplicaTest, AnswersEveryImageOfARaggedBatch) {
  EXPECT_EQ(Start().device(), "cuda:0");
  ExpectAnswers({{8, 8}, {1, 1, 2}, {5, 20, 3}, {8, 8, 4}, {20, 2, 5}});
  ExpectAnswers({{3, 3}});
  EXPECT_THAT(Run({}), IsEmpty());
  for (const int64_t count : replica_->Errors()) EXPECT_EQ(count, 0);
}

TEST_F(CudaReplicaTest, CapturesUpToTheLargestBatchAndTheMemoryForIt) {
  EXPECT_THAT(Start().captured(), ElementsAre(1, 2, 3, 4, 6, 8));
  CudaReplicaOptions options = Options();
  options.max_batch_size = 5;
  EXPECT_THAT(Start(options).captured(), ElementsAre(1, 2, 3, 4, 5));
  options.graph_bytes = 4096;  // an image takes 2048
  EXPECT_THAT(Start(options).captured(), ElementsAre(1, 2));
  options.graph_bytes = 0;
  EXPECT_THAT(Start(options).captured(), IsEmpty());
  ExpectAnswers({{8, 8}, {8, 8}});
}

TEST_F(CudaReplicaTest, ReplaysWhatFitsACaptureAndLaunchesWhatDoesNot) {
  Start();
  const int64_t graphs = CountsOf().graph_launches;
  const int64_t launches = CountsOf().launches;
  ExpectAnswers({{8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}});
  ExpectAnswers({{12, 12}});  // of other shape, yet within the capacity
  EXPECT_EQ(CountsOf().graph_launches, graphs + 2);
  ExpectAnswers({{30, 30}});
  ExpectAnswers({{8, 8}, {30, 29}});
  EXPECT_EQ(CountsOf().graph_launches, graphs + 2);
  EXPECT_EQ(CountsOf().launches, launches + 4);
}

TEST_F(CudaReplicaTest, WarmBatchesTakeNoMemory) {
  Start();
  ExpectAnswers({{40, 40}});
  const int64_t allocations = CountsOf().allocations;
  ExpectAnswers({{8, 8}, {7, 7}});
  ExpectAnswers({{40, 40}});
  ExpectAnswers({{39, 40}});
  EXPECT_EQ(CountsOf().allocations, allocations);
}

TEST_F(CudaReplicaTest, ImagesLargerThanTheStagingBuffersArrive) {
  Start();
  ExpectAnswers({{700, 900}, {2, 2}, {1000, 700}, {800, 1}});
}

TEST_F(CudaReplicaTest, WhatNobodyWantsIsNotRun) {
  Start();
  const std::vector<Picture> pictures = {{8, 8}, {7, 7, 2}, {6, 6, 3}};
  const auto predictions = replica_->Run(Views(pictures), [](size_t i) { return i == 1; });
  EXPECT_FALSE(predictions[0] || predictions[2]);
  EXPECT_EQ(std::get<ClassifyOutput>(predictions[1].value()).logits, pictures[1].logits());
  const int64_t launches = CountsOf().launches;
  for (const auto& one : replica_->Run(Views(pictures), [](size_t) { return false; })) {
    EXPECT_FALSE(one);
  }
  EXPECT_EQ(CountsOf().launches, launches);
}

TEST_F(CudaReplicaTest, RefusesAnImageWithoutPixels) {
  Start();
  const ImageView nothing{nullptr, 4, 4};
  EXPECT_THROW(replica_->Run({&nothing, 1}), std::invalid_argument);
  ExpectAnswers({{8, 8}});
}

TEST_F(CudaReplicaTest, ABatchWithoutMemoryRunsInHalves) {
  Start();
  cuda_on_host::FailAllocation(1);
  ExpectAnswers({{30, 30}, {30, 30, 2}, {30, 30, 3}, {29, 29, 4}, {31, 31, 5}});
  EXPECT_EQ(Errors(DeviceErrorKind::kOutOfMemory), 1);
  // For all five there is none, nor for three.
  replica_.reset();
  Start();
  cuda_on_host::LimitMemory(CountsOf().live_bytes + (200 << 10));
  ExpectAnswers({{60, 60}, {60, 60, 2}, {60, 60, 3}, {60, 60, 4}, {60, 60, 5}});
  EXPECT_GE(Errors(DeviceErrorKind::kOutOfMemory), 2);
  EXPECT_EQ(Errors(DeviceErrorKind::kCanary), 0);
}

TEST_F(CudaReplicaTest, AnImageThatAloneHasNoMemoryIsRefusedAndOthersGoOn) {
  Start();
  cuda_on_host::LimitMemory(CountsOf().live_bytes + (100 << 10));
  EXPECT_THAT(WhatIsThrown<OutOfDeviceMemory>({{200, 300}}),
              HasSubstr("an image of 200 x 300 pixels needs 1 MiB on cuda:0"));
  EXPECT_THROW(Run({{8, 8}, {200, 300}}), OutOfDeviceMemory);
  ExpectAnswers({{30, 30}});
}

TEST_F(CudaReplicaTest, MemoryThatALargeBatchLeftIsGivenToTheNextThatLacksIt) {
  Start();
  cuda_on_host::LimitMemory(CountsOf().live_bytes + (600 << 10));
  ExpectAnswers({{100, 100}});  // takes 240 KB, and its geometry
  cuda_on_host::FailAllocation(1);
  ExpectAnswers({{140, 140}});
  EXPECT_EQ(Errors(DeviceErrorKind::kOutOfMemory), 1);
}

TEST_F(CudaReplicaTest, ABatchThatIsNotFiniteFailsAndTheDeviceIsAskedAboutItself) {
  Start();
  const int64_t graphs = CountsOf().graph_launches;
  EXPECT_THROW(Run({{8, 8}, {8, 8, kNaN}}), std::domain_error);
  EXPECT_EQ(CountsOf().graph_launches, graphs + 2);  // the batch and the canary
  EXPECT_EQ(Errors(DeviceErrorKind::kNotFinite), 1);
  EXPECT_EQ(Errors(DeviceErrorKind::kCanary), 0);
  ExpectAnswers({{8, 8}});
}

TEST_F(CudaReplicaTest, AfterAnErrorThatIsNotStickyTheDeviceGoesOn) {
  Start();
  faults_.on_download = [failed = false]() mutable {
    if (std::exchange(failed, true)) return;
    throw CudaError("CUDA: a passing error", /*sticky=*/false, /*out_of_memory=*/false);
  };
  EXPECT_EQ(WhatIsThrown<CudaError>({{8, 8}}), "CUDA: a passing error");
  EXPECT_EQ(Errors(DeviceErrorKind::kBatch), 1);
  ExpectAnswers({{8, 8}});
}

TEST_F(CudaReplicaTest, AStickyErrorIsTheEndOfTheDevice) {
  Start();
  cuda_on_host::FailKernel(1);
  EXPECT_THAT(WhatIsThrown<DeviceFailure>({{8, 8}, {8, 8}}),
              HasSubstr("cuda:0 has failed: CUDA: "));
  EXPECT_EQ(Errors(DeviceErrorKind::kSticky), 1);
  const int64_t downloads = faults_.downloads;
  EXPECT_THAT(WhatIsThrown<DeviceFailure>({{8, 8}}), HasSubstr("cuda:0 has failed"));
  EXPECT_EQ(faults_.downloads, downloads);
  EXPECT_EQ(Errors(DeviceErrorKind::kSticky), 1);  // it is not asked again
}

TEST_F(CudaReplicaTest, AnErrorThatOnlyTheWaitTellsIsTheEndToo) {
  Start();
  cuda_on_host::FailSynchronize(1);
  EXPECT_THROW(Run({{8, 8}}), DeviceFailure);
}

TEST_F(CudaReplicaTest, ADeviceThatFailsTheCanaryHasFailed) {
  Start();
  faults_.on_download = [this, failed = false]() mutable {
    if (std::exchange(failed, true)) return;
    faults_.drift = 1;  // from now on
    throw CudaError("CUDA: odd", /*sticky=*/false, /*out_of_memory=*/false);
  };
  EXPECT_EQ(WhatIsThrown<DeviceFailure>({{8, 8}}),
            "cuda:0 has failed: after \"CUDA: odd\" a known image gave another answer");
  EXPECT_EQ(Errors(DeviceErrorKind::kBatch), 1);
  EXPECT_EQ(Errors(DeviceErrorKind::kCanary), 1);
  EXPECT_THROW(Run({{8, 8}}), DeviceFailure);
}

TEST_F(CudaReplicaTest, ACanaryThatThrowsIsAFailureToo) {
  Start();
  faults_.on_download = [] { throw std::runtime_error("again and again"); };
  EXPECT_THAT(WhatIsThrown<DeviceFailure>({{8, 8}}),
              HasSubstr("a known image failed: again and again"));
}

TEST_F(CudaReplicaTest, ACanaryWithoutMemorySaysNothingOfTheDevice) {
  CudaReplicaOptions options = Options();
  options.graph_bytes = 0;
  Start(options);
  faults_.on_download = [failed = false]() mutable {
    if (std::exchange(failed, true)) return;
    cuda_on_host::FailAllocation(1);
    throw CudaError("CUDA: odd", /*sticky=*/false, /*out_of_memory=*/false);
  };
  EXPECT_EQ(WhatIsThrown<CudaError>({{30, 30}}), "CUDA: odd");
  ExpectAnswers({{30, 30}});
}

TEST_F(CudaReplicaTest, DoesNotStartWhereCapacitiesDisagree) {
  faults_.answers_by_capacity = true;
  try {
    Start();
    FAIL() << "started";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("different answers in different capacities"));
  }
  EXPECT_EQ(CountsOf().live_blocks, 0);
}

TEST_F(CudaReplicaTest, CapturesAsMuchAsThereIsMemoryFor) {
  Start();
  const size_t whole = CountsOf().peak_bytes;
  replica_.reset();
  cuda_on_host::LimitMemory(whole - 1024);
  const size_t captured = Start().captured().size();
  EXPECT_GE(captured, 1);
  EXPECT_LT(captured, 6);
  ExpectAnswers({{8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}});
}

TEST_F(CudaReplicaTest, CapturesLessWhereTheMemoryThatCapturesShareIsNotToBeHad) {
  CudaReplicaOptions nothing_captured = Options();
  nothing_captured.graph_bytes = 0;
  EXPECT_THAT(Start(nothing_captured).captured(), IsEmpty());
  const auto before = static_cast<int>(CountsOf().allocations);
  replica_.reset();
  cuda_on_host::FailAllocation(before + 1);
  EXPECT_THAT(Start().captured(), ElementsAre(1, 2, 3, 4, 6));
  ExpectAnswers({{8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}});
}

TEST_F(CudaReplicaTest, ReplicasOfTwoDevicesTakeTurnsOnAThread) {
  Start();
  CudaReplicaOptions options = Options();
  options.device = 1;
  SetCudaDevice(1);
  CudaReplica other(kSpec, MakeFakeCudaNetwork(faults_), options, pool_);
  EXPECT_EQ(other.device(), "cuda:1");
  const Picture picture(8, 8);
  const ImageView view = picture.view();
  for (int round = 0; round < 2; ++round) {
    ExpectAnswers({picture, {30, 30}});
    EXPECT_EQ(std::get<ClassifyOutput>(other.Run({&view, 1})[0]).logits, picture.logits());
  }
  cuda_on_host::FailKernel(1, 1);
  EXPECT_THROW(other.Run({&view, 1}), DeviceFailure);
  ExpectAnswers({picture});
}

TEST_F(CudaReplicaTest, WorkspaceIsThatOfPixelsAndNetwork) {
  EXPECT_EQ(Start().WorkspaceBytes(64, 64), 64 * 64 * (3 + 4) * 4 + 256);
}

}  // namespace
}  // namespace spatialmamba
