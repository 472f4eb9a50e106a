#pragma once

#include <cstdint>
#include <vector>

#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba {

// A run of set pixels down a column.
struct ColumnRun {
  int64_t x = 0;
  int64_t y = 0;
  int64_t length = 0;
  bool operator==(const ColumnRun&) const = default;
};

// The set pixels of a mask in COCO's compressed run lengths (pycocotools' rleFrString), left to
// right, each column from above. Throws std::runtime_error if they are damaged.
std::vector<ColumnRun> SetRuns(const v1::CocoRle& mask);

}  // namespace spatialmamba
