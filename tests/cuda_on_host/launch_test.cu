// What kernel.h promises of launches. Compiled twice: for the CPU, and for GPUs, where the cases
// need one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "model/ops/cuda_api.h"
#include "model/ops/kernel.h"

namespace spatialmamba {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr int kThreads = 128;
constexpr int kBlocks = 64;
constexpr int kCount = kThreads * kBlocks;

class CudaLaunch : public testing::Test {
 protected:
  void SetUp() override {
    try {
      SetCudaDevice(0);
    } catch (const CudaError& error) {
      GTEST_SKIP() << "no GPU: " << error.what();
    }
  }
};

LaunchConfig Config(cudaStream_t stream) {
  LaunchConfig config;
  config.grid = dim3(kBlocks);
  config.block = dim3(kThreads);
  config.stream = stream;
  return config;
}

// Reads what another block of the kernel before wrote.
__global__ void Rotate(const int* from, int* to) {
  WaitForPreviousKernel();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  to[i] = from[(i + kThreads + 1) % kCount] + 1;
}

// A hundred kernels, each of which needs all of the one before.
void RotateOften(int* first, int* second, cudaStream_t stream) {
  for (int i = 0; i < 50; ++i) {
    Launch("Rotate", &Rotate, Config(stream), first, second);
    Launch("Rotate", &Rotate, Config(stream), second, first);
  }
}

std::vector<int> OnHost(const DeviceBuffer& buffer) {
  std::vector<int> values(kCount);
  CopyToHost(values.data(), buffer.data(), buffer.bytes(), nullptr);
  return values;
}

TEST_F(CudaLaunch, WaitsForThePreviousKernel) {
  const CudaStream stream;
  const DeviceBuffer first(kCount * sizeof(int));
  const DeviceBuffer second(kCount * sizeof(int));
  ZeroDevice(first.data(), first.bytes(), stream.get());
  RotateOften(static_cast<int*>(first.data()), static_cast<int*>(second.data()), stream.get());
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(first), Each(100));
}

TEST_F(CudaLaunch, WaitsForThePreviousKernelInAGraph) {
  const CudaStream stream;
  const DeviceBuffer first(kCount * sizeof(int));
  const DeviceBuffer second(kCount * sizeof(int));
  // Outside of a capture once: CUDA loads a kernel when it is launched first.
  RotateOften(static_cast<int*>(first.data()), static_cast<int*>(second.data()), stream.get());
  BeginCapture(stream.get());
  RotateOften(static_cast<int*>(first.data()), static_cast<int*>(second.data()), stream.get());
  CUgraphExec_st* const graph = EndCapture(stream.get());
  ZeroDevice(first.data(), first.bytes(), stream.get());
  for (int i = 0; i < 10; ++i) LaunchGraph(graph, stream.get());
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(first), Each(1000));
  DestroyGraph(graph);
}

// A kernel that may begin early waits for what is no kernel too, and such work for it.
TEST_F(CudaLaunch, KeepsTheOrderOfKernelsAndCopies) {
  const CudaStream stream;
  const DeviceBuffer first(kCount * sizeof(int));
  const DeviceBuffer second(kCount * sizeof(int));
  const DeviceBuffer third(kCount * sizeof(int));
  const auto work = [&] {
    RotateOften(static_cast<int*>(first.data()), static_cast<int*>(second.data()), stream.get());
    ZeroDevice(first.data(), first.bytes(), stream.get());
    Launch("Rotate", &Rotate, Config(stream.get()), static_cast<const int*>(first.data()),
           static_cast<int*>(third.data()));
  };
  work();
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(third), Each(1));
  ZeroDevice(third.data(), third.bytes(), stream.get());
  BeginCapture(stream.get());
  work();
  CUgraphExec_st* const graph = EndCapture(stream.get());
  LaunchGraph(graph, stream.get());
  Synchronize(stream.get());
  EXPECT_THAT(OnHost(third), Each(1));
  DestroyGraph(graph);
}

TEST_F(CudaLaunch, TakesAGridWithoutBlocksForNoLaunch) {
  LaunchConfig config = Config(nullptr);
  config.grid.y = 0;
  Launch("Rotate", &Rotate, config, static_cast<const int*>(nullptr), static_cast<int*>(nullptr));
}

__global__ void FillShared(int* out, int count) {
  WaitForPreviousKernel();
  int* shared = SharedMemory<int>();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) shared[i] = i;
  __syncthreads();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  out[i] = shared[count - 1 - i % count];
}

TEST_F(CudaLaunch, GrantsMoreSharedMemoryThanIsUsual) {
  constexpr int kInts = 24000;  // 96 kB: what every supported GPU can give
  const CudaStream stream;
  const DeviceBuffer out(kCount * sizeof(int));
  LaunchConfig config = Config(stream.get());
  config.shared_bytes = kInts * sizeof(int);
  Launch("FillShared", &FillShared, config, static_cast<int*>(out.data()), kInts);
  Synchronize(stream.get());
  EXPECT_EQ(OnHost(out)[kCount - 1], kInts - kCount);
}

#ifndef KERNELS_ON_HOST

TEST_F(CudaLaunch, NamesTheKernelThatIsRefused) {
  LaunchConfig config = Config(nullptr);
  config.block = dim3(4096);
  EXPECT_THAT(
      [&] {
        Launch("Rotate", &Rotate, config, static_cast<const int*>(nullptr),
               static_cast<int*>(nullptr));
      },
      ThrowsMessage<CudaError>(AllOf(HasSubstr("Rotate"), HasSubstr("cudaErrorInvalid"))));
  EXPECT_NE(DeviceBuffer(8).data(), nullptr) << "nothing else is refused";
}

// Ends with 0 if an illegal address breaks the device as cuda_api.h says.
int BreakTheDevice() {
  try {
    SetCudaDevice(0);
    const CudaStream stream;
    Launch("Rotate", &Rotate, Config(stream.get()), reinterpret_cast<const int*>(16),
           reinterpret_cast<int*>(16));
    try {
      Synchronize(stream.get());
      return 2;
    } catch (const CudaError& error) {
      if (!error.sticky() || error.out_of_memory() ||
          std::string(error.what()).find("cudaErrorIllegalAddress") == std::string::npos) {
        return 3;
      }
    }
    AllocateDevice(8);
    return 4;
  } catch (const CudaError& error) {
    return error.sticky() ? 0 : 5;
  }
}

TEST_F(CudaLaunch, SaysWhenTheDeviceIsBroken) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a forked process cannot use CUDA
  EXPECT_EXIT(exit(BreakTheDevice()), testing::ExitedWithCode(0), "");
}

#endif

}  // namespace
}  // namespace spatialmamba
