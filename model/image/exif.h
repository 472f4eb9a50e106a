#pragma once

#include <cstddef>
#include <span>

namespace spatialmamba {

// The orientation, 1..8, of an EXIF block: a TIFF structure, with or without the six bytes
// "Exif\0\0" before it. 1 if the block names none or is damaged: a wrong tag does not make the
// pixels unreadable.
int ExifOrientation(std::span<const std::byte> block);

}  // namespace spatialmamba
