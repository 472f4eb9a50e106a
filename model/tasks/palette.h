#pragma once

#include <cstddef>

#include "model/image/png_writer.h"

namespace spatialmamba {

// A colour for a class that has none of its own: that of PASCAL VOC's label maps, whose bits are
// those of the index, spread over the channels from the highest bit down. Class 0 is black; the
// first 256 differ.
RgbColor DistinctColor(size_t index);

}  // namespace spatialmamba
