#include "clients/cpp/coco_runs.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace spatialmamba {
namespace {

[[noreturn]] void Fail() { throw std::runtime_error("the run lengths of a mask are damaged"); }

// The number that begins at `at`, which moves behind it: groups of five bits, lowest first.
int64_t ReadNumber(const std::string& text, size_t& at) {
  constexpr int kLargestShift = 50;  // more than any size needs
  int64_t value = 0;
  for (int shift = 0; shift <= kLargestShift; shift += 5) {
    if (at == text.size()) Fail();
    const int64_t group = text[at++] - '0';
    if (group < 0 || group > 63) Fail();
    value += (group & 0x1F) * (int64_t{1} << shift);
    if ((group & 0x20) != 0) continue;
    const bool negative = (group & 0x10) != 0;
    return negative ? value - (int64_t{1} << (shift + 5)) : value;
  }
  Fail();
}

}  // namespace

std::vector<ColumnRun> SetRuns(const v1::CocoRle& mask) {
  const int64_t height = mask.height();
  const int64_t pixels = height * mask.width();
  if (height < 1 || mask.width() < 1) Fail();
  std::vector<ColumnRun> runs;
  std::vector<int64_t> counts;
  int64_t first = 0;  // pixel of the run, column after column
  for (size_t at = 0; at < mask.counts().size();) {
    // From the third on a count is the difference to the one before last.
    const int64_t number = ReadNumber(mask.counts(), at);
    const size_t done = counts.size();
    counts.push_back(number + (done > 2 ? counts[done - 2] : 0));
    const int64_t end = first + counts.back();
    if (counts.back() < 0 || end > pixels) Fail();
    for (bool set = done % 2 == 1; set && first < end;) {
      const int64_t x = first / height;
      const int64_t last = std::min(end, (x + 1) * height);
      runs.push_back({x, first - x * height, last - first});
      first = last;
    }
    first = end;
  }
  if (first != pixels) Fail();
  return runs;
}

}  // namespace spatialmamba
