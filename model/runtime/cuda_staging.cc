#include "model/runtime/cuda_staging.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace spatialmamba {
namespace {

constexpr size_t kBufferBytes = 8 << 20;
// What one thread copies at a time, and how much there must be for waking others to pay.
constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kSharedBytes = 4 << 20;

struct Piece {
  const char* from;
  char* to;
  size_t bytes;
};

size_t Bytes(const ImageView& image) {
  return static_cast<size_t>(3 * image.height * image.width) * sizeof(float);
}

}  // namespace

CudaStaging::CudaStaging(ThreadPool& pool) : pool_(pool) {
  for (PinnedBuffer& buffer : buffers_) buffer = PinnedBuffer(kBufferBytes);
}

void CudaStaging::Copy(std::span<const ImageView> images, float* device, CUstream_st* stream) {
  image_ = 0;
  offset_ = 0;
  auto* to = reinterpret_cast<char*>(device);
  for (size_t step = 0; image_ < images.size(); ++step) {
    auto* buffer = static_cast<char*>(buffers_[step % 2].data());
    const size_t bytes = Fill(images, buffer);
    // The other buffer has travelled meanwhile. It is filled next, so it must have arrived.
    if (step > 0) Synchronize(stream);
    CopyToDevice(to, buffer, bytes, stream);
    to += bytes;
  }
}

size_t CudaStaging::Fill(std::span<const ImageView> images, char* buffer) {
  std::vector<Piece> pieces;
  size_t filled = 0;
  while (image_ < images.size() && filled < kBufferBytes) {
    const ImageView& image = images[image_];
    const size_t bytes = std::min({Bytes(image) - offset_, kBufferBytes - filled, kPieceBytes});
    pieces.push_back(
        {reinterpret_cast<const char*>(image.pixels) + offset_, buffer + filled, bytes});
    filled += bytes;
    offset_ += bytes;
    if (offset_ == Bytes(image)) {
      ++image_;
      offset_ = 0;
    }
  }
  const auto copy = [&](int64_t item, int) {
    const Piece& piece = pieces[static_cast<size_t>(item)];
    std::memcpy(piece.to, piece.from, piece.bytes);
  };
  const auto count = static_cast<int64_t>(pieces.size());
  if (filled >= kSharedBytes) {
    pool_.ParallelFor(count, copy);
  } else {
    for (int64_t item = 0; item < count; ++item) copy(item, 0);
  }
  return filled;
}

}  // namespace spatialmamba
