#pragma once

#include <cstdint>

#include "model/ops/aligned_buffer.h"
#include "model/ops/view.h"

namespace spatialmamba {

// The memory of one forward pass at a time: reserved once, handed out piece by piece, taken back
// all at once. Pieces are aligned to 64 bytes, their contents undefined. Not thread-safe; owned by
// a replica.
class Arena {
 public:
  // What a map of that shape takes, in floats.
  static int64_t Floats(int64_t rows, int64_t channels) { return (rows * channels + 15) / 16 * 16; }

  // Takes everything back and makes room for `floats` values. Allocates only if it never had so
  // much.
  void Reset(int64_t floats);
  // Throws std::logic_error if more is taken than was reserved.
  View Take(int64_t rows, int64_t channels);

  // What is taken now, and back to that: pieces taken since are free again, those before stay.
  int64_t used() const { return used_; }
  void Rewind(int64_t used) { used_ = used; }

 private:
  AlignedBuffer memory_;
  int64_t used_ = 0;
};

}  // namespace spatialmamba
