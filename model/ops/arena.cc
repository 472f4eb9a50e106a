#include "model/ops/arena.h"

#include <stdexcept>

namespace spatialmamba {

void Arena::Reset(int64_t floats) {
  used_ = 0;
  if (floats <= memory_.size()) return;
  memory_ = AlignedBuffer();  // the old one goes first: large images would need both
  memory_ = AlignedBuffer(floats);
}

View Arena::Take(int64_t rows, int64_t channels) {
  const int64_t floats = Floats(rows, channels);
  if (used_ + floats > memory_.size()) throw std::logic_error("Arena: more taken than reserved");
  const View view{memory_.data() + used_, rows, channels, channels};
  used_ += floats;
  return view;
}

}  // namespace spatialmamba
