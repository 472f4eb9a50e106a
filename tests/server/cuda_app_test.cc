// The whole server on a GPU that tests/cuda_on_host makes of the CPU: small, as kernels are slow
// there.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/ops/cuda_api.h"
#include "server/app.h"
#include "server/log.h"
#include "tests/cuda_on_host/fake_device.h"
#include "tests/server/client.h"
#include "tests/server/tiny_model.h"

namespace spatialmamba {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TinyModel SmallModel() {
  TinyModel model;
  model.variant.dim = 16;
  model.metadata["variant"] = R"({"dim": 16, "depths": [1, 1, 1, 1]})";
  model.metadata["preprocess"] = R"({"resize_short": 16, "crop": 16})";
  return model;
}

class CudaAppTest : public ::testing::Test {
 protected:
  ~CudaAppTest() override {
    client_.reset();
    app_.reset();
    SetCudaDevice(0);
    cuda_on_host::ResetDevices();
  }

  absl::Status TryStart(const std::string& device, const TinyModel& model = SmallModel()) {
    WriteTinyModel(folder_.path() / "tiny.safetensors", model);
    const absl::StatusOr<Config> config = ParseConfig(
        "listen: 127.0.0.1:0\n"
        "admin: 127.0.0.1:0\n"
        "log: {level: error}\n"
        "threads: 1\n"
        "decode_threads: 1\n"
        "batching: {max_batch_size: 2}\n"
        "models: [{name: tiny, weights: tiny.safetensors}]\n"
        "device: " +
            device + "\n",
        {.name = "test.yaml", .base_dir = folder_.path()});
    if (!config.ok()) return config.status();
    ConfigureLog(config->log);
    absl::StatusOr<std::unique_ptr<App>> app = App::Start(*config, [this] { ++failures_; });
    if (!app.ok()) return app.status();
    app_ = *std::move(app);
    client_ = std::make_unique<TestClient>(app_->grpc_address().port);
    return absl::OkStatus();
  }

  Reply Ask(int images = 1) const {
    v1::ClassifyRequest request;
    request.set_top_k(10);
    request.set_include_logits(true);
    request.set_explain(true);
    for (int i = 0; i < images; ++i) AddRaw(i, 20, 20, request);
    return client_->Classify(request);
  }

  double Metric(const std::string& series) const {
    return MetricValue(app_->metrics().Serialize(), series);
  }

  ScratchFolder folder_;
  std::unique_ptr<App> app_;
  std::unique_ptr<TestClient> client_;
  std::atomic<int> failures_ = 0;
};

TEST_F(CudaAppTest, AutoTakesTheGpuAndAnswersNearlyAsTheCpuDoes) {
  ASSERT_EQ(TryStart("cpu"), absl::OkStatus());
  const Reply expected = Ask(2);
  ASSERT_TRUE(expected.status.ok()) << expected.status.error_message();
  app_.reset();
  ASSERT_EQ(TryStart("auto"), absl::OkStatus());
  const Reply reply = Ask(2);
  ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
  for (int i = 0; i < 2; ++i) {
    const v1::Classification& result = reply.response.results(i);
    EXPECT_EQ(result.explanation().device(), "cuda:0");
    ASSERT_EQ(result.classes_size(), 10);
    for (const v1::Class& one : result.classes()) {
      const auto& classes = expected.response.results(i).classes();
      const auto same = std::ranges::find(classes, one.index(), &v1::Class::index);
      ASSERT_NE(same, classes.end());
      EXPECT_NEAR(one.logit(), same->logit(), 0.1);
    }
  }
  EXPECT_GT(Metric("spatialmamba_device_memory_used_bytes{device=\"cuda:0\"}"), 0);
  EXPECT_EQ(Metric("spatialmamba_device_memory_total_bytes{device=\"cuda:0\"}"), 1 << 30);
  EXPECT_THAT(app_->metrics().Serialize(),
              AllOf(HasSubstr("precision=\"bf16\""),
                    HasSubstr("executor_busy_seconds_total{device=\"cuda:0\",model=\"tiny\"}")));
}

TEST_F(CudaAppTest, EveryGpuHasAReplica) {
  cuda_on_host::ResetDevices(2);
  ASSERT_EQ(TryStart("[cuda:1, cuda:0]"), absl::OkStatus());
  EXPECT_GT(cuda_on_host::CountsOf(0).graph_launches, 0);
  EXPECT_GT(cuda_on_host::CountsOf(1).graph_launches, 0);
  EXPECT_TRUE(Ask().status.ok());
  EXPECT_EQ(Metric("spatialmamba_device_errors_total{device=\"cuda:1\",kind=\"sticky\"}"), 0);
}

TEST_F(CudaAppTest, AGpuThatIsNotThereAndAVariantThatItDoesNotKnowAreErrorsOfOneLine) {
  EXPECT_THAT(std::string(TryStart("[cuda:7]").message()),
              HasSubstr("device: cuda:7 cannot be used: there is no such GPU; cuda:0 is a CPU"));
  EXPECT_THAT(std::string(TryStart("auto", {}).message()),
              AllOf(HasSubstr("models.0 (tiny)"), HasSubstr("must be a multiple of 16, not 8"),
                    HasSubstr("device: cpu")));
}

TEST_F(CudaAppTest, AGpuWithoutEnoughMemoryForTheWeightsIsAnErrorThatSaysWhatToDo) {
  cuda_on_host::LimitMemory(64 << 10);
  EXPECT_THAT(std::string(TryStart("cuda").message()),
              AllOf(HasSubstr("models.0 (tiny): device: "), HasSubstr("cudaErrorMemoryAllocation"),
                    HasSubstr("free memory of the GPU"), HasSubstr("`device: cpu`")));
}

TEST_F(CudaAppTest, AGpuThatFailsEndsReadinessTellsCallersToGoElsewhereAndAsksForTheEnd) {
  ASSERT_EQ(TryStart("cuda"), absl::OkStatus());
  ASSERT_TRUE(Ask().status.ok());
  EXPECT_FALSE(app_->failed());
  cuda_on_host::FailKernel(1);
  const Reply failed = Ask();
  EXPECT_EQ(failed.status.error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(failed.error.reason(), "DEVICE_FAILED");
  EXPECT_EQ(failed.retry.retry_delay().seconds(), 1);
  EXPECT_TRUE(app_->failed());
  EXPECT_EQ(failures_, 1);
  const Reply refused = Ask();
  EXPECT_EQ(refused.status.error_code(), grpc::UNAVAILABLE);
  EXPECT_TRUE(refused.retry.has_retry_delay());
  EXPECT_EQ(Metric("spatialmamba_health_state{state=\"failed\"}"), 1);
  EXPECT_EQ(Metric("spatialmamba_health_state{state=\"serving\"}"), 0);
  EXPECT_EQ(Metric("spatialmamba_device_errors_total{device=\"cuda:0\",kind=\"sticky\"}"), 1);
  app_->Drain();
  EXPECT_TRUE(app_->failed());
  EXPECT_EQ(Metric("spatialmamba_health_state{state=\"draining\"}"), 0);
}

}  // namespace
}  // namespace spatialmamba
