#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model/ops/device_arena.h"
#include "model/ops/device_boxes.h"

namespace spatialmamba {

// Stands in for a DeviceArena where a forward pass is only planned: what is taken has no memory,
// but is counted. Code that takes buffers is a template on the arena, so that plan and forward
// agree.
class ArenaPlan {
 public:
  DeviceMap Take(int64_t rows, int64_t channels, DeviceType type) {
    Count(DeviceArena::Bytes(rows, channels, type));
    return {nullptr, static_cast<int>(channels),
            static_cast<int>(DeviceArena::Stride(channels, type)), type};
  }
  void* TakeBytes(size_t bytes) {
    Count(DeviceArena::RoundUp(bytes));
    return nullptr;
  }

  size_t used() const { return used_; }
  void Rewind(size_t used) { used_ = used; }
  // The most that was taken at a time.
  size_t most() const { return most_; }

 private:
  void Count(size_t bytes) {
    used_ += bytes;
    most_ = std::max(most_, used_);
  }

  size_t used_ = 0;
  size_t most_ = 0;
};

// `count` values of an arena or a plan.
template <typename T, typename Arena>
T* TakeArray(Arena& arena, int64_t count) {
  return static_cast<T*>(arena.TakeBytes(static_cast<size_t>(count) * sizeof(T)));
}

template <typename Arena>
DeviceBoxLists TakeBoxLists(Arena& arena, int images, int groups, int capacity) {
  const int64_t lists = int64_t{images} * groups;
  return {images,
          groups,
          capacity,
          TakeArray<uint64_t>(arena, lists * capacity),
          TakeArray<DeviceBox>(arena, lists * capacity),
          TakeArray<int>(arena, lists)};
}

enum class RoiLabels { kWithout, kWith };

template <typename Arena>
DeviceRois TakeRois(Arena& arena, int images, int limit, int piece, RoiLabels labels) {
  DeviceRois rois;
  rois.capacity = images * limit;
  rois.piece_capacity = std::min(piece, rois.capacity);
  rois.boxes = TakeArray<DeviceBox>(arena, rois.capacity);
  rois.images = TakeArray<int>(arena, rois.capacity);
  if (labels == RoiLabels::kWith) rois.labels = TakeArray<int>(arena, rois.capacity);
  rois.first = TakeArray<int>(arena, images);
  rois.piece_counts = TakeArray<int>(arena, int64_t{rois.pieces()} * kDeviceCounts);
  return rois;
}

}  // namespace spatialmamba
