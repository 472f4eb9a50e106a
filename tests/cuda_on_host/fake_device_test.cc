// The CPU's twin of a device: what it shows that a GPU would not, and the faults that tests order.
#include "tests/cuda_on_host/fake_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/ops/cuda_api.h"
#include "model/ops/kernel.h"

namespace spatialmamba {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr unsigned kCount = 64;
constexpr size_t kBytes = kCount * sizeof(float);

__global__ void Add(float* values, float addend) {
  WaitForPreviousKernel();
  values[threadIdx.x] += addend;
}

__global__ void Diverge() {
  if (threadIdx.x < 7) __syncthreads();
}

LaunchConfig Config(cudaStream_t stream) {
  LaunchConfig config;
  config.grid = dim3(1);
  config.block = dim3(kCount);
  config.stream = stream;
  return config;
}

std::vector<float> OnHost(const DeviceBuffer& buffer) {
  std::vector<float> values(buffer.bytes() / sizeof(float));
  CopyToHost(values.data(), buffer.data(), buffer.bytes(), nullptr);
  return values;
}

class FakeDevice : public testing::Test {
 protected:
  void SetUp() override { cuda_on_host::ResetDevices(2); }
  void TearDown() override {
    SetCudaDevice(0);
    cuda_on_host::ResetDevices();
  }
};

TEST_F(FakeDevice, FillsNewMemoryWithNan) {
  const DeviceBuffer buffer(kBytes);
  for (const float value : OnHost(buffer)) EXPECT_TRUE(std::isnan(value));
}

TEST_F(FakeDevice, RunsNothingBeforeSomebodyWaits) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  ZeroDevice(buffer.data(), kBytes, nullptr);
  auto* values = static_cast<float*>(buffer.data());
  Launch("Add", &Add, Config(stream.get()), values, 1.0f);
  EXPECT_THAT(OnHost(buffer), Each(0)) << "the default stream is not ordered with others";
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(buffer), Each(1));
}

TEST_F(FakeDevice, ReplaysKernelsWithTheArgumentsOfTheCapture) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  ZeroDevice(buffer.data(), kBytes, nullptr);
  auto* values = static_cast<float*>(buffer.data());
  float addend = 2;
  BeginCapture(stream.get());
  Launch("Add", &Add, Config(stream.get()), values, addend);
  Launch("Add", &Add, Config(stream.get()), values, 1.0f);
  CUgraphExec_st* const graph = EndCapture(stream.get());
  addend = 100;
  for (int i = 0; i < 3; ++i) LaunchGraph(graph, stream.get());
  DestroyGraph(graph);
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(buffer), Each(9));
  EXPECT_EQ(cuda_on_host::CountsOf().launches, 6);
  EXPECT_EQ(cuda_on_host::CountsOf().graph_launches, 3);
}

TEST_F(FakeDevice, RefusesTheDefaultStreamDuringACapture) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  BeginCapture(stream.get());
  EXPECT_THAT(
      [&] { Launch("Add", &Add, Config(nullptr), static_cast<float*>(buffer.data()), 1.0f); },
      ThrowsMessage<CudaError>(HasSubstr("kernel Add in the default stream")));
  EXPECT_THROW(EndCapture(stream.get()), CudaError);
}

TEST_F(FakeDevice, RefusesToRecordACopyOfMemoryThatIsNotPinned) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  const std::vector<float> values(kCount);
  BeginCapture(stream.get());
  EXPECT_THAT([&] { CopyToDevice(buffer.data(), values.data(), kBytes, stream.get()); },
              ThrowsMessage<CudaError>(HasSubstr("not pinned")));
  AbandonCapture(stream.get());
}

TEST_F(FakeDevice, RefusesCopiesThatLeaveABlock) {
  const DeviceBuffer buffer(kBytes);
  std::vector<float> values(kCount + 1);
  EXPECT_THROW(CopyToDevice(buffer.data(), values.data(), kBytes + 4, nullptr), CudaError);
  EXPECT_THROW(CopyToHost(values.data(), values.data(), kBytes, nullptr), CudaError);
  EXPECT_THROW(ZeroDevice(static_cast<float*>(buffer.data()) + kCount, 1, nullptr), CudaError);
}

TEST_F(FakeDevice, KeepsDevicesApart) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  SetCudaDevice(1);
  EXPECT_THAT([&] { ZeroDevice(buffer.data(), kBytes, nullptr); },
              ThrowsMessage<CudaError>(HasSubstr("not memory of the current device")));
  EXPECT_THAT(
      [&] { Launch("Add", &Add, Config(stream.get()), static_cast<float*>(buffer.data()), 1.0f); },
      ThrowsMessage<CudaError>(HasSubstr("a stream of another device")));
  EXPECT_EQ(cuda_on_host::CountsOf(0).live_bytes, kBytes);
  EXPECT_EQ(cuda_on_host::CountsOf(1).live_bytes, 0);
  EXPECT_THROW(SetCudaDevice(2), CudaError);
}

