// The part of the CUDA language that the kernels use, for a C++ compiler: types, built-in
// variables, intrinsics.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

#include "tests/cuda_on_host/host_scheduler.h"

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __launch_bounds__(...)
// No __shared__: shared memory comes from SharedMemory<T>() (kernel.h), or a cluster could not map
// it.

#define threadIdx (::cuda_on_host::Machine::Current().thread_index)
#define blockIdx (::cuda_on_host::Machine::Current().block_index)
#define blockDim (::cuda_on_host::Machine::Current().block_dim)
#define gridDim (::cuda_on_host::Machine::Current().grid_dim)
constexpr int warpSize = 32;

using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess = 0 };

// Types.
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline unsigned __float_as_uint(float f) {
  unsigned u;
  memcpy(&u, &f, sizeof(u));
  return u;
}
inline float __uint_as_float(unsigned u) {
  float f;
  memcpy(&f, &u, sizeof(f));
  return f;
}

struct __nv_bfloat16 {
  uint16_t bits;
  __nv_bfloat16() = default;
  __nv_bfloat16(float f) {  // To nearest, ties to even.
    const unsigned u = __float_as_uint(f);
    bits = f != f ? 0x7FFF : static_cast<uint16_t>((u + 0x7FFF + (u >> 16 & 1)) >> 16);
  }
  operator float() const { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
};

struct __half {
  uint16_t bits;
  __half() = default;
  __half(float f) {  // To nearest, ties to even.
    const unsigned u = __float_as_uint(f), sign = u >> 16 & 0x8000, magnitude = u & 0x7FFFFFFF;
    if (f != f) {
      bits = 0x7FFF;
    } else if (magnitude >= 0x477FF000) {  // 65520 and above.
      bits = static_cast<uint16_t>(sign | 0x7C00);
    } else if (magnitude < 0x38800000) {  // Subnormal: the sum's last bit is 2^-24.
      bits = static_cast<uint16_t>(
          sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3F000000));
    } else {
      bits = static_cast<uint16_t>(
          sign | ((magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1)) >> 13));
    }
  }
  operator float() const {
    const unsigned sign = static_cast<unsigned>(bits & 0x8000) << 16, magnitude = bits & 0x7FFF;
    if (magnitude >= 0x7C00) return __uint_as_float(sign | 0x7F800000 | (magnitude & 0x3FF) << 13);
    return __uint_as_float(sign | __float_as_uint(__uint_as_float(magnitude << 13) * 0x1p112f));
  }
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
struct alignas(4) __half2 {
  __half x, y;
};
using half = __half;
using half2 = __half2;
inline __nv_bfloat16 __float2bfloat16(float f) { return f; }
inline float __bfloat162float(__nv_bfloat16 b) { return b; }
inline __half __float2half(float f) { return f; }
inline float __half2float(__half h) { return h; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline float2 __half22float2(__half2 v) { return {v.x, v.y}; }

// Arithmetic.
template <typename T>
T __ldg(const T* p) {
  return *p;
}
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

namespace cuda_on_host {
template <typename T, typename F>
T Atomic(T* p, F update) {
  T old, value;
  __atomic_load(p, &old, __ATOMIC_ACQUIRE);
  do value = update(old);
  while (!__atomic_compare_exchange(p, &old, &value, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  return old;
}
}  // namespace cuda_on_host
template <typename T>
T atomicAdd(T* p, T v) {
  return cuda_on_host::Atomic(p, [v](T old) { return static_cast<T>(old + v); });
}
template <typename T>
T atomicMax(T* p, T v) {
  return cuda_on_host::Atomic(p, [v](T old) { return old > v ? old : v; });
}
template <typename T>
T atomicExch(T* p, T v) {
  return cuda_on_host::Atomic(p, [v](T) { return v; });
}
template <typename T>
T atomicCAS(T* p, T expected, T v) {
  return cuda_on_host::Atomic(p, [=](T old) { return old == expected ? v : old; });
}
inline void __threadfence() {}
inline void __nanosleep(unsigned) { cuda_on_host::Machine::Get().Yield(); }

// Barriers, shuffles, votes, copies.
#define CUDA_ON_HOST_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CUDA_ON_HOST_SITE) {
  cuda_on_host::Machine::Get().Meet(false, "__syncthreads", {file, line});
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFF, CUDA_ON_HOST_SITE) {
  cuda_on_host::Machine::Get().MeetWarp("__syncwarp", {file, line}, mask, nullptr, true, nullptr);
}

namespace cuda_on_host {

template <typename T>
struct Shuffled {
  T value;
  int source;
  T result;
};

template <typename T>
T Shuffle(const char* what, unsigned mask, T value, int source, Site site) {
  Shuffled<T> data{value, source, {}};
  Machine& machine = Machine::Get();
  if ((mask >> machine.Current().lane() & 1) != 0 && (mask >> source & 1) == 0) {
    machine.Fail(std::string(what) + " reads lane " + std::to_string(source) +
                 ", which is not in the mask, at " + site.file + ":" + std::to_string(site.line));
  }
  machine.MeetWarp(what, site, mask, &data, false, [](Fiber** warp, unsigned lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1) == 0) continue;
      auto* to = static_cast<Shuffled<T>*>(warp[lane]->wait.data);
      to->result = static_cast<Shuffled<T>*>(warp[to->source]->wait.data)->value;
    }
  });
  return data.result;
}

