#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/ops/cuda_api.h"
#include "model/ops/device_batch.h"
#include "model/ops/view.h"

namespace spatialmamba {

// The resolutions of a batch: the input, then each time half of the one before (rounded up).
inline constexpr size_t kDeviceLevels = 7;  // the last, 1/64, is that of a detector's coarsest map

// How much of a batch launches are sized for.
struct DeviceCapacity {
  int images = 0;
  std::array<int, kDeviceLevels> tokens = {};
  std::array<int, kDeviceLevels> tiles = {};  // none of the input and of half its size
  // Of a level's tiles. Larger ones read less of their neighbours, smaller ones fill a device with
  // small batches; no result depends on them.
  std::array<int, kDeviceLevels> tile_rows = {};
  std::array<int, kDeviceLevels> tile_columns = {};

  // The least for this batch. Throws std::invalid_argument if there is no image, an empty one, or
  // more tokens than a device's kernels number (2^31), or one wider than 4194303 pixels.
  static DeviceCapacity Of(std::span<const Span> spans);
};

// The shape of a batch at every resolution, on the host and on the device, of at most that
// capacity. Not thread-safe.
class DeviceGeometry {
 public:
  explicit DeviceGeometry(const DeviceCapacity& capacity);

  // Whether a batch of these images fits into the capacity.
  bool Holds(std::span<const Span> spans) const;
  // Describes this batch from the next use of the stream on; the batch before must be done. Throws
  // std::invalid_argument if it does not fit.
  void Fill(std::span<const Span> spans, CUstream_st* stream);

  const DeviceCapacity& capacity() const { return capacity_; }
  // 0: the input. Pointers stay the same for the geometry's life.
  const DeviceLevel& level(size_t i) const { return levels_[i]; }

 private:
  DeviceCapacity capacity_;
  PinnedBuffer staging_;
  DeviceBuffer memory_;
  std::array<DeviceLevel, kDeviceLevels> levels_;
};

}  // namespace spatialmamba
