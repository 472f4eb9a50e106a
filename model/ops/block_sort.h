#pragma once

#include <cstdint>

#include "model/ops/kernel.h"

namespace spatialmamba {

// Sorts keys [0, count) in shared memory, rising, by all threads of the block (bitonic). `count` is
// a power of two. Begins and ends with a barrier.
__device__ __forceinline__ void BlockSort(uint64_t* keys, int count) {
  __syncthreads();
  for (int size = 2; size <= count; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < count / 2;
           i += static_cast<int>(blockDim.x)) {
        const int low = 2 * i - (i & (distance - 1));
        const bool rising = (low & size) == 0;
        const uint64_t a = keys[low];
        const uint64_t b = keys[low + distance];
        if ((a > b) == rising) {
          keys[low] = b;
          keys[low + distance] = a;
        }
      }
      __syncthreads();
    }
  }
}

// The least power of two that is not below `count`.
__device__ __forceinline__ int PowerOfTwoFrom(int count) {
  return count <= 1 ? 1 : 1 << (32 - __clz(count - 1));
}

}  // namespace spatialmamba
