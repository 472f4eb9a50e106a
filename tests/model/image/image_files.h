#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace spatialmamba {

using FileBytes = std::vector<std::byte>;

inline std::filesystem::path ImageFolder() {
  return std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/data/images";
}

// Content of a file of tests/data/images.
inline FileBytes ReadImageFile(const std::string& name) {
  std::ifstream stream(ImageFolder() / name, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(stream), {}};
  const auto bytes = std::as_bytes(std::span(content));
  return {bytes.begin(), bytes.end()};
}

}  // namespace spatialmamba
