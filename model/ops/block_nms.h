#pragma once

#include <cstdint>

#include "model/ops/box_math.h"
#include "model/ops/kernel.h"

namespace spatialmamba {

constexpr int kMostNmsBoxes = 1024;

// Shared memory of BlockNms.
struct NmsScratch {
  static constexpr int kChunk = 64;
  uint64_t suppresses[kChunk];  // by box of a chunk: which later ones of it
  uint64_t chunk_kept;
  int count;
  int kept[kMostNmsBoxes];  // places of the survivors, best first
  unsigned char gone[kMostNmsBoxes];
};

__device__ __forceinline__ uint64_t Ballot64(bool low, bool high) {
  const unsigned first = __ballot_sync(0xFFFFFFFF, low);
  const unsigned second = __ballot_sync(0xFFFFFFFF, high);
  return first | static_cast<uint64_t>(second) << 32;
}

// By one warp: which of the chunk's boxes survive, at most up to `limit` in all.
__device__ __forceinline__ void KeepOfChunk(int first, int boxes, int limit, NmsScratch* s) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  uint64_t open = Ballot64(lane < boxes && s->gone[first + lane] == 0,
                           lane + 32 < boxes && s->gone[first + lane + 32] == 0);
  const int before = s->count;
  uint64_t kept = 0;
  for (int room = limit - before; room > 0 && open != 0; --room) {
    const int best = __ffsll(static_cast<long long>(open)) - 1;
    kept |= uint64_t{1} << best;
    open &= ~(s->suppresses[best] | uint64_t{1} << best);
  }
  for (int i = lane; i < boxes; i += 32) {
    if ((kept >> i & 1) == 0) continue;
    s->kept[before + __popcll(kept & ((uint64_t{1} << i) - 1))] = first + i;
  }
  __syncwarp();
  if (lane == 0) {
    s->chunk_kept = kept;
    s->count = before + __popcll(kept);
  }
}

// Greedy non-maximum suppression as nms_cpu.cc's, by all threads of the block: boxes [count], best
// first, in shared memory. Returns how many survive, at most `limit`; their places are in s->kept.
// Chunk by chunk: the boxes of a chunk decide among themselves, then all threads let the survivors
// suppress what comes later. Begins and ends with a barrier.
__device__ __forceinline__ int BlockNms(const DeviceBox* boxes, int count, float overlap, int limit,
                                        NmsScratch* s) {
  constexpr int kChunk = NmsScratch::kChunk;
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const int lane = thread % 32;
  for (int i = thread; i < count; i += threads) s->gone[i] = 0;
  if (thread == 0) s->count = 0;
  __syncthreads();
  for (int first = 0; first < count && s->count < limit; first += kChunk) {
    const int own = min(kChunk, count - first);
    for (int row = thread / 32; row < own; row += threads / 32) {
      const DeviceBox best = boxes[first + row];
      const auto hit = [&](int i) {
        return i > row && i < own && OverlapMore(best, boxes[first + i], overlap);
      };
      const uint64_t hits = Ballot64(hit(lane), hit(lane + 32));
      if (lane == 0) s->suppresses[row] = hits;
    }
    __syncthreads();
    if (thread < 32) KeepOfChunk(first, own, limit, s);
    __syncthreads();
    const uint64_t kept = s->chunk_kept;
    for (int i = first + kChunk + thread; i < count; i += threads) {
      if (s->gone[i] != 0) continue;
      const DeviceBox box = boxes[i];
      for (uint64_t left = kept; left != 0; left &= left - 1) {
        const int best = __ffsll(static_cast<long long>(left)) - 1;
        if (!OverlapMore(boxes[first + best], box, overlap)) continue;
        s->gone[i] = 1;
        break;
      }
    }
    __syncthreads();
  }
  return s->count;
}

}  // namespace spatialmamba