inline int Lane() { return static_cast<int>(Machine::Current().lane()); }

}  // namespace cuda_on_host

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_ON_HOST_SITE) {
  const int base = cuda_on_host::Lane() & ~(width - 1);
  return cuda_on_host::Shuffle("__shfl_sync", mask, value, base | (source & (width - 1)),
                               {file, line});
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_ON_HOST_SITE) {
  const int lane = cuda_on_host::Lane(), source = lane - static_cast<int>(delta);
  const bool inside = source >= (lane & ~(width - 1));
  return cuda_on_host::Shuffle("__shfl_up_sync", mask, value, inside ? source : lane, {file, line});
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_ON_HOST_SITE) {
  const int lane = cuda_on_host::Lane(), source = lane + static_cast<int>(delta);
  const bool inside = source <= (lane | (width - 1));
  return cuda_on_host::Shuffle("__shfl_down_sync", mask, value, inside ? source : lane,
                               {file, line});
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, CUDA_ON_HOST_SITE) {
  const int lane = cuda_on_host::Lane(), source = lane ^ lane_mask;
  const bool inside = source <= (lane | (width - 1));
  return cuda_on_host::Shuffle("__shfl_xor_sync", mask, value, inside ? source : lane,
                               {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_ON_HOST_SITE) {
  unsigned data = predicate != 0;
  cuda_on_host::Machine::Get().MeetWarp(
      "__ballot_sync", {file, line}, mask, &data, false,
      [](cuda_on_host::Fiber** warp, unsigned lanes) {
        unsigned votes = 0;
        for (int lane = 0; lane < 32; ++lane) {
          if (lanes >> lane & 1) votes |= *static_cast<unsigned*>(warp[lane]->wait.data) << lane;
        }
        for (int lane = 0; lane < 32; ++lane) {
          if (lanes >> lane & 1) *static_cast<unsigned*>(warp[lane]->wait.data) = votes;
        }
      });
  return data;
}
inline int __any_sync(unsigned mask, int predicate, CUDA_ON_HOST_SITE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_ON_HOST_SITE) {
  return __ballot_sync(mask, predicate == 0, file, line) == 0;
}

// cp.async: nothing is copied before the wait, so that a forgotten wait reads the NaN pattern.
// The last `zeros` bytes are not read and become zero.
inline void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes,
                                    size_t zeros = 0) {
  auto& machine = cuda_on_host::Machine::Get();
  auto& me = machine.Current();
  const auto* to = static_cast<unsigned char*>(shared);
  if (bytes != 4 && bytes != 8 && bytes != 16) machine.Fail("cp.async: size not 4, 8 or 16");
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % bytes != 0) {
    machine.Fail("cp.async: address not aligned to the size");
  }
  if (to < me.block->shared || to + bytes > me.block->shared + me.block->shared_bytes) {
    machine.Fail("cp.async: target not in the block's shared memory");
  }
  me.copies.push_back({shared, global, bytes, zeros, me.copy_group});
}
inline void __pipeline_commit() { ++cuda_on_host::Machine::Current().copy_group; }
inline void __pipeline_wait_prior(size_t pending_groups) {
  auto& me = cuda_on_host::Machine::Current();
  size_t done = 0;
  for (; done < me.copies.size() && me.copies[done].group + pending_groups < me.copy_group;
       ++done) {
    const auto& copy = me.copies[done];
    memcpy(copy.to, copy.from, copy.bytes - copy.zeros);
    memset(static_cast<char*>(copy.to) + copy.bytes - copy.zeros, 0, copy.zeros);
  }
  me.copies.erase(me.copies.begin(), me.copies.begin() + static_cast<ptrdiff_t>(done));
}

