#include "clients/cpp/coco_runs.h"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

v1::CocoRle Mask(int height, int width, const std::string& counts) {
  v1::CocoRle mask;
  mask.set_height(height);
  mask.set_width(width);
  mask.set_counts(counts);
  return mask;
}

TEST(CocoRuns, RunsGoDownTheColumnsAndAreCutAtTheirEnds) {
  EXPECT_THAT(SetRuns(Mask(3, 2, "6")), IsEmpty());
  // All set; then two unset, two set over the end of a column, two unset.
  EXPECT_THAT(SetRuns(Mask(3, 2, "06")), ElementsAre(ColumnRun{0, 0, 3}, ColumnRun{1, 0, 3}));
  EXPECT_THAT(SetRuns(Mask(3, 2, "222")), ElementsAre(ColumnRun{0, 2, 1}, ColumnRun{1, 0, 1}));
}

TEST(CocoRuns, FromTheFourthOnLengthsAreDifferences) {
  // 1 unset, 1 set, 2 unset, 3 set (1 + 2), 1 unset (2 - 1): "O" is -1.
  EXPECT_THAT(SetRuns(Mask(8, 1, "1122O")), ElementsAre(ColumnRun{0, 1, 1}, ColumnRun{0, 4, 3}));
}

TEST(CocoRuns, DamagedOnesAreAnError) {
  for (const char* counts :
       {"", "5", "7", "33\x7F", "T", "~~~~~~~~~~~~~~~~", "222222", "2O5", " "}) {
    EXPECT_THROW(SetRuns(Mask(3, 2, counts)), std::runtime_error) << counts;
  }
  EXPECT_THROW(SetRuns(Mask(0, 2, "")), std::runtime_error);
  EXPECT_THROW(SetRuns(Mask(3, -2, "6")), std::runtime_error);
}

}  // namespace
}  // namespace spatialmamba
