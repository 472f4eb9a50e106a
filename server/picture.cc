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

// Size and header of the picture. Throws ImageError.
std::variant<PicturePlan, ServiceError> PlanSource(const PictureSource& picture,
                                                   const ServedModel& model,
                                                   const LimitsConfig& limits) {
  switch (picture.kind) {
    case PictureSource::Kind::kEncoded:
      return PlanEncoded(picture, model, limits);
    case PictureSource::Kind::kRaw:
      return PlanRaw(picture, limits);
    case PictureSource::Kind::kMissing:
      break;
  }
  return ServiceError{.reason = ErrorReason::kImageMissing,
                      .message = "holds no picture: set encoded or raw"};
}

// Tiles wait in the queue like pictures.
std::optional<ServiceError> PlanTiles(const ServedModel& model, PicturePlan& plan) {
  plan.part = {plan.height, plan.width};
  if (!plan.tiling) return std::nullopt;
  plan.part = {std::min(plan.height, plan.tiling->size), std::min(plan.width, plan.tiling->size)};
  plan.parts = TileCount({plan.height, plan.width}, *plan.tiling);
  const int64_t most = model.batching.max_queue;
  if (plan.parts <= most) return std::nullopt;
  return LimitError(ErrorReason::kImageTooLarge, most, plan.parts,
                    absl::StrCat("becomes ", plan.parts, " tiles, more than the ", most,
                                 " that may wait (batching.max_queue): choose a larger "
                                 "tiling.tile_size or a smaller tiling.overlap"));
}

// Memory of one part.
void PlanBytes(const PictureSource& picture, const ServedModel& model, PicturePlan& plan) {
  const int64_t pixels = plan.height * plan.width;
  const int64_t part_pixels = plan.part.height * plan.part.width;
  const bool segments = model.spec.task == VisionTask::kSegment;
  const auto label_bytes = static_cast<int64_t>(sizeof(uint16_t));
  const auto float_bytes = static_cast<int64_t>(sizeof(float));
  plan.input_bytes = plan.input_pixels * 3 * float_bytes;
  if (segments) plan.output_bytes = part_pixels * label_bytes;
  plan.queue_bytes = static_cast<int64_t>(picture.bytes.size());
  // The picture, its turned or 16-bit form, and what the resize keeps beside the result.
  plan.decode_bytes = part_pixels * 6 + 2 * plan.input_bytes;
  if (!plan.tiling) return;
  // The decoded picture stays until its last tile is prepared; the label map grows beside it.
  plan.queue_bytes += pixels * (segments ? 3 + label_bytes + 1 : 3);
  plan.queue_bytes = (plan.queue_bytes + plan.parts - 1) / plan.parts;
  if (segments) {  // a quarter of the input in each direction
    plan.output_bytes += plan.input_pixels / 16 * model.spec.classes * float_bytes;
  }
}

// Throws ImageError.
std::variant<PicturePlan, ServiceError> PlanPicture(const PictureSource& picture,
                                                    const std::optional<TileOptions>& tiling,
                                                    const ServedModel& model,
                                                    const LimitsConfig& limits) {
  std::variant<PicturePlan, ServiceError> source = PlanSource(picture, model, limits);
  if (std::holds_alternative<ServiceError>(source)) return source;
  auto plan = std::get<PicturePlan>(source);
  plan.tiling = tiling;
  if (auto error = PlanTiles(model, plan)) return *std::move(error);
  const NetworkInputSize input = InputSize(plan.part.height, plan.part.width, model.preprocess);
  plan.input_pixels = input.height * input.width;
  if (plan.input_pixels > model.max_input_pixels) {
    return LimitError(
        ErrorReason::kImageTooLarge, model.max_input_pixels, plan.input_pixels,
        absl::StrCat("becomes a network input of ", input.height, "x", input.width,
                     ", more pixels than the limit of ", model.max_input_pixels,
                     ": send a smaller picture", tiling ? " or choose smaller tiles" : ""));
  }
  PlanBytes(picture, model, plan);
  const int64_t bytes = std::max(plan.decode_bytes, plan.height * plan.width * 6);
  if (bytes > limits.decode_bytes) {
    return LimitError(
        ErrorReason::kImageTooLarge, limits.decode_bytes, bytes,
        absl::StrCat("would take ", bytes, " bytes of memory to decode, ",
                     "more than the limit of ", limits.decode_bytes, ": send a smaller picture"));
  }
  return plan;
}

ServiceError TooLargeTogether(int64_t limit, int64_t value, const std::string& message) {
  ServiceError error = LimitError(ErrorReason::kRequestTooLarge, limit, value, message);
  error.field = "images";
  return error;
}

}  // namespace

std::variant<std::vector<PicturePlan>, ServiceError> PlanPictures(const VisionRequest& request,
                                                                  const ServedModel& model,
                                                                  const LimitsConfig& limits) {
  const std::optional<TileOptions> tiling = TilingOf(request.options);
  std::vector<PicturePlan> plans;
  int64_t bytes = 0;
  int64_t parts = 0;
  for (size_t i = 0; i < request.images.size(); ++i) {
    try {
      auto plan = PlanPicture(request.images[i], tiling, model, limits);
      if (auto* error = std::get_if<ServiceError>(&plan)) return AtImage(i, std::move(*error));
      plans.push_back(std::get<PicturePlan>(plan));
    } catch (...) {
      return AtImage(i, FromException(std::current_exception()));
    }
    bytes += plans.back().queue_bytes * plans.back().parts;
    parts += plans.back().parts;
  }
  if (parts > model.batching.max_queue) {
    return TooLargeTogether(model.batching.max_queue, parts,
                            absl::StrCat("the images become ", parts, " tiles, more than the ",
                                         model.batching.max_queue,
                                         " that may wait (batching.max_queue): send fewer "
                                         "pictures a request"));
  }
  if (bytes <= limits.queue_bytes) return plans;
  return TooLargeTogether(
      limits.queue_bytes, bytes,
      absl::StrCat("the images take ", bytes, " bytes while they wait, more than the limit of ",
                   limits.queue_bytes,
                   " (limits.queue_bytes): send fewer or smaller pictures a "
                   "request"));
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
