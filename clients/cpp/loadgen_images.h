#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <vector>

#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba::loadgen {

// The pictures that `sources` name, in their order. A source is a file, sent as it is; a folder,
// which stands for its JPEG, PNG, WebP and TIFF files by name; or raw:HxW, an RGB picture of noise
// with that height and width. The error names the source.
absl::StatusOr<std::vector<v1::Image>> LoadImages(const std::vector<std::string>& sources);

}  // namespace spatialmamba::loadgen
