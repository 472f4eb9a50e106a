#pragma once

#include <cstdint>
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
  int64_t input_pixels = 0;  // of the network's input
  int64_t queue_bytes = 0;   // of host memory while it waits as it came
  int64_t decode_bytes = 0;  // of host memory while it is decoded and preprocessed, about
  int64_t input_bytes = 0;   // of host memory from then until it is run
  int64_t output_bytes = 0;  // of host memory for what the network says, where that is much
};

// Plans every picture of a request, or says which one exceeds which limit. Nothing is decoded.
std::variant<std::vector<PicturePlan>, ServiceError> PlanPictures(
    const std::vector<PictureSource>& pictures, const ServedModel& model,
    const LimitsConfig& limits);

// The picture's pixels. Throws ImageError.
Image DecodePicture(const PictureSource& picture, const PicturePlan& plan,
                    const ServedModel& model);

}  // namespace spatialmamba
