#pragma once

#include <span>
#include <string_view>

namespace spatialmamba {

struct BuiltinClassListText {
  std::string_view name;
  std::string_view json;
};

// The files of deploy/classes; defined by a source file that the build makes from them.
std::span<const BuiltinClassListText> BuiltinClassListTexts();

}  // namespace spatialmamba