TEST_F(FakeDevice, CountsMemory) {
  {
    const DeviceBuffer first(1000);
    const DeviceBuffer second(24);
    EXPECT_EQ(cuda_on_host::CountsOf().live_blocks, 2);
    EXPECT_EQ(cuda_on_host::CountsOf().live_bytes, 1024);
    EXPECT_THROW(cuda_on_host::ResetDevices(), std::logic_error);
  }
  EXPECT_EQ(cuda_on_host::CountsOf().allocations, 2);
  EXPECT_EQ(cuda_on_host::CountsOf().live_bytes, 0);
  EXPECT_EQ(cuda_on_host::CountsOf().peak_bytes, 1024);
}

TEST_F(FakeDevice, HasNoMoreMemoryThanItIsGiven) {
  cuda_on_host::LimitMemory(1000);
  const DeviceBuffer buffer(600);
  EXPECT_EQ(QueryDeviceMemory().total, 1000);
  EXPECT_EQ(QueryDeviceMemory().free, 400);
  EXPECT_THROW(AllocateDevice(401), CudaError);
  EXPECT_EQ(DeviceBuffer(400).bytes(), 400);
}

TEST_F(FakeDevice, FailsTheAllocationThatItIsTold) {
  cuda_on_host::FailAllocation(2);
  const DeviceBuffer first(8);
  try {
    const DeviceBuffer second(8);
    FAIL() << "allocated";
  } catch (const CudaError& error) {
    EXPECT_TRUE(error.out_of_memory());
    EXPECT_FALSE(error.sticky());
  }
  EXPECT_NE(DeviceBuffer(8).data(), nullptr) << "only that one";
}

// Whether everything that is asked of the current device fails for good.
void ExpectBroken(const std::string& why) {
  EXPECT_THAT([] { AllocateDevice(8); }, ThrowsMessage<CudaError>(HasSubstr(why)));
  try {
    QueryDeviceMemory();
    FAIL() << "the device works";
  } catch (const CudaError& error) {
    EXPECT_TRUE(error.sticky());
  }
}

TEST_F(FakeDevice, BreaksAtTheKernelThatItIsTold) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  auto* values = static_cast<float*>(buffer.data());
  cuda_on_host::FailKernel(2);
  Launch("Add", &Add, Config(stream.get()), values, 1.0f);
  Synchronize(stream.get());
  Launch("Add", &Add, Config(stream.get()), values, 1.0f);
  EXPECT_THAT([&] { Synchronize(stream.get()); },
              ThrowsMessage<CudaError>(AllOf(HasSubstr("Add"), HasSubstr("IllegalAddress"))));
  ExpectBroken("IllegalAddress");
  EXPECT_THROW(Launch("Add", &Add, Config(stream.get()), values, 1.0f), CudaError);
  SetCudaDevice(1);
  EXPECT_NE(DeviceBuffer(8).data(), nullptr) << "others go on";
}

TEST_F(FakeDevice, BreaksAtTheWaitThatItIsTold) {
  const CudaStream stream;
  cuda_on_host::FailSynchronize(2);
  Synchronize(stream.get());
  EXPECT_THROW(Synchronize(stream.get()), CudaError);
  ExpectBroken("IllegalAddress");
}

TEST_F(FakeDevice, BreaksAtAKernelsFaultAndTellsItWhereSomebodyWaits) {
  const CudaStream stream;
  Launch("Diverge", &Diverge, Config(stream.get()));
  EXPECT_THAT([&] { Synchronize(stream.get()); },
              ThrowsMessage<cuda_on_host::Fault>(
                  AllOf(HasSubstr("kernel Diverge"), HasSubstr("divergence"))));
  ExpectBroken("divergence");
}

TEST_F(FakeDevice, FinishesWorkBeforeItsMemoryIsFreed) {
  const CudaStream stream;
  {
    const DeviceBuffer buffer(kBytes);
    Launch("Add", &Add, Config(stream.get()), static_cast<float*>(buffer.data()), 1.0f);
  }
  EXPECT_EQ(cuda_on_host::CountsOf().launches, 1);
}

TEST_F(FakeDevice, ServesThreadsThatEachHaveADevice) {
  std::vector<std::thread> threads;
  for (int device = 0; device < 2; ++device) {
    threads.emplace_back([device] {
      SetCudaDevice(device);
      const CudaStream stream;
      const DeviceBuffer buffer(kBytes);
      ZeroDevice(buffer.data(), kBytes, stream.get());
      for (int i = 0; i < 20; ++i) {
        Launch("Add", &Add, Config(stream.get()), static_cast<float*>(buffer.data()), 1.0f);
        Synchronize(stream.get());
      }
      EXPECT_THAT(OnHost(buffer), Each(20));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace spatialmamba
