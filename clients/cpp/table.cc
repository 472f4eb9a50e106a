#include "clients/cpp/table.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace spatialmamba {
namespace {

std::string Printable(std::string text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; };
  std::ranges::replace_if(text, is_control, '?');
  return text;
}

// Code points of UTF-8: all bytes but those that continue one.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

std::string FormatTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> lines(1);
  for (const Column& column : columns) {
    lines[0].push_back(column.title);
  }
  for (const std::vector<std::string>& row : rows) {
    std::vector<std::string>& line = lines.emplace_back();
    std::ranges::transform(row, std::back_inserter(line), Printable);
  }
  std::vector<size_t> widths(columns.size());
  for (const std::vector<std::string>& line : lines) {
    for (size_t i = 0; i < columns.size(); ++i) {
      widths[i] = std::max(widths[i], Width(line[i]));
    }
  }
  std::string text;
  for (const std::vector<std::string>& line : lines) {
    std::string joined;
    for (size_t i = 0; i < columns.size(); ++i) {
      const std::string space(widths[i] - Width(line[i]), ' ');
      joined += columns[i].align == Align::kRight ? space + line[i] : line[i] + space;
      joined += "  ";
    }
    joined.erase(joined.find_last_not_of(' ') + 1);
    text += joined + "\n";
  }
  return text;
}

}  // namespace spatialmamba
