#include "model/weights/quoted.h"

namespace spatialmamba {

std::string Quoted(std::string_view name) {
  constexpr size_t kLongest = 120;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      text += c;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  if (name.size() > kLongest) text += "...";
  return text + "\"";
}

}  // namespace spatialmamba