// Behind the wrappers of kernel.h.
namespace cuda_on_host {

// mma.m16n8k16, bf16 x bf16 + fp32, fragments as in the PTX manual.
struct Mma {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

inline void WarpMma(float* sums, const uint32_t* left, const uint32_t* right, Site site) {
  Mma data{sums, left, right};
  Machine::Get().MeetWarp("mma", site, 0xFFFFFFFF, &data, false, [](Fiber** warp, unsigned) {
    auto element = [](uint32_t pair, int i) {
      return __uint_as_float((i == 0 ? pair << 16 : pair & 0xFFFF0000));
    };
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      const Mma& m = *static_cast<Mma*>(warp[lane]->wait.data);
      const int group = lane / 4, pair = lane % 4 * 2;
      for (int i = 0; i < 2; ++i) {
        for (int r = 0; r < 4; ++r) a[group + r % 2 * 8][pair + r / 2 * 8 + i] = element(m.a[r], i);
        for (int r = 0; r < 2; ++r) b[pair + r * 8 + i][group] = element(m.b[r], i);
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      const Mma& m = *static_cast<Mma*>(warp[lane]->wait.data);
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) m.d[i] += a[row][k] * b[k][column];
      }
    }
  });
}

// ldmatrix.x4
struct MatrixRows {
  uint32_t* to;
  const void* row;
};

inline void WarpLoadMatrices(uint32_t* to, const void* row, Site site) {
  MatrixRows data{to, row};
  Machine& machine = Machine::Get();
  const auto* bytes = static_cast<const unsigned char*>(row);
  const auto* block = machine.Current().block;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) machine.Fail("ldmatrix: address not aligned");
  if (bytes < block->shared || bytes + 16 > block->shared + block->shared_bytes) {
    machine.Fail("ldmatrix: row not in the block's shared memory");
  }
  machine.MeetWarp("ldmatrix", site, 0xFFFFFFFF, &data, false, [](Fiber** warp, unsigned) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        const auto* source = static_cast<MatrixRows*>(warp[matrix * 8 + lane / 4]->wait.data);
        memcpy(static_cast<MatrixRows*>(warp[lane]->wait.data)->to + matrix,
               static_cast<const unsigned char*>(source->row) + lane % 4 * 4, 4);
      }
    }
  });
}

// Where launches go: null: they run at once; cuda_api_on_host.cc keeps those of a stream in order
// and records those of a capture.
inline void (*submit)(cudaStream_t stream, const char* name, std::function<void()> run) = nullptr;

template <typename... P, typename... A>
void Launch(const char* name, cudaStream_t stream, void (*kernel)(P...), dim3 grid, dim3 block,
            unsigned cluster, size_t shared_bytes, A&&... args) {
  auto run = [=, arguments = std::tuple<P...>(std::forward<A>(args)...)] {
    Machine::Get().Run(grid, block, cluster, shared_bytes, [&] { std::apply(kernel, arguments); });
  };
  if (submit == nullptr) {
    run();
  } else {
    submit(stream, name, std::move(run));
  }
}

}  // namespace cuda_on_host
