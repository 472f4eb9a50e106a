#include "server/request.h"

#include "absl/strings/str_cat.h"

namespace spatialmamba {

std::optional<ServiceError> CheckRequest(const VisionRequest& request, int64_t most_images) {
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
  if (request.top_k < 1) {
    return ServiceError{
        .reason = ErrorReason::kInvalidOption,
        .message = absl::StrCat("top_k is ", request.top_k, ": set at least 1, or leave it out"),
        .field = "top_k"};
  }
  return std::nullopt;
}

}  // namespace spatialmamba
