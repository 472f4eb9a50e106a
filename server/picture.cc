#include "server/picture.h"

#include <algorithm>
#include <exception>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/tasks/preprocess.h"

namespace spatialmamba {
namespace {

std::span<const std::byte> Bytes(const PictureSource& picture) {
  return std::as_bytes(std::span(picture.bytes));
}

ServiceError BadShape(const std::string& message) {
  return {.reason = ErrorReason::kImageBadShape, .message = message};
}

std::variant<PicturePlan, ServiceError> PlanRaw(const PictureSource& picture,
                                                const LimitsConfig& limits) {
  if (!picture.layout) return BadShape("raw.format is not given: set RGB, BGR or GREY");
  if (picture.height < 1 || picture.width < 1) {
    return BadShape(absl::StrCat("raw has the shape ", picture.height, "x", picture.width,
                                 ": height and width must be at least 1"));
  }
  const int64_t pixels = picture.height * picture.width;  // 32-bit numbers on the wire
  if (pixels > limits.image_pixels) {
    return LimitError(ErrorReason::kImageTooLarge, limits.image_pixels, pixels,
                      absl::StrCat("has ", pixels, " pixels, more than the limit of ",
                                   limits.image_pixels, ": send a smaller picture"));
  }
  const int64_t expected = pixels * (*picture.layout == PixelLayout::kGrey ? 1 : 3);
  const auto sent = static_cast<int64_t>(picture.bytes.size());
  if (sent != expected) {
    return BadShape(absl::StrCat("raw.pixels has ", sent, " bytes, but height, width and format ",
                                 "make ", expected, ": send uint8, [height, width, channels]"));
  }
  PicturePlan plan;
  plan.height = picture.height;
  plan.width = picture.width;
  return plan;
}

PicturePlan PlanEncoded(const PictureSource& picture, const ServedModel& model,
                        const LimitsConfig& limits) {
  PicturePlan plan;
  plan.header = ReadImageHeader(Bytes(picture), limits.image_pixels);
  plan.height = plan.header.height;
  plan.width = plan.header.width;
  const bool turned = plan.header.orientation >= 5;
  if (turned && model.preprocess.orientation == Orientation::kApply) {
    std::swap(plan.height, plan.width);
  }
  return plan;
}

// Throws ImageError.
std::variant<PicturePlan, ServiceError> PlanPicture(const PictureSource& picture,
                                                    const ServedModel& model,
                                                    const LimitsConfig& limits) {
  PicturePlan plan;
  switch (picture.kind) {
    case PictureSource::Kind::kMissing:
      return ServiceError{.reason = ErrorReason::kImageMissing,
                          .message = "holds no picture: set encoded or raw"};
    case PictureSource::Kind::kEncoded:
      plan = PlanEncoded(picture, model, limits);
      break;
    case PictureSource::Kind::kRaw:
      std::variant<PicturePlan, ServiceError> raw = PlanRaw(picture, limits);
      if (std::holds_alternative<ServiceError>(raw)) return raw;
      plan = std::get<PicturePlan>(raw);
      break;
  }
  const NetworkInputSize input = InputSize(plan.height, plan.width, model.preprocess);
  plan.input_pixels = input.height * input.width;
  if (plan.input_pixels > model.max_input_pixels) {
    return LimitError(ErrorReason::kImageTooLarge, model.max_input_pixels, plan.input_pixels,
                      absl::StrCat("becomes a network input of ", input.height, "x", input.width,
                                   ", more pixels than the limit of ", model.max_input_pixels,
                                   ": send a smaller picture"));
  }
  plan.input_bytes = plan.input_pixels * 3 * static_cast<int64_t>(sizeof(float));
  if (model.spec.task == VisionTask::kSegment) {
    plan.output_bytes = plan.height * plan.width * static_cast<int64_t>(sizeof(uint16_t));
  }
  plan.queue_bytes = static_cast<int64_t>(picture.bytes.size());
  // The picture, its turned or 16-bit form, and what the resize keeps beside the result.
  plan.decode_bytes = plan.height * plan.width * 6 + 2 * plan.input_bytes;
  if (plan.decode_bytes > limits.decode_bytes) {
    return LimitError(
        ErrorReason::kImageTooLarge, limits.decode_bytes, plan.decode_bytes,
        absl::StrCat("would take ", plan.decode_bytes, " bytes of memory to decode, ",
                     "more than the limit of ", limits.decode_bytes, ": send a smaller picture"));
  }
  return plan;
}

}  // namespace

std::variant<std::vector<PicturePlan>, ServiceError> PlanPictures(
    const std::vector<PictureSource>& pictures, const ServedModel& model,
    const LimitsConfig& limits) {
  std::vector<PicturePlan> plans;
  int64_t bytes = 0;
  for (size_t i = 0; i < pictures.size(); ++i) {
    try {
      auto plan = PlanPicture(pictures[i], model, limits);
      if (auto* error = std::get_if<ServiceError>(&plan)) return AtImage(i, std::move(*error));
      plans.push_back(std::get<PicturePlan>(plan));
    } catch (...) {
      return AtImage(i, FromException(std::current_exception()));
    }
    bytes += plans.back().queue_bytes;
  }
  if (bytes <= limits.queue_bytes) return plans;
  ServiceError error = LimitError(
      ErrorReason::kRequestTooLarge, limits.queue_bytes, bytes,
      absl::StrCat("the images take ", bytes, " bytes while they wait, more than the limit of ",
                   limits.queue_bytes, ": send fewer or smaller pictures a request"));
  error.field = "images";
  return error;
}

Image DecodePicture(const PictureSource& picture, const PicturePlan& plan,
                    const ServedModel& model) {
  if (picture.kind == PictureSource::Kind::kRaw) {
    return FromPixels(Bytes(picture), picture.height, picture.width, *picture.layout,
                      plan.height * plan.width);
  }
  return DecodeImage(Bytes(picture), plan.header, model.preprocess.orientation);
}

}  // namespace spatialmamba
