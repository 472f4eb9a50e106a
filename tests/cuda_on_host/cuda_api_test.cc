// What cuda_api.h promises. Compiled twice: against its twin on the CPU, and against CUDA, where
// the cases need a GPU.
#include "model/ops/cuda_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace spatialmamba {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr size_t kCount = 1000;
constexpr size_t kBytes = kCount * sizeof(int);

class CudaApi : public testing::Test {
 protected:
  void SetUp() override {
    try {
      SetCudaDevice(0);
    } catch (const CudaError& error) {
      GTEST_SKIP() << "no GPU: " << error.what();
    }
  }
};

std::vector<int> Numbers(int first) {
  std::vector<int> numbers(kCount);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

std::vector<int> OnHost(const DeviceBuffer& buffer) {
  std::vector<int> values(buffer.bytes() / sizeof(int));
  CopyToHost(values.data(), buffer.data(), buffer.bytes(), nullptr);
  return values;
}

int* Ints(const PinnedBuffer& buffer) { return static_cast<int*>(buffer.data()); }

TEST_F(CudaApi, AlignsMemory) {
  const DeviceBuffer odd(3);
  const DeviceBuffer next(1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(odd.data()) % 256, 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(next.data()) % 256, 0);
  EXPECT_EQ(AllocateDevice(0), nullptr);
  EXPECT_EQ(AllocatePinned(0), nullptr);
  FreeDevice(nullptr);
  FreePinned(nullptr);
}

TEST_F(CudaApi, CopiesAtOnceInTheDefaultStream) {
  const DeviceBuffer buffer(kBytes);
  CopyToDevice(buffer.data(), Numbers(5).data(), kBytes, nullptr);
  EXPECT_EQ(OnHost(buffer), Numbers(5));
  ZeroDevice(buffer.data(), kBytes, nullptr);
  EXPECT_THAT(OnHost(buffer), Each(0));
}

TEST_F(CudaApi, TakesWhatIsNotPinnedAtOnce) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  std::vector<int> numbers = Numbers(5);
  CopyToDevice(buffer.data(), numbers.data(), kBytes, stream.get());
  numbers = Numbers(6);
  Synchronize(stream.get());
  EXPECT_EQ(OnHost(buffer), Numbers(5));
}

TEST_F(CudaApi, KeepsTheOrderOfAStream) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  const PinnedBuffer from(kBytes);
  const PinnedBuffer to(kBytes);
  std::ranges::copy(Numbers(7), Ints(from));
  ZeroDevice(buffer.data(), kBytes, stream.get());
  CopyToDevice(buffer.data(), from.data(), kBytes / 2, stream.get());
  CopyToHost(to.data(), buffer.data(), kBytes, stream.get());
  Synchronize(stream.get());
  EXPECT_EQ(Ints(to)[kCount / 2 - 1], 7 + static_cast<int>(kCount) / 2 - 1);
  EXPECT_EQ(Ints(to)[kCount / 2], 0);
}

TEST_F(CudaApi, ReplaysWhatItRecorded) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  const PinnedBuffer from(kBytes);
  const PinnedBuffer to(kBytes);
  std::fill_n(Ints(to), kCount, -1);
  ZeroDevice(buffer.data(), kBytes, nullptr);

  BeginCapture(stream.get());
  CopyToDevice(buffer.data(), from.data(), kBytes, stream.get());
  ZeroDevice(buffer.data(), sizeof(int), stream.get());
  CopyToHost(to.data(), buffer.data(), kBytes, stream.get());
  CUgraphExec_st* const graph = EndCapture(stream.get());
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(buffer), Each(0)) << "a capture must not run";
  EXPECT_EQ(Ints(to)[1], -1);

  for (const int first : {10, 20}) {
    std::ranges::copy(Numbers(first), Ints(from));
    LaunchGraph(graph, stream.get());
    Synchronize(stream.get());
    EXPECT_EQ(Ints(to)[0], 0);
    EXPECT_EQ(Ints(to)[1], first + 1);
  }
  DestroyGraph(graph);
}

TEST_F(CudaApi, ForgetsAnAbandonedCapture) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  ZeroDevice(buffer.data(), kBytes, nullptr);
  const PinnedBuffer from(kBytes);
  std::ranges::copy(Numbers(7), Ints(from));
  BeginCapture(stream.get());
  CopyToDevice(buffer.data(), from.data(), kBytes, stream.get());
  AbandonCapture(stream.get());
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(buffer), Each(0));
  CopyToDevice(buffer.data(), from.data(), kBytes, stream.get());
  Synchronize(stream.get());
  EXPECT_EQ(OnHost(buffer), Numbers(7));
}

TEST_F(CudaApi, RefusesToAllocateInACaptureOfTheThread) {
  const CudaStream stream;
  BeginCapture(stream.get());
  EXPECT_THROW(AllocateDevice(kBytes), CudaError);
  EXPECT_THAT([&] { EndCapture(stream.get()); },
              ThrowsMessage<CudaError>(HasSubstr("cudaErrorStreamCapture")));
  EXPECT_NE(DeviceBuffer(kBytes).data(), nullptr) << "as before";
}

TEST_F(CudaApi, LetsOtherThreadsAllocateDuringACapture) {
  const CudaStream stream;
  const DeviceBuffer buffer(kBytes);
  BeginCapture(stream.get());
  std::thread([] {
    SetCudaDevice(0);
    EXPECT_NE(DeviceBuffer(kBytes).data(), nullptr);
  }).join();
  ZeroDevice(buffer.data(), kBytes, stream.get());
  DestroyGraph(EndCapture(stream.get()));
}

TEST_F(CudaApi, TellsWantOfMemory) {
  constexpr size_t kTooMuch = size_t{1} << 48;
  try {
    AllocateDevice(kTooMuch);
    FAIL() << "allocated";
  } catch (const CudaError& error) {
    EXPECT_TRUE(error.out_of_memory());
    EXPECT_FALSE(error.sticky());
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("cudaErrorMemoryAllocation"), HasSubstr("out of memory"),
                      HasSubstr(std::to_string(kTooMuch) + " bytes")));
  }
  EXPECT_NE(DeviceBuffer(kBytes).data(), nullptr);
}

TEST_F(CudaApi, KnowsItsMemory) {
  const DeviceMemoryInfo before = QueryDeviceMemory();
  EXPECT_GT(before.total, 0);
  const DeviceBuffer buffer(size_t{64} << 20);
  const DeviceMemoryInfo after = QueryDeviceMemory();
  EXPECT_EQ(after.total, before.total);
  EXPECT_LT(after.free, before.free);
}

TEST_F(CudaApi, RefusesADeviceThatIsNotThere) {
  EXPECT_THAT([] { SetCudaDevice(1000); },
              ThrowsMessage<CudaError>(
                  AllOf(HasSubstr("device 1000"), HasSubstr("cudaErrorInvalidDevice"))));
  EXPECT_NE(DeviceBuffer(kBytes).data(), nullptr) << "the device is as before";
}

}  // namespace
}  // namespace spatialmamba
