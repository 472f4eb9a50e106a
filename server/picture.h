#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "model/image/decode.h"
#include "model/image/image.h"
#include "server/config.h"
#include "server/model_table.h"
#include "server/request.h"

namespace spatialmamba {

// What is known of a picture before it is decoded, and so of its cost.
struct PicturePlan {
  ImageHeader header;  // encoded pictures only
  int64_t height = 0;  // after orientation
  int64_t width = 0;
  std::optional<TileOptions> tiling;  // nothing: worked on whole, as one part
  int64_t parts = 1;
  PixelSize part;  // the picture's size, or that of every tile

  // Of one part:
  int64_t input_pixels = 0;  // of the network's input
  int64_t queue_bytes = 0;   // of host memory while it waits; what a cut picture takes until all of
                             // it is answered is shared out among its tiles
  int64_t decode_bytes = 0;  // of host memory while it is decoded and preprocessed, about
  int64_t input_bytes = 0;   // of host memory from then until it is run
  int64_t output_bytes = 0;  // of host memory for what the network says, where that is much
};

// Plans every picture of a request, or says which one exceeds which limit. Nothing is decoded.
std::variant<std::vector<PicturePlan>, ServiceError> PlanPictures(const VisionRequest& request,
                                                                  const ServedModel& model,
                                                                  const LimitsConfig& limits);

// The picture's pixels. Throws ImageError.
Image DecodePicture(const PictureSource& picture, const PicturePlan& plan,
                    const ServedModel& model);

}  // namespace spatialmamba
