// Does the shim tell good kernels from bad ones? What only a sanitizer sees stands in crashes.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "model/ops/kernel.h"

namespace spatialmamba {
namespace {

using cuda_on_host::Fault;
using testing::Each;
using testing::Eq;
using testing::HasSubstr;
using testing::ThrowsMessage;

LaunchConfig Config(unsigned threads, size_t shared_bytes = 0, unsigned cluster = 1,
                    unsigned blocks = 1) {
  LaunchConfig config;
  config.grid = dim3(blocks * cluster);
  config.block = dim3(threads);
  config.cluster = cluster;
  config.shared_bytes = shared_bytes;
  return config;
}

// Good kernels give the same in every order of their threads.
class Shim : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override { cuda_on_host::options.seed = GetParam(); }
  void TearDown() override { cuda_on_host::options.seed = 0; }
};

INSTANTIATE_TEST_SUITE_P(Order, Shim, testing::Range(0U, 6U));

__global__ void Reverse(int* data) {
  int* shared = SharedMemory<int>();
  shared[threadIdx.x] = data[threadIdx.x];
  __syncthreads();
  data[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

TEST_P(Shim, PassesValuesThroughSharedMemory) {
  std::vector<int> data(96);
  std::iota(data.begin(), data.end(), 0);
  std::vector<int> reversed(data.rbegin(), data.rend());
  Launch("Reverse", &Reverse, Config(96, 96 * sizeof(int)), data.data());
  EXPECT_EQ(data, reversed);
}

// Each lane of a warp gives six results, 32 apart.
__global__ void Shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = __shfl_sync(~0u, lane, 5);
  out[32 + lane] = __shfl_up_sync(~0u, lane, 3);
  out[64 + lane] = __shfl_down_sync(~0u, lane, 3, 8);
  out[96 + lane] = __shfl_xor_sync(~0u, lane, 9);
  out[128 + lane] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
  out[160 + lane] = -1;
  if (lane < 16) out[160 + lane] = __shfl_xor_sync(0xFFFFu, lane, 1);  // half a warp, half a mask
}

TEST_P(Shim, ShufflesAsTheManualSays) {
  std::vector<int> out(192);
  Launch("Shuffles", &Shuffles, Config(32), out.data());
  for (size_t i = 0; i < 32; ++i) {
    const int lane = static_cast<int>(i);
    EXPECT_EQ(out[i], 5);
    EXPECT_EQ(out[32 + i], lane < 3 ? lane : lane - 3);
    EXPECT_EQ(out[64 + i], lane % 8 > 4 ? lane : lane + 3);
    EXPECT_EQ(out[96 + i], lane ^ 9);
    EXPECT_EQ(out[128 + i], 0x49249249);
    EXPECT_EQ(out[160 + i], lane < 16 ? lane ^ 1 : -1);
  }
}

// Every block reads its right neighbour's shared memory.
__global__ void Ring(int* out) {
  int* shared = SharedMemory<int>();
  shared[threadIdx.x] = static_cast<int>(blockIdx.x * 100 + threadIdx.x);
  ClusterSync();
  out[blockIdx.x * blockDim.x + threadIdx.x] =
      MapSharedRank(shared, (ClusterRank() + 1) % ClusterSize())[threadIdx.x];
  ClusterSync();
}

TEST_P(Shim, LetsBlocksOfAClusterReadEachOther) {
  std::vector<int> out(8 * 32);
  Launch("Ring", &Ring, Config(32, 128, 4, 2), out.data());
  for (int i = 0; i < 256; ++i) {
    const int neighbour = i / 128 * 4 + (i / 32 + 1) % 4;
    EXPECT_EQ(out[static_cast<size_t>(i)], neighbour * 100 + i % 32);
  }
}

__global__ void Count(int* counter, float* sum) {
  atomicAdd(counter, 1);
  atomicAdd(sum, 0.5f);
}

TEST_P(Shim, CountsEveryAtomicAddition) {
  int counter = 0;
  float sum = 0;
  Launch("Count", &Count, Config(128, 0, 1, 5), &counter, &sum);
  EXPECT_EQ(counter, 640);
  EXPECT_EQ(sum, 320);
}

// Two tiles of 16 bytes a lane through shared memory: the first whole, of the second half.
__global__ void CopyAsync(const float* from, float* to) {
  float* shared = SharedMemory<float>() + threadIdx.x * 8;
  CopyAsyncOrZero(shared, from + threadIdx.x * 4, true);
  __pipeline_commit();
  CopyAsyncOrZero(shared + 4, from, threadIdx.x % 2 == 0);
  __pipeline_commit();
  __pipeline_wait_prior(1);
  for (int i = 0; i < 4; ++i) to[threadIdx.x * 8 + i] = shared[i];
  __pipeline_wait_prior(0);
  for (int i = 4; i < 8; ++i) to[threadIdx.x * 8 + i] = shared[i];
}

TEST_P(Shim, CopiesOrClearsWithoutWaiting) {
  struct alignas(16) Lane {
    float values[4];
  };
  std::vector<Lane> from(32);
  for (size_t i = 0; i < 128; ++i) from[i / 4].values[i % 4] = static_cast<float>(i);
  std::vector<float> to(256);
  Launch("CopyAsync", &CopyAsync, Config(32, 1024), from[0].values, to.data());
  for (size_t i = 0; i < 256; ++i) {
    const size_t lane = i / 8;
    const size_t value = i % 8 < 4 ? lane * 4 + i % 8 : lane % 2 == 0 ? i % 8 - 4 : 0;
    EXPECT_EQ(to[i], static_cast<float>(value)) << i;
  }
}

// c[16, 8] = a[16, 16] b[16, 8], b by columns; rows of shared memory are 8 values.
__global__ void Multiply(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  const unsigned lane = threadIdx.x;
  auto* rows = SharedMemory<__nv_bfloat16>();
  for (unsigned i = lane; i < 256; i += 32) {  // as four matrices: upper and lower left, then right
    const unsigned row = i / 16, column = i % 16;
    rows[(column / 8 * 16 + row) * 8 + column % 8] = a[i];
  }
  for (unsigned i = lane; i < 128; i += 32) {
    rows[256 + (i % 16 / 8 * 8 + i / 16) * 8 + i % 8] = b[i];
    rows[384 + i] = __float2bfloat16(0.0f);
  }
  __syncwarp();
  uint32_t left[4];
  uint32_t right[4];
  LoadMatrices(left, rows + lane * 8);
  LoadMatrices(right, rows + 256 + lane * 8);
  const uint32_t both[2] = {right[0], right[1]};
  float sums[4] = {};
  MmaBf16(sums, left, both);
  for (unsigned i = 0; i < 4; ++i) {
    c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
  }
}

TEST_P(Shim, MultipliesOnTheTensorCore) {
  std::vector<__nv_bfloat16> a(256);
  std::vector<__nv_bfloat16> b(128);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7 % 13) - 6.0f;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 5 % 11) - 5.0f;
  std::vector<float> c(128);
  Launch("Multiply", &Multiply, Config(32, 1024), a.data(), b.data(), c.data());
  for (size_t i = 0; i < c.size(); ++i) {
    float want = 0;
    for (size_t k = 0; k < 16; ++k) {
      want += static_cast<float>(a[i / 8 * 16 + k]) * static_cast<float>(b[i % 8 * 16 + k]);
    }
    EXPECT_EQ(c[i], want) << i;
  }
}

