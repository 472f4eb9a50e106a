// What the pipeline makes of a device's failures, with a replica that fails on demand.
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/batch_metrics.h"
#include "server/load_meter.h"
#include "server/pipeline.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

constexpr int kClasses = 2;
constexpr uint8_t kPoison = 200;

// The first pixel decides what the answer is and whether there is one.
class FakeReplica final : public Replica {
 public:
  FakeReplica() : Replica({.classes = kClasses}, "fake") {}

  using Replica::Run;
  std::vector<std::optional<Prediction>> Run(std::span<const ImageView> images,
                                             absl::FunctionRef<bool(size_t)>) override {
    ++begun;
    {
      std::unique_lock lock(mutex_);
      open_or_not_.wait(lock, [&] { return open_; });
    }
    ++runs;
    std::vector<std::optional<Prediction>> predictions;
    for (const ImageView& image : images) {
      on_image(image.pixels[0]);
      predictions.emplace_back(ClassifyOutput{.logits = {image.pixels[0], 0}});
    }
    return predictions;
  }
  int64_t WorkspaceBytes(int64_t height, int64_t width) const override { return height * width; }

  void SetOpen(bool open) {
    {
      const std::lock_guard lock(mutex_);
      open_ = open;
    }
    open_or_not_.notify_all();
  }

  std::atomic<int> begun = 0;
  std::atomic<int> runs = 0;
  std::function<void(float)> on_image = [](float) {};

 private:
  std::mutex mutex_;
  std::condition_variable open_or_not_;
  bool open_ = true;
};

ModelTable TableOf(std::unique_ptr<Replica> replica) {
  ServedModel model{.name = "fake", .version = "1", .spec = replica->spec()};
  model.classes.resize(kClasses);
  model.preprocess.input = ClassifyInput{.crop = 0};
  model.preprocess.mean = {0, 0, 0};
  model.preprocess.std = {1, 1, 1};
  model.max_input_pixels = 1 << 20;
  model.replicas.push_back(std::move(replica));
  std::vector<ServedModel> models;
  models.push_back(std::move(model));
  return ModelTable(std::move(models));
}

class DeviceFailureTest : public ::testing::Test {
 protected:
  DeviceFailureTest() : DeviceFailureTest(std::make_unique<FakeReplica>()) {}

  // Requests of one pixel's picture each, which come while the device is busy, and so share
  // batches. The outcomes, in their order.
  std::vector<Outcome> RunTogether(const std::vector<uint8_t>& pixels) {
    replica_.SetOpen(false);
    std::vector<Outcome> outcomes(pixels.size());
    Start(0, first_);
    while (replica_.begun == 0) std::this_thread::yield();
    for (size_t i = 0; i < pixels.size(); ++i) Start(pixels[i], outcomes[i]);
    while (pipeline_.Queue(0).depth < static_cast<int64_t>(pixels.size())) {
      std::this_thread::yield();
    }
    replica_.SetOpen(true);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return missing_ == 0; });
    return outcomes;
  }

  static const ServiceError* ErrorOf(const Outcome& outcome) {
    return std::get_if<ServiceError>(&outcome);
  }

  FakeReplica& replica_;
  std::atomic<int> failures_ = 0;

 private:
  explicit DeviceFailureTest(std::unique_ptr<FakeReplica> replica)
      : replica_(*replica),
        models_(TableOf(std::move(replica))),
        metrics_({.models = {{.name = "fake"}}, .devices = {"fake"}}),
        load_(clock_, 1),
        observer_(metrics_, load_),
        pipeline_({.limits = {}, .decode_threads = 2, .devices = 1},
                  {models_, metrics_, observer_, clock_, [this](int, const std::string&) {
                     ++failures_;
                     pipeline_.Abandon();
                   }}) {}

  void Start(uint8_t pixel, Outcome& outcome) {
    VisionRequest request;
    request.options = ClassifyOptions();
    request.arrival = clock_.Now();
    request.images.push_back({.kind = PictureSource::Kind::kRaw,
                              .bytes = std::string(3, static_cast<char>(pixel)),
                              .height = 1,
                              .width = 1,
                              .layout = PixelLayout::kRgb});
    {
      const std::lock_guard lock(mutex_);
      ++missing_;
    }
    pipeline_.Start(std::move(request), [this, &outcome](int, Outcome result) {
      {
        const std::lock_guard lock(mutex_);
        outcome = std::move(result);
        --missing_;
      }
      changed_.notify_all();
    });
  }

  SteadyClock clock_;
  const ModelTable models_;
  Metrics metrics_;
  LoadMeter load_;
  BatchMetrics observer_;
  std::mutex mutex_;  // guards missing_ and the outcomes
  std::condition_variable changed_;
  int missing_ = 0;
  Outcome first_;
  Pipeline pipeline_;
};

TEST_F(DeviceFailureTest, APoisonousImageFailsAloneAndItsNeighboursAreAnswered) {
  replica_.on_image = [](float pixel) {
    if (pixel == kPoison) throw std::domain_error("not finite");
  };
  const std::vector<Outcome> outcomes = RunTogether({1, 2, 3, kPoison, 5, 6, 7, 8});
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (i == 3) {
      ASSERT_NE(ErrorOf(outcomes[i]), nullptr);
      EXPECT_EQ(ErrorOf(outcomes[i])->reason, ErrorReason::kInternal);
    } else {
      EXPECT_EQ(ErrorOf(outcomes[i]), nullptr) << i;
    }
  }
  EXPECT_EQ(failures_, 0);
}

TEST_F(DeviceFailureTest, AnImageWithoutMemoryIsToldWhatToDo) {
  replica_.on_image = [](float pixel) {
    if (pixel == kPoison) throw OutOfDeviceMemory("9 MiB");
  };
  const std::vector<Outcome> outcomes = RunTogether({kPoison, 2});
  ASSERT_NE(ErrorOf(outcomes[0]), nullptr);
  EXPECT_EQ(ErrorOf(outcomes[0])->reason, ErrorReason::kDeviceMemory);
  EXPECT_EQ(ErrorOf(outcomes[0])->field, "images[0]");
  EXPECT_THAT(ErrorOf(outcomes[0])->message, HasSubstr("send a smaller one"));
  EXPECT_EQ(ErrorOf(outcomes[1]), nullptr);
  EXPECT_EQ(Code(ErrorReason::kDeviceMemory), grpc::RESOURCE_EXHAUSTED);
}

TEST_F(DeviceFailureTest, AFailedDeviceIsReportedAndItsBatchNotTriedInHalves) {
  replica_.on_image = [](float pixel) {
    if (pixel == kPoison) throw DeviceFailure("gone");
  };
  const std::vector<Outcome> outcomes = RunTogether({kPoison, kPoison, kPoison, kPoison});
  EXPECT_EQ(failures_, 1);
  EXPECT_EQ(replica_.runs, 2);  // the batch before, and one of these
  int failed = 0;
  for (const Outcome& outcome : outcomes) {
    ASSERT_NE(ErrorOf(outcome), nullptr);
    EXPECT_EQ(Code(ErrorOf(outcome)->reason), grpc::UNAVAILABLE);
    EXPECT_GT(ErrorOf(outcome)->retry_after, Duration::zero());
    EXPECT_EQ(ErrorOf(outcome)->field, "");
    if (ErrorOf(outcome)->reason == ErrorReason::kDeviceFailed) ++failed;
  }
  EXPECT_GE(failed, 1);  // what was not prepared yet was dropped
}

}  // namespace
}  // namespace spatialmamba
