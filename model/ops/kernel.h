// What a kernel includes instead of CUDA headers, so that the same file compiles with nvcc and,
// with -x c++ -DKERNELS_ON_HOST, with a C++ compiler that runs it on the CPU for tests
// (tests/cuda_on_host/cuda_on_host.h). Only what has no common spelling stands here: launches,
// dynamic shared memory, clusters, tensor cores. threadIdx, __syncthreads, shuffles, atomics,
// cp.async (__pipeline_memcpy_async, ...) keep their CUDA names. C++17, as all that it includes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#ifdef KERNELS_ON_HOST
#include "cuda_on_host.h"
#else
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include "model/ops/launch_error.h"
#endif

namespace spatialmamba {

// Whether the code that runs on the current device was compiled for sm_90 or later, so that its
// kernels may be launched early (programmatic dependent launch). Defined in launch_overlap.cu.
bool OverlapsLaunches();
// The same of clusters of blocks, which the CPU's twin has too.
inline bool SupportsClusters() {
#ifdef KERNELS_ON_HOST
  return true;
#else
  return OverlapsLaunches();
#endif
}

struct LaunchConfig {
  dim3 grid;
  dim3 block;
  unsigned cluster = 1;  // blocks of a cluster, along x; more than 1 needs sm_90
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};

// Launches a kernel that calls WaitForPreviousKernel() before it touches memory that an earlier one
// wrote: on sm_90 its blocks are placed while the previous kernel of the stream still runs
// (programmatic dependent launch). A grid without blocks is no launch. Throws CudaError that names
// `name` if CUDA refuses.
template <typename... P, typename... A>
void Launch(const char* name, void (*kernel)(P...), const LaunchConfig& config, A&&... args) {
  if (config.grid.x == 0 || config.grid.y == 0 || config.grid.z == 0) return;
#ifdef KERNELS_ON_HOST
  cuda_on_host::Launch(name, config.stream, kernel, config.grid, config.block, config.cluster,
                       config.shared_bytes, std::forward<A>(args)...);
#else
  cudaError_t error = cudaSuccess;
  if (config.shared_bytes > 48 * 1024) {
    error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(config.shared_bytes));
  }
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t launch = {};
  launch.gridDim = config.grid;
  launch.blockDim = config.block;
  launch.dynamicSmemBytes = config.shared_bytes;
  launch.stream = config.stream;
  launch.attrs = attributes;
  if (OverlapsLaunches()) {
    attributes[launch.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[launch.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (config.cluster > 1) {
    attributes[launch.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[launch.numAttrs].val.clusterDim.x = config.cluster;
    attributes[launch.numAttrs].val.clusterDim.y = 1;
    attributes[launch.numAttrs++].val.clusterDim.z = 1;
  }
  if (error == cudaSuccess) {
    error = cudaLaunchKernelEx(&launch, kernel, std::forward<A>(args)...);
  }
  if (error != cudaSuccess) ThrowLaunchError(name, error);
#endif
}

// Stands first in every kernel, but for loads of what no kernel writes (the weights of a GEMM):
// memory that earlier kernels of the stream wrote may be read, and what they read be overwritten,
// from here on; and the next kernel's blocks may be placed.
__device__ __forceinline__ void WaitForPreviousKernel() {
#if !defined(KERNELS_ON_HOST) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// The block's dynamic shared memory, from its start (aligned to 16 bytes) plus `offset` bytes.
template <typename T>
__device__ __forceinline__ T* SharedMemory(size_t offset = 0) {
#ifdef KERNELS_ON_HOST
  return reinterpret_cast<T*>(cuda_on_host::Machine::Current().block->shared + offset);
#else
  extern __shared__ __align__(16) unsigned char shared_memory[];
  return reinterpret_cast<T*>(shared_memory + offset);
#endif
}

#if !defined(KERNELS_ON_HOST) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900)
#define KERNELS_HAVE_CLUSTERS 1
#endif

// Below sm_90 a cluster is one block, so that a kernel written for clusters needs no second form.
__device__ __forceinline__ unsigned ClusterSize() {
#if defined(KERNELS_ON_HOST)
  return cuda_on_host::Machine::Get().cluster();
#elif defined(KERNELS_HAVE_CLUSTERS)
  return cooperative_groups::this_cluster().num_blocks();
#else
  return 1;
#endif
}

__device__ __forceinline__ unsigned ClusterRank() {
#if defined(KERNELS_ON_HOST)
  return cuda_on_host::Machine::Current().block->rank_in_cluster;
#elif defined(KERNELS_HAVE_CLUSTERS)
  return cooperative_groups::this_cluster().block_rank();
#else
  return 0;
#endif
}

// A barrier of all threads of the cluster; orders accesses to its shared memory. The first access
// to another block's shared memory comes after one (the block must run), the last before one (it
// must not have exited).
#ifdef KERNELS_ON_HOST
inline void ClusterSync(CUDA_ON_HOST_SITE) {
  cuda_on_host::Machine::Get().Meet(true, "ClusterSync", {file, line});
}
#else
__device__ __forceinline__ void ClusterSync() {
#ifdef KERNELS_HAVE_CLUSTERS
  cooperative_groups::this_cluster().sync();
#else
  __syncthreads();
#endif
}
#endif

// The address that `shared`, in this block's shared memory, has in the block of rank `rank`.
template <typename T>
__device__ __forceinline__ T* MapSharedRank(T* shared, [[maybe_unused]] unsigned rank) {
#if defined(KERNELS_ON_HOST)
  auto& machine = cuda_on_host::Machine::Get();
  const auto offset = reinterpret_cast<unsigned char*>(shared) - machine.Current().block->shared;
  return reinterpret_cast<T*>(machine.BlockOfCluster(rank).shared + offset);
#elif defined(KERNELS_HAVE_CLUSTERS)
  return cooperative_groups::this_cluster().map_shared_rank(shared, rank);
#else
  return shared;
#endif
}

// d += a b on a warp's tensor core: mma.m16n8k16, bf16 pairs in, fp32 sums.
#ifdef KERNELS_ON_HOST
inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                    CUDA_ON_HOST_SITE) {
  cuda_on_host::WarpMma(d, a, b, {file, line});
}
#else
__device__ __forceinline__ void MmaBf16(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Four 8x8 matrices of 16-bit values from shared memory into a warp's registers, as MmaBf16 takes
// them: lane l names the row l % 8 of matrix l / 8 (16 bytes, aligned to 16), and gets of each
// matrix the two values at row l / 4, columns l % 4 * 2 and the next.
#ifdef KERNELS_ON_HOST
inline void LoadMatrices(uint32_t (&to)[4], const void* row, CUDA_ON_HOST_SITE) {
  cuda_on_host::WarpLoadMatrices(to, row, {file, line});
}
#else
__device__ __forceinline__ void LoadMatrices(uint32_t (&to)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}
#endif

// 16 bytes from global to shared memory without waiting (cp.async), or 16 zeros where `inside` is
// false; `global` is then not read but must be a valid address.
__device__ __forceinline__ void CopyAsyncOrZero(void* shared, const void* global, bool inside) {
  __pipeline_memcpy_async(shared, global, 16, inside ? 0 : 16);
}

}  // namespace spatialmamba
