#include <algorithm>

#include "model/ops/mask_paste_params.h"

namespace spatialmamba {
namespace {

constexpr float kThreshold = 0.5F;
// Rounding can take a mean of four corners out of their range by less than this.
constexpr float kMargin = 1e-6F;

// Joins runs of equal value.
class Runs {
 public:
  explicit Runs(std::vector<int64_t>& counts) : counts_(counts) { counts_.assign(1, 0); }

  void Add(bool set, int64_t length) {
    if (length == 0) return;
    if (set == (counts_.size() % 2 == 0)) {
      counts_.back() += length;
    } else {
      counts_.push_back(length);
    }
  }

 private:
  std::vector<int64_t>& counts_;
};

float At(const MaskPasteParams& p, int64_t row, int64_t column) {
  const bool inside = row >= 0 && row < p.side && column >= 0 && column < p.side;
  return inside ? p.probabilities[row * p.side + column] : 0.0F;
}

// One column of the picture. Rows are taken together while they lie between the same two cells.
void Column(const MaskPasteParams& p, const MapPosition& across, Runs& runs) {
  const std::vector<MapPosition>& down = p.down->positions;
  for (size_t first = 0; first < down.size();) {
    const int64_t row = down[first].cell;
    size_t last = first + 1;
    while (last < down.size() && down[last].cell == row) ++last;
    const Corners corners{At(p, row, across.cell), At(p, row, across.cell + 1),
                          At(p, row + 1, across.cell), At(p, row + 1, across.cell + 1)};
    const auto [least, most] = std::minmax({corners.nw, corners.ne, corners.sw, corners.se});
    if (most < kThreshold - kMargin || least > kThreshold + kMargin) {
      runs.Add(most > kThreshold, static_cast<int64_t>(last - first));
    } else {
      for (size_t i = first; i < last; ++i) {
        runs.Add(Bilinear(corners, down[i].to_next, across.to_next) >= kThreshold, 1);
      }
    }
    first = last;
  }
}

}  // namespace

void PasteMaskCpu(const MaskPasteParams& p, std::vector<int64_t>& counts) {
  Runs runs(counts);
  const auto rows = static_cast<int64_t>(p.down->positions.size());
  const auto columns = static_cast<int64_t>(p.across->positions.size());
  if (rows == 0 || columns == 0) {
    runs.Add(false, p.height * p.width);
    return;
  }
  runs.Add(false, p.across->first * p.height);
  for (const MapPosition& across : p.across->positions) {
    runs.Add(false, p.down->first);
    Column(p, across, runs);
    runs.Add(false, p.height - p.down->first - rows);
  }
  runs.Add(false, (p.width - p.across->first - columns) * p.height);
}

}  // namespace spatialmamba
