#include "model/ops/run_lengths.h"

namespace spatialmamba {

int64_t Area(const RunLengths& mask) {
  int64_t area = 0;
  for (size_t i = 1; i < mask.counts.size(); i += 2) area += mask.counts[i];
  return area;
}

std::string CocoCounts(const RunLengths& mask) {
  std::string text;
  for (size_t i = 0; i < mask.counts.size(); ++i) {
    int64_t value = mask.counts[i] - (i > 2 ? mask.counts[i - 2] : 0);
    bool more = true;
    while (more) {
      const int64_t low = value & 0x1F;
      value >>= 5;
      more = value != ((low & 0x10) != 0 ? -1 : 0);
      text += static_cast<char>(48 + low + (more ? 0x20 : 0));
    }
  }
  return text;
}

std::vector<uint8_t> Bitmap(const RunLengths& mask) {
  std::vector<uint8_t> bitmap(static_cast<size_t>(mask.height * mask.width));
  int64_t at = 0;
  for (size_t i = 0; i < mask.counts.size(); ++i) {
    for (const int64_t end = at + mask.counts[i]; at < end; ++at) {
      const int64_t pixel = at % mask.height * mask.width + at / mask.height;
      bitmap[static_cast<size_t>(pixel)] = static_cast<uint8_t>(i % 2);
    }
  }
  return bitmap;
}

}  // namespace spatialmamba
