#pragma once

#include <string>
#include <vector>

namespace spatialmamba {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Columns as wide as their widest cell, two spaces between them, one line a row, the titles first.
// Every row has a cell for each column. Control characters, which could play tricks with a
// terminal, are shown as '?'.
std::string FormatTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows);

}  // namespace spatialmamba
