#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "model/net/model_spec.h"

namespace spatialmamba {

// A model of the smallest published shape with synthetic weights: its answers mean nothing but are
// the same everywhere. A classifier, unless the spec says otherwise.
struct TinyModel {
  Variant variant{8, {1, 1, 1, 1}};
  int64_t classes = 10;
  int64_t seed = 3;
  std::map<std::string, std::string> metadata = {
      {"task", "classify"},
      {"variant", R"({"dim": 8, "depths": [1, 1, 1, 1]})"},
      {"preprocess", R"({"crop": 0})"},
  };
  VisionTask task = VisionTask::kClassify;
  DetectHead detect = {};
  SegmentHead segment = {};
};

// Such a detector or segmenter with narrow heads, whose input has at most these sides.
TinyModel TinyDetector(bool masks = true);
TinyModel TinySegmenter(int64_t classes = 10);

void WriteTinyModel(const std::filesystem::path& file, const TinyModel& model = {});

// A fresh folder for one test, removed with all it holds.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace spatialmamba
