#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "model/net/segmentation.h"
#include "model/ops/box.h"
#include "model/tasks/tiles.h"

namespace spatialmamba {

// The label map of a large picture out of those of its tiles. Where one tile sees a pixel alone,
// the label is the tile's own. Where several do, their logits are blended, each with a weight that
// falls linearly to nothing towards the tile's inner edges, so that no seam shows, and the label is
// that of the largest (of equal ones the lowest).
//
// A tile's logits are kept until all that overlap it are there: memory is that of the label map and
// of the logits of about a row of tiles. The result does not depend on the order or the threads.
// Thread-safe.
class TileLabels {
 public:
  // `classes` at most 65536. Throws std::invalid_argument as TilePicture.
  TileLabels(const PixelSize& picture, const TileOptions& options, int64_t classes);

  // What the network says of tile `index`, with logits. Every tile comes once. True for the call
  // after which the map is complete. Throws std::invalid_argument if the output is not of the
  // tile's size or has no logits.
  bool Add(int64_t index, SegmentOutput output);

  // Once complete.
  std::vector<uint16_t> TakeLabels() { return std::move(labels_); }  // [height, width]
  std::vector<int64_t> CountPixels() const;                          // by class; before TakeLabels

 private:
  // Pixels [from, to) of an axis, which positions first..last of the tiles see.
  struct Segment {
    int64_t from = 0;
    int64_t to = 0;
    int64_t first = 0;
    int64_t last = 0;
  };
  // The pixels of a row segment and a column segment.
  struct Zone {
    const Segment* rows = nullptr;
    const Segment* columns = nullptr;
    int64_t missing = 0;  // tiles
  };
  // A tile's output and where it lies.
  struct Placed;
  struct ReadyZone {
    const Zone* zone = nullptr;
    std::vector<std::shared_ptr<const Placed>> tiles;  // by index
  };

  static std::vector<Segment> Segments(const std::vector<int64_t>& positions, int64_t tile,
                                       int64_t length);
  std::vector<ReadyZone> Register(int64_t index, std::shared_ptr<const Placed> placed);
  void Copy(const ReadyZone& ready);
  void Blend(const ReadyZone& ready);

  const PixelSize picture_;
  const TileOptions options_;
  const int64_t classes_;
  const std::vector<int64_t> tops_;
  const std::vector<int64_t> lefts_;
  const std::vector<Tile> tiles_;
  const std::vector<Segment> row_segments_;
  const std::vector<Segment> column_segments_;
  std::vector<uint16_t> labels_;  // every pixel is written by the call that completes its zone

  std::mutex mutex_;                                   // guards what follows
  std::vector<Zone> zones_;                            // row-major
  std::vector<std::shared_ptr<const Placed>> placed_;  // by tile, while a zone needs it
  std::vector<int64_t> unfinished_;                    // by tile: zones that still need it
  int64_t unwritten_ = 0;                              // zones
};

}  // namespace spatialmamba
