#include "model/ops/pyramid_cuda.h"

#include <stdexcept>

#include "model/ops/eight_channels.h"

namespace spatialmamba {
namespace {

constexpr int kThreads = 256;

template <typename T>
struct PyramidParams {
  DeviceLevel from;
  DeviceLevel to;
  const T* x;
  int x_stride;
  T* out;
  int out_stride;
  int eights;  // of channels
};

// Every pixel of the output is one of the input's. Grid: tiles of the output.
template <typename T, bool kEnlarge>
__global__ void __launch_bounds__(kThreads) PyramidKernel(PyramidParams<T> p) {
  WaitForPreviousKernel();
  if (static_cast<int>(blockIdx.x) >= p.to.counts[kTileCount]) return;
  const DeviceTile tile = p.to.tiles[blockIdx.x];
  const DeviceSpan from = p.from.spans[tile.image];
  const DeviceSpan to = p.to.spans[tile.image];
  const int pieces = p.to.tile_rows * p.to.tile_columns * p.eights;
  for (int i = static_cast<int>(threadIdx.x); i < pieces; i += kThreads) {
    const int channel = i % p.eights * kEight;
    const int row = tile.row + i / p.eights / p.to.tile_columns;
    const int column = tile.column + i / p.eights % p.to.tile_columns;
    if (row >= to.height || column >= to.width) continue;
    const int from_row = kEnlarge ? row / 2 : row * 2;
    const int from_column = kEnlarge ? column / 2 : column * 2;
    const int64_t source = from.offset + static_cast<int64_t>(from_row) * from.width + from_column;
    const int64_t target = to.offset + static_cast<int64_t>(row) * to.width + column;
    float v[kEight];
    LoadEight(p.x + source * p.x_stride + channel, v);
    StoreEight(v, p.out + target * p.out_stride + channel);
  }
}

template <typename T, bool kEnlarge>
void LaunchPyramid(const DeviceMap& x, const DeviceLevel& from, const DeviceLevel& to,
                   const DeviceMap& out, CUstream_st* stream) {
  const PyramidParams<T> params{from,
                                to,
                                static_cast<const T*>(x.data),
                                x.stride,
                                static_cast<T*>(out.data),
                                out.stride,
                                x.channels / kEight};
  LaunchConfig config;
  config.grid = dim3(static_cast<unsigned>(to.tile_count));
  config.block = dim3(kThreads);
  config.stream = stream;
  Launch("pyramid", &PyramidKernel<T, kEnlarge>, config, params);
}

template <bool kEnlarge>
void Resize(const DeviceMap& x, const DeviceLevel& from, const DeviceLevel& to,
            const DeviceMap& out, CUstream_st* stream) {
  if (x.type != out.type || x.channels != out.channels || x.channels % kEight != 0) {
    throw std::invalid_argument(
        "pyramid: maps must have one type and a multiple of 8 channels, the same for both");
  }
  if (x.type == DeviceType::kFloat32) {
    LaunchPyramid<float, kEnlarge>(x, from, to, out, stream);
  } else {
    LaunchPyramid<__nv_bfloat16, kEnlarge>(x, from, to, out, stream);
  }
}

}  // namespace

void EnlargeCuda(const DeviceMap& coarse, const DeviceLevel& from, const DeviceLevel& to,
                 const DeviceMap& out, CUstream_st* stream) {
  Resize<true>(coarse, from, to, out, stream);
}

void ThinCuda(const DeviceMap& x, const DeviceLevel& from, const DeviceLevel& to,
              const DeviceMap& out, CUstream_st* stream) {
  Resize<false>(x, from, to, out, stream);
}

}  // namespace spatialmamba
