#include "clients/cpp/loadgen_images.h"

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

namespace spatialmamba::loadgen {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRaw = "raw:";

absl::StatusOr<v1::Image> MakeNoise(const std::string& source) {
  const std::pair<std::string, std::string> sides =
      absl::StrSplit(source.substr(kRaw.size()), absl::MaxSplits('x', 1));
  constexpr int32_t kLongestSide = 16384;
  int32_t height = 0;
  int32_t width = 0;
  if (!absl::SimpleAtoi(sides.first, &height) || !absl::SimpleAtoi(sides.second, &width) ||
      height < 1 || width < 1 || height > kLongestSide || width > kLongestSide) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": write raw:HEIGHTxWIDTH with sides from 1 to ", kLongestSide));
  }
  v1::Image image;
  v1::RawImage& raw = *image.mutable_raw();
  raw.set_height(height);
  raw.set_width(width);
  raw.set_format(v1::PIXEL_FORMAT_RGB);
  std::string& pixels = *raw.mutable_pixels();
  pixels.resize(static_cast<size_t>(height) * static_cast<size_t>(width) * 3);
  std::minstd_rand engine(1);
  std::ranges::generate(pixels, [&] { return static_cast<char>(engine() >> 8 & 0xFFU); });
  return image;
}

absl::StatusOr<v1::Image> ReadPicture(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  if (!stream || (stream.peek() != EOF && !(content << stream.rdbuf()))) {
    return absl::NotFoundError(absl::StrCat(file.string(), ": the picture cannot be read"));
  }
  v1::Image image;
  image.set_encoded(std::move(content).str());
  if (image.encoded().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(file.string(), ": the file is empty"));
  }
  return image;
}

bool IsPicture(const fs::path& file) {
  constexpr std::array<std::string_view, 6> kEndings = {".jpg",  ".jpeg", ".png",
                                                        ".webp", ".tif",  ".tiff"};
  return std::ranges::find(kEndings, absl::AsciiStrToLower(file.extension().string())) !=
         kEndings.end();
}

absl::StatusOr<std::vector<fs::path>> FilesOf(const std::string& source) {
  std::error_code error;
  if (!fs::is_directory(source, error)) {
    return std::vector<fs::path>{source};
  }
  std::vector<fs::path> files;
  for (fs::directory_iterator it(source, error), end; !error && it != end; it.increment(error)) {
    if (it->is_regular_file(error) && IsPicture(it->path())) {
      files.push_back(it->path());
    }
  }
  if (files.empty()) {
    return absl::NotFoundError(absl::StrCat(
        source, ": this folder has no images (.jpg, .jpeg, .png, .webp, .tif or .tiff)"));
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

absl::StatusOr<std::vector<v1::Image>> LoadImages(const std::vector<std::string>& sources) {
  std::vector<v1::Image> images;
  for (const std::string& source : sources) {
    if (source.starts_with(kRaw)) {
      auto image = MakeNoise(source);
      if (!image.ok()) {
        return image.status();
      }
      images.push_back(*std::move(image));
      continue;
    }
    const auto files = FilesOf(source);
    if (!files.ok()) {
      return files.status();
    }
    for (const fs::path& file : *files) {
      auto image = ReadPicture(file);
      if (!image.ok()) {
        return image.status();
      }
      images.push_back(*std::move(image));
    }
  }
  if (images.empty()) {
    return absl::InvalidArgumentError("there are no images to send");
  }
  return images;
}

}  // namespace spatialmamba::loadgen
