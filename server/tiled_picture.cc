#include "server/tiled_picture.h"

#include <algorithm>
#include <utility>

#include "model/runtime/pool_context.h"
#include "server/postprocess.h"

namespace spatialmamba {

TiledPicture::TiledPicture(const PicturePlan& plan, const TaskOptions& options,
                           const ServedModel& model)
    : size_{plan.height, plan.width},
      options_(options),
      model_(model),
      tiles_(TilePicture(size_, *plan.tiling)),
      uncut_(plan.parts),
      missing_(plan.parts) {
  if (model.spec.task == VisionTask::kSegment) {
    labels_ = std::make_unique<TileLabels>(size_, *plan.tiling, model.spec.classes);
    return;
  }
  for (const Tile& tile : tiles_) objects_.push_back({tile, {}});
}

TiledPicture::Pixels TiledPicture::Want(Again again) {
  const std::lock_guard lock(mutex_);
  if (pixels_) return Pixels::kThere;
  if (decoding_) {
    waiting_.push_back(std::move(again));
    return Pixels::kBeingDecoded;
  }
  decoding_ = true;
  return Pixels::kToDecode;
}

std::vector<TiledPicture::Again> TiledPicture::Decoded(std::optional<Image> pixels) {
  std::shared_ptr<const Image> kept;
  if (pixels) kept = std::make_shared<const Image>(*std::move(pixels));
  const std::lock_guard lock(mutex_);
  pixels_ = std::move(kept);
  decoding_ = false;
  return std::exchange(waiting_, {});
}

Image TiledPicture::Cut(int64_t tile) {
  std::shared_ptr<const Image> pixels;
  {
    const std::lock_guard lock(mutex_);
    pixels = pixels_;
    if (--uncut_ == 0) pixels_.reset();
  }
  const Tile& part = tiles_[static_cast<size_t>(tile)];
  Image image = BlackImage(part.height, part.width);
  for (int64_t y = 0; y < part.height; ++y) {
    std::copy_n(Row(*pixels, part.top + y) + part.left * 3, part.width * 3, Row(image, y));
  }
  return image;
}

std::optional<TiledPicture::Result> TiledPicture::Add(int64_t tile, Prediction prediction,
                                                      const PictureSizes& sizes,
                                                      int64_t reply_bytes) {
  if (labels_) {
    if (!labels_->Add(tile, std::get<SegmentOutput>(std::move(prediction)))) return std::nullopt;
    std::vector<int64_t> pixels = labels_->CountPixels();
    return MakeLabels(labels_->TakeLabels(), std::move(pixels), size_, model_, reply_bytes);
  }
  if (!Keep(tile, std::get<DetectOutput>(std::move(prediction)), sizes)) return std::nullopt;
  return Merge(reply_bytes);
}

// True if the tile was the last.
bool TiledPicture::Keep(int64_t tile, DetectOutput output, const PictureSizes& sizes) {
  SerialContext context(nullptr);
  std::vector<DetectedObject> objects = ToObjects(context, output, sizes);
  const std::lock_guard lock(mutex_);
  objects_[static_cast<size_t>(tile)].objects = std::move(objects);
  return --missing_ == 0;
}

TiledPicture::Result TiledPicture::Merge(int64_t reply_bytes) {
  const auto& options = std::get<DetectOptions>(options_);
  const auto tiles = static_cast<int64_t>(tiles_.size());
  const MergeOptions merge{.nms_overlap = model_.detect.nms_overlap,
                           .limit = options.max_results.value_or(
                               std::min(int64_t{1} << 32, model_.detect.max_detections * tiles))};
  return MakeObjects(MergeTileObjects(objects_, size_, merge), options, reply_bytes);
}

}  // namespace spatialmamba
