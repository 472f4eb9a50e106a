#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "model/ops/box.h"

// After the standard headers, which use names that these define.
#include "model/ops/device_boxes.h"
#include "tests/cuda_on_host/ragged.h"

namespace spatialmamba::cuda_on_host_test {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline bool operator==(const DeviceBox& a, const Box& b) {
  return a.left == b.left && a.top == b.top && a.right == b.right && a.bottom == b.bottom;
}

inline DeviceBox OnDevice(const Box& box) { return {box.left, box.top, box.right, box.bottom}; }

// Runs `launch`, which writes `out`, in several orders of threads; whether all leave the same bits.
template <typename T, typename Launch>
bool SameOfEveryOrder(std::vector<T>& out, const Launch& launch) {
  const std::vector<T> before = out;
  std::vector<T> first;
  bool same = true;
  for (unsigned seed = 0; seed < 3; ++seed) {
    ::cuda_on_host::options.seed = seed;
    out = before;
    launch();
    if (seed == 0) first = out;
    same = same && std::memcmp(first.data(), out.data(), out.size() * sizeof(T)) == 0;
  }
  ::cuda_on_host::options.seed = 0;
  return same;
}

// Lists of boxes with their memory, unused places filled with what must not be read.
struct Lists {
  Lists(int images, int groups, int capacity)
      : keys(static_cast<size_t>(images * groups * capacity), ~uint64_t{0}),
        boxes(keys.size(), {kNan, kNan, kNan, kNan}),
        counts(static_cast<size_t>(images * groups), -1),
        lists{images, groups, capacity, keys.data(), boxes.data(), counts.data()} {}
  Lists(const Lists&) = delete;

  std::vector<uint64_t> keys;
  std::vector<DeviceBox> boxes;
  std::vector<int> counts;
  DeviceBoxLists lists;
};

inline DeviceDetectQuery QueryOf(float height, float width) {
  return {height, width, 0.05F, 0.5F, 100, 1};
}

}  // namespace spatialmamba::cuda_on_host_test
