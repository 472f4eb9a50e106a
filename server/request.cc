#include "server/request.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace spatialmamba {
namespace {

ServiceError InvalidOption(const std::string& field, const std::string& message) {
  return {.reason = ErrorReason::kInvalidOption,
          .message = absl::StrCat(field, " ", message),
          .field = field};
}

std::optional<ServiceError> Check(const ClassifyOptions& options, const ServedModel&) {
  if (options.top_k >= 1) return std::nullopt;
  return InvalidOption("top_k",
                       absl::StrCat("is ", options.top_k, ": set at least 1, or leave it out"));
}

std::optional<ServiceError> Check(const DetectOptions& options, const ServedModel& model) {
  const double threshold = options.score_threshold.value_or(0);
  if (!(threshold >= 0 && threshold <= 1)) {  // a NaN is neither
    return InvalidOption("score_threshold", absl::StrCat("is ", threshold,
                                                         ": set 0 to 1, or leave it out for the "
                                                         "model's ",
                                                         model.detect.score_threshold));
  }
  if (options.max_results && *options.max_results < 1) {
    return InvalidOption("max_results",
                         absl::StrCat("is ", *options.max_results,
                                      ": set at least 1, or leave it out for the model's ",
                                      model.detect.max_detections));
  }
  for (size_t i = 0; i < options.classes.size(); ++i) {
    if (options.classes[i] >= 0 && options.classes[i] < model.spec.classes) continue;
    return InvalidOption(
        absl::StrCat("class_indices[", i, "]"),
        absl::StrCat("is ", options.classes[i], ", but the model has classes 0 to ",
                     model.spec.classes - 1, ": see GetModel"));
  }
  if (!options.masks || *options.masks == MaskEncoding::kNone) return std::nullopt;
  if (*options.masks == MaskEncoding::kUnknown) {
    return InvalidOption("mask_encoding",
                         "has a value that this version does not know: set "
                         "COCO_RLE, POLYGON, PNG or NONE");
  }
  if (model.spec.detect.masks) return std::nullopt;
  return InvalidOption("mask_encoding",
                       "asks for masks, but the model finds boxes only: set NONE, "
                       "or leave it out");
}

std::optional<ServiceError> Check(const SegmentOptions&, const ServedModel&) {
  return std::nullopt;
}

}  // namespace

std::optional<ServiceError> CheckRequest(const VisionRequest& request, const ServedModel& model,
                                         int64_t most_images) {
  const auto images = static_cast<int64_t>(request.images.size());
  if (images == 0) {
    return ServiceError{.reason = ErrorReason::kImageMissing,
                        .message = "images is empty: send at least one picture",
                        .field = "images"};
  }
  if (images > most_images) {
    ServiceError error =
        LimitError(ErrorReason::kTooManyImages, most_images, images,
                   absl::StrCat("the request has ", images, " images, more than the limit of ",
                                most_images, ": send several requests"));
    error.field = "images";
    return error;
  }
  return std::visit([&](const auto& options) { return Check(options, model); }, request.options);
}

}  // namespace spatialmamba
