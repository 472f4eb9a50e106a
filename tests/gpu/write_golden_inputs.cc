// write_golden_inputs FOLDER: for each golden case of a network its input's bytes after the resize,
// in NAME.input: one line of text (images, then the heights and widths of picture, resized picture,
// and padded input) and [images, height, width, 3] bytes; and for each segmentation its labels'
// bytes in NAME.labels.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "model/image/decode.h"
#include "model/tasks/preprocess.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

std::filesystem::path Goldens() {
  return std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/oracle";
}

PreprocessOptions OptionsOf(const nlohmann::json& facts) {
  const std::string task = facts["task"];
  if (task == "detection") {
    return {.input = DetectInput{.scale = facts["scale"].get<std::array<int64_t, 2>>()}};
  }
  if (task == "segmentation") {
    return {.input = SegmentInput{.scale = facts["scale"].get<std::array<int64_t, 2>>()}};
  }
  if (facts.value("resize", false)) return {.input = ClassifyInput{}};
  return {.input = ClassifyInput{.crop = 0}};
}

void Write(const std::filesystem::path& folder, const nlohmann::json& facts) {
  const PreprocessOptions options = OptionsOf(facts);
  const auto images = facts.value("batch", int64_t{1});
  const auto height = facts["height"].get<int64_t>();
  const auto width = facts["width"].get<int64_t>();
  std::ofstream file(folder / (facts["name"].get<std::string>() + ".input"), std::ios::binary);
  for (int64_t i = 0; i < images; ++i) {
    const Image picture{height, width,
                        oracle::Image(facts["image_seed"].get<int64_t>() + i, height, width)};
    const Image bytes = ResizeAndCrop(picture, options);
    if (i == 0) {
      const NetworkInputSize padded = InputSize(height, width, options);
      file << images << ' ' << height << ' ' << width << ' ' << bytes.height << ' ' << bytes.width
           << ' ' << padded.height << ' ' << padded.width << '\n';
    }
    file.write(reinterpret_cast<const char*>(bytes.rgb.data()),
               static_cast<std::streamsize>(bytes.rgb.size()));
  }
  if (!file.flush()) throw std::runtime_error("cannot write to " + folder.string());
}

// The label map is a grey PNG.
void WriteLabels(const std::filesystem::path& folder, const std::string& name) {
  std::ifstream file(Goldens() / "golden" / (name + ".png"), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto data = std::as_bytes(std::span(bytes));
  const Image map =
      DecodeImage(data, ReadImageHeader(data, int64_t{1} << 30), Orientation::kIgnore);
  std::ofstream labels(folder / (name + ".labels"), std::ios::binary);
  for (size_t i = 0; i < map.rgb.size(); i += 3) labels.put(static_cast<char>(map.rgb[i]));
  if (!labels.flush()) throw std::runtime_error("cannot write to " + folder.string());
}

void WriteAll(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::ifstream list(Goldens() / "cases.json");
  for (const nlohmann::json& facts : nlohmann::json::parse(list)) {
    const std::string task = facts["task"];
    if (task == "backbone" || task == "classification" || task == "detection" ||
        task == "segmentation") {
      Write(folder, facts);
    }
    if (task == "segmentation") WriteLabels(folder, facts["name"]);
  }
}

}  // namespace
}  // namespace spatialmamba

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw std::runtime_error("usage: write_golden_inputs FOLDER");
    spatialmamba::WriteAll(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_golden_inputs: %s\n", error.what());
    return 1;
  }
}