#define EXPECT_FAULT(launch, text) \
  EXPECT_THAT([&] { launch; }, ThrowsMessage<Fault>(HasSubstr(text)))

__global__ void BarrierInBranch() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void TwoBarriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void EarlyExit() {
  if (threadIdx.x == 7) return;
  __syncwarp();
}

TEST(ShimFault, FindsBarriersThatNotAllReach) {
  EXPECT_FAULT(Launch("", &BarrierInBranch, Config(64)), "24 threads have exited");
  EXPECT_FAULT(Launch("", &TwoBarriers, Config(64)), "barrier divergence");
  EXPECT_FAULT(Launch("", &EarlyExit, Config(32)), "31 threads wait in __syncwarp");
}

__global__ void ShuffleInBranch(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_down_sync(~0u, 1, 8);
}
__global__ void ShuffleOutsideMask(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_down_sync(0xFFFFu, 1, 8);
}
__global__ void ShuffleByStranger(int* out) { out[threadIdx.x] = __shfl_xor_sync(0xFFFFu, 1, 1); }
__global__ void ShuffleInPartWarp(int* out) { out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1); }

TEST(ShimFault, FindsShufflesOfLanesThatAreNotThere) {
  std::vector<int> out(64);
  EXPECT_FAULT(Launch("", &ShuffleInBranch, Config(32), out.data()),
               "16 threads wait in __shfl_down_sync");
  EXPECT_FAULT(Launch("", &ShuffleOutsideMask, Config(32), out.data()),
               "reads lane 16, which is not in the mask");
  EXPECT_FAULT(Launch("", &ShuffleByStranger, Config(32), out.data()),
               "calling lane not in the mask");
  EXPECT_FAULT(Launch("", &ShuffleInPartWarp, Config(16), out.data()),
               "lanes that the block does not have");
}

__global__ void HalfCluster() {
  if (ClusterRank() == 0) ClusterSync();
}
__global__ void RemoteTooEarly(int* out) { out[0] = *MapSharedRank(SharedMemory<int>(), 1); }
__global__ void NoSuchRank(int* out) {
  ClusterSync();
  out[0] = *MapSharedRank(SharedMemory<int>(), ClusterSize());
}

TEST(ShimFault, FindsMisuseOfClusters) {
  std::vector<int> out(64);
  EXPECT_FAULT(Launch("", &HalfCluster, Config(32, 0, 2)), "wait in ClusterSync");
  EXPECT_FAULT(Launch("", &RemoteTooEarly, Config(32, 64, 2), out.data()),
               "before the first cluster barrier");
  EXPECT_FAULT(Launch("", &NoSuchRank, Config(32, 64, 2), out.data()), "no block of rank 2");
}

