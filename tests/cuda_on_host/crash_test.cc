// Kernels that only a sanitizer stops. Compiled only with one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "model/ops/cuda_api.h"
#include "model/ops/kernel.h"

#ifdef __SANITIZE_ADDRESS__
// What the stacks of a launch own that a fault ended is lost, in all tests of this program.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace spatialmamba {
namespace {

LaunchConfig Config(unsigned threads, size_t shared_bytes = 0, unsigned cluster = 1,
                    unsigned blocks = 1) {
  LaunchConfig config;
  config.grid = dim3(blocks * cluster);
  config.block = dim3(threads);
  config.cluster = cluster;
  config.shared_bytes = shared_bytes;
  return config;
}

// ThreadSanitizer tells what it found and ends the program with a status of its own.
#define EXPECT_CRASH(statement, text) \
  EXPECT_DEATH(                       \
      {                               \
        statement;                    \
        exit(0);                      \
      },                              \
      text)

#ifdef __SANITIZE_ADDRESS__
__global__ void ReadOverEnd(int* out) { out[0] = SharedMemory<int>()[32]; }
__global__ void GlobalOverEnd(int* out) { out[threadIdx.x + 1] = 0; }
__global__ void Misaligned(float* out) {
  *reinterpret_cast<float4*>(out + 1) = make_float4(0, 0, 0, 0);
}

TEST(Crash, ReadOverTheEndOfSharedMemory) {
  std::vector<int> out(64);
  EXPECT_CRASH(Launch("", &ReadOverEnd, Config(32, 128), out.data()), "use-after-poison");
}

TEST(Crash, WriteOverTheEndOfGlobalMemory) {
  std::vector<int> out(64);
  EXPECT_CRASH(Launch("", &GlobalOverEnd, Config(64), out.data()), "heap-buffer-overflow");
}

TEST(Crash, WriteOverTheEndOfDeviceMemory) {
  const DeviceBuffer buffer(64 * sizeof(int));
  EXPECT_CRASH(Launch("", &GlobalOverEnd, Config(64), static_cast<int*>(buffer.data())),
               "heap-buffer-overflow");
}

TEST(Crash, MisalignedVector) {
  std::vector<float> out(8);
  EXPECT_CRASH(Launch("", &Misaligned, Config(1), out.data()), "misaligned address");
}

TEST(Crash, HostThatTouchesDeviceMemory) {
  const DeviceBuffer buffer(64);
  EXPECT_CRASH(static_cast<volatile int*>(buffer.data())[3] = 1, "use-after-poison");
}
#endif

#ifdef __SANITIZE_THREAD__
__global__ void RaceInBlock(int* out) {
  int* shared = SharedMemory<int>();
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = shared[threadIdx.x ^ 1];
}

TEST(Crash, RaceInABlock) {
  std::vector<int> out(64);
  EXPECT_CRASH(Launch("", &RaceInBlock, Config(64, 256), out.data()), "data race");
}

__global__ void RaceAcrossShuffle(int* out) {
  int* shared = SharedMemory<int>();
  shared[threadIdx.x] = __shfl_xor_sync(~0u, static_cast<int>(threadIdx.x), 1);
  const int other = __shfl_xor_sync(~0u, static_cast<int>(threadIdx.x), 1);
  out[threadIdx.x] = shared[other];
}

TEST(Crash, ShuffleThatIsHeldForABarrier) {
  std::vector<int> out(64);
  EXPECT_CRASH(Launch("", &RaceAcrossShuffle, Config(32, 128), out.data()), "data race");
}

__global__ void RaceBetweenBlocks(int* out) { out[(blockIdx.x + threadIdx.x) % 32] = 1; }

TEST(Crash, RaceBetweenBlocks) {
  std::vector<int> out(64);
  EXPECT_CRASH(Launch("", &RaceBetweenBlocks, Config(32, 0, 1, 2), out.data()), "data race");
}

__global__ void LeavesTooEarly(int* out) {
  int* shared = SharedMemory<int>();
  shared[threadIdx.x] = 1;
  ClusterSync();
  out[blockIdx.x * 32 + threadIdx.x] = MapSharedRank(shared, (ClusterRank() + 1) % 2)[threadIdx.x];
}  // the neighbour may have exited

TEST(Crash, BlockThatLeavesItsClusterTooEarly) {
  std::vector<int> out(64);
  EXPECT_CRASH(Launch("", &LeavesTooEarly, Config(32, 128, 2), out.data()), "data race");
}
#endif

}  // namespace
}  // namespace spatialmamba
