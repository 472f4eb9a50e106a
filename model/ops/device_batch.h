#pragma once

// The geometry of a ragged batch in device memory, so that one captured launch serves batches of
// any shapes. C++17: kernels include this.

#include "model/ops/matrix_type.h"

namespace spatialmamba {

// Where one image lies: height * width consecutive tokens in row-major pixel order.
struct DeviceSpan {
  int offset;  // its first token
  int height;
  int width;
};

// A piece of one image: the pixel rows [row, min(row + tile_rows, height)) and the columns
// [column, min(column + tile_columns, width)), tile_rows and tile_columns as in DeviceLevel.
struct DeviceTile {
  int image;  // its place among the spans
  int row;
  int column;
};

// What the first elements of DeviceLevel::counts say of the batch that is under way.
enum DeviceCount { kImageCount, kTokenCount, kTileCount, kDeviceCounts };

// One resolution of a batch, passed to kernels by value. The pointers are to device memory whose
// contents change from batch to batch; grids are sized for the capacities, and blocks past the
// counts leave at once. Every token is in exactly one tile.
struct DeviceLevel {
  const int* counts;        // [kDeviceCounts]
  const DeviceSpan* spans;  // [images], back to back
  const DeviceTile* tiles;  // [tiles]
  int images;               // capacities, at least the counts
  int tokens;
  int tile_count;
  int tile_rows;
  int tile_columns;  // a multiple of 8
};

// What activations and matrices are made of on a device. Sums, norms, the scan and biases are fp32
// whatever this says.
using DeviceType = MatrixType;

constexpr int DeviceBytes(DeviceType type) { return type == DeviceType::kFloat32 ? 4 : 2; }

// A feature map in device memory: tokens [rows, channels], channels last, `stride` elements between
// rows. Rows start on 16 bytes: data is aligned to 16 and stride * size a multiple of 16. Not
// owned.
struct DeviceMap {
  void* data = nullptr;
  int channels = 0;
  int stride = 0;
  DeviceType type = DeviceType::kBfloat16;

  // `count` channels from `first` on, which keeps the alignment if first * size is a multiple
  // of 16.
  DeviceMap Channels(int first, int count) const {
    return {static_cast<char*>(data) + static_cast<long long>(first) * DeviceBytes(type), count,
            stride, type};
  }
};

}  // namespace spatialmamba
