#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "model/image/image.h"
#include "model/runtime/prediction.h"
#include "model/tasks/tile_labels.h"
#include "model/tasks/tile_objects.h"
#include "model/tasks/tiles.h"
#include "server/model_table.h"
#include "server/picture.h"
#include "server/request.h"

namespace spatialmamba {

// A picture that is cut into tiles: decoded once, for all of them, and answered when the last one
// has run. Thread-safe.
class TiledPicture {
 public:
  // `options` and `model` outlive this.
  TiledPicture(const PicturePlan& plan, const TaskOptions& options, const ServedModel& model);

  // Tiles need the decoded picture, which the first to come decodes. The others do not wait for
  // it: they come again when they are called.
  enum class Pixels { kThere, kToDecode, kBeingDecoded };
  using Again = std::function<void()>;
  Pixels Want(Again again);  // keeps `again` if the picture is being decoded
  // What the decoding tile says at the end, also if it failed (nothing). Call all that is returned.
  [[nodiscard]] std::vector<Again> Decoded(std::optional<Image> pixels);

  // A copy of a tile's pixels, once they are there. Every tile is cut once; the last one frees the
  // picture.
  Image Cut(int64_t tile);

  // What the network says of a tile. Gives the result of the whole picture to the call that
  // completes it.
  using Result = std::variant<ImageResult, ServiceError>;
  std::optional<Result> Add(int64_t tile, Prediction prediction, const PictureSizes& sizes,
                            int64_t reply_bytes);

 private:
  bool Keep(int64_t tile, DetectOutput output, const PictureSizes& sizes);
  Result Merge(int64_t reply_bytes);

  const PixelSize size_;
  const TaskOptions& options_;
  const ServedModel& model_;
  const std::vector<Tile> tiles_;
  std::unique_ptr<TileLabels> labels_;  // of a segmenter

  std::mutex mutex_;  // guards what follows
  bool decoding_ = false;
  std::vector<Again> waiting_;
  std::shared_ptr<const Image> pixels_;
  int64_t uncut_;
  std::vector<TileObjects> objects_;  // of a detector
  int64_t missing_;
};

}  // namespace spatialmamba
