#include "server/request.h"

#include <algorithm>
#include <set>
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

constexpr int64_t kSmallestTile = 32;
constexpr int64_t kLargestTile = 16384;

std::optional<ServiceError> Check(const std::optional<TileOptions>& tiling) {
  if (!tiling) return std::nullopt;
  if (tiling->size < kSmallestTile || tiling->size > kLargestTile) {
    return InvalidOption("tiling.tile_size",
                         absl::StrCat("is ", tiling->size, ": set ", kSmallestTile, " to ",
                                      kLargestTile, " pixels, or leave tiling out"));
  }
  if (tiling->overlap >= 0 && tiling->overlap <= tiling->size / 2) return std::nullopt;
  return InvalidOption("tiling.overlap",
                       absl::StrCat("is ", tiling->overlap, ": set 0 to half of the tile's size, ",
                                    tiling->size / 2, ", or leave it out for an eighth"));
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
  if (auto error = Check(options.tiling)) return error;
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

std::optional<ServiceError> Check(const SegmentOptions& options, const ServedModel&) {
  if (options.tiling && options.confidence) {
    return InvalidOption("include_confidence",
                         "cannot be had together with tiling: leave one of them out");
  }
  return Check(options.tiling);
}

}  // namespace

std::optional<TileOptions> TilingOf(const TaskOptions& options) {
  if (const auto* detect = std::get_if<DetectOptions>(&options)) return detect->tiling;
  if (const auto* segment = std::get_if<SegmentOptions>(&options)) return segment->tiling;
  return std::nullopt;
}

Timing Combined(const std::vector<Timing>& tiles) {
  Timing all = tiles.front();
  std::set<TimePoint> batches = {all.batch_formed};
  for (size_t i = 1; i < tiles.size(); ++i) {
    const Timing& tile = tiles[i];
    all.prepare_wait = std::min(all.prepare_wait, tile.prepare_wait);
    all.decode += tile.decode;
    all.preprocess += tile.preprocess;
    all.queue = std::max(all.queue, tile.queue);
    if (batches.insert(tile.batch_formed).second) all.inference += tile.inference;
    all.postprocess += tile.postprocess;
    all.predicted = std::max(all.predicted, tile.predicted);
    all.batches_ahead = std::max(all.batches_ahead, tile.batches_ahead);
    all.batch_size = std::max(all.batch_size, tile.batch_size);
  }
  all.closed_by = tiles.back().closed_by;
  all.tiles = static_cast<int64_t>(tiles.size());
  all.batches = static_cast<int64_t>(batches.size());
  return all;
}

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