__global__ void CopyWithoutWait(const float* from) {
  __pipeline_memcpy_async(SharedMemory<float>(), from, 16);
}
__global__ void CopyMisaligned(const float* from) {
  __pipeline_memcpy_async(SharedMemory<float>(), from + 1, 16);
}
__global__ void LoadOutside() {
  uint32_t to[4];
  LoadMatrices(to, SharedMemory<__nv_bfloat16>() + threadIdx.x * 8 + 8);
}

TEST(ShimFault, FindsCopiesThatGoWrong) {
  alignas(16) float floats[8] = {};
  EXPECT_FAULT(Launch("", &CopyWithoutWait, Config(32, 64), floats), "copies under way");
  EXPECT_FAULT(Launch("", &CopyMisaligned, Config(32, 64), floats), "not aligned");
  EXPECT_FAULT(Launch("", &LoadOutside, Config(32, 512)), "not in the block's shared memory");
}

__global__ void SpinForEver(int* flag) {
  while (*flag == 0) __nanosleep(100);
}

TEST(ShimFault, FindsALoopThatNobodyEnds) {
  int flag = 0;
  EXPECT_FAULT(Launch("", &SpinForEver, Config(1), &flag), "spins for ever");
}

TEST(ShimFault, RefusesLaunchesThatNoGpuTakes) {
  std::vector<int> out(64);
  EXPECT_FAULT(Launch("", &Reverse, Config(2048, 8192), out.data()), "block size");
  EXPECT_FAULT(Launch("", &Reverse, Config(32, 1 << 20), out.data()), "too much shared memory");
  EXPECT_FAULT(Launch("", &Ring, Config(32, 128, 16), out.data()), "cluster too large");
}

[[maybe_unused]] __global__ void WriteOverEnd() {
  SharedMemory<int>()[blockDim.x + threadIdx.x] = 1;
}

TEST(ShimFault, FindsAWriteOverTheEndOfSharedMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer ends the program at the write";
#else
  EXPECT_FAULT(Launch("", &WriteOverEnd, Config(32, 128)), "at byte 128 of 128");
#endif
}

TEST(ShimFault, LeavesNothingBehind) {
  std::vector<int> data = {1, 2, 3};
  EXPECT_FAULT(Launch("", &BarrierInBranch, Config(64)), "divergence");
  Launch("Reverse", &Reverse, Config(3, 12), data.data());
  EXPECT_THAT(data, testing::ElementsAre(3, 2, 1));
}

__global__ void ReadUninitialised(float* out) {
  out[threadIdx.x] = SharedMemory<float>()[threadIdx.x];
}

TEST(ShimPattern, FillsSharedMemoryWithNan) {
  std::vector<float> floats(32);
  Launch("ReadUninitialised", &ReadUninitialised, Config(32, 128), floats.data());
  EXPECT_TRUE(std::ranges::all_of(floats, [](float f) { return std::isnan(f); }));
}

[[maybe_unused]] __global__ void LastWriterWins(int* out) { *out = static_cast<int>(threadIdx.x); }

TEST(ShimPattern, RunsThreadsInOrdersThatDiffer) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "this kernel is a race";
#else
  std::vector<int> last(8);
  for (unsigned seed = 0; seed < 8; ++seed) {
    cuda_on_host::options.seed = seed;
    Launch("LastWriterWins", &LastWriterWins, Config(128), &last[seed]);
  }
  cuda_on_host::options.seed = 0;
  EXPECT_EQ(last[0], 127);
  EXPECT_THAT(last, testing::Not(Each(Eq(127))));
#endif
}

TEST(ShimTypes, RoundHalvesAndBfloat16ToNearestEven) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    __half half;
    __nv_bfloat16 bf16;
    half.bits = bf16.bits = static_cast<uint16_t>(bits);
    const float f = half;
    const float g = bf16;
    ASSERT_TRUE(std::isnan(f) ? (bits & 0x7FFF) > 0x7C00 : __half(f).bits == bits) << bits;
    ASSERT_TRUE(std::isnan(g) ? (bits & 0x7FFF) > 0x7F80 : __nv_bfloat16(g).bits == bits) << bits;
  }
  EXPECT_EQ(__half(1.0f + 0x1p-11f).bits, 0x3C00);
  EXPECT_EQ(__half(1.0f + 0x1.8p-10f).bits, 0x3C02);
  EXPECT_EQ(__half(65519.0f).bits, 0x7BFF);
  EXPECT_EQ(__half(65520.0f).bits, 0x7C00);
  EXPECT_EQ(__half(0x1p-25f).bits, 0);
  EXPECT_EQ(__nv_bfloat16(1.0f + 0x1p-8f).bits, 0x3F80);
  EXPECT_EQ(__nv_bfloat16(1.0f + 0x1.8p-7f).bits, 0x3F82);
}

}  // namespace
}  // namespace spatialmamba
