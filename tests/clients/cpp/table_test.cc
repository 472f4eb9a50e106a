#include "clients/cpp/table.h"

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(FormatTable({{"file"}, {"ms", Align::kRight}}, {{"photo.jpg", "1.5"}, {"a", "10.5"}}),
            "file         ms\n"
            "photo.jpg   1.5\n"
            "a          10.5\n");
}

TEST(Table, WidthCountsLettersNotBytes) {
  EXPECT_EQ(FormatTable({{"name"}, {"x"}}, {{"Mütze", "1"}, {"hat", "2"}}),
            "name   x\n"
            "Mütze  1\n"
            "hat    2\n");
}

TEST(Table, ControlCharactersOfNamesDoNotReachTheTerminal) {
  EXPECT_EQ(FormatTable({{"n"}}, {{"a\x1b[2Jb\n"}}), "n\na?[2Jb?\n");
}

TEST(Table, LinesEndWithoutSpaces) {
  EXPECT_EQ(FormatTable({{"a"}, {"b"}}, {{"long", ""}}), "a     b\nlong\n");
}

}  // namespace
}  // namespace spatialmamba
