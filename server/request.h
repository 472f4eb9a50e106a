#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "batching/clock.h"
#include "batching/task.h"
#include "model/image/decode.h"
#include "model/net/model_spec.h"
#include "model/ops/box.h"
#include "model/tasks/classify.h"
#include "model/tasks/detect.h"
#include "model/tasks/mask_polygons.h"
#include "model/tasks/tiles.h"
#include "server/metrics.h"
#include "server/model_table.h"
#include "server/status.h"

namespace spatialmamba {

// A picture as it was sent.
struct PictureSource {
  enum class Kind { kMissing, kEncoded, kRaw };
  Kind kind = Kind::kMissing;
  std::string bytes;   // of the file, or the pixels: row-major [height, width, channels]
  int64_t height = 0;  // raw only, as the next two
  int64_t width = 0;
  std::optional<PixelLayout> layout;
};

// What a caller may choose, by task. Nothing given: the model's.
struct ClassifyOptions {
  int64_t top_k = 5;
};
enum class MaskEncoding { kUnknown, kCocoRle, kPolygon, kPng, kNone };
struct DetectOptions {
  std::optional<double> score_threshold;
  std::optional<int64_t> max_results;
  std::vector<int64_t> classes;       // only these; empty: all
  std::optional<MaskEncoding> masks;  // nothing: kCocoRle if the model has masks
  std::optional<TileOptions> tiling;  // nothing: pictures are not cut
};
struct SegmentOptions {
  bool confidence = false;
  std::optional<TileOptions> tiling;
};
// In the order of VisionTask.
using TaskOptions = std::variant<ClassifyOptions, DetectOptions, SegmentOptions>;

// How the request's pictures are to be cut.
std::optional<TileOptions> TilingOf(const TaskOptions& options);

// A request of any protocol, as plain values.
struct VisionRequest {
  Method method = Method::kClassify;
  std::string model_name;     // empty: the only one of the task
  std::string model_version;  // empty: the highest
  uint64_t caller = 0;        // who asks: callers get fair shares of the devices
  std::vector<PictureSource> images;
  TaskOptions options;  // say the task
  TimePoint arrival;
  TimePoint deadline = TimePoint::max();  // max(): the caller gave none

  VisionTask task() const { return static_cast<VisionTask>(options.index()); }
};

// Where the time of one image went, and in which company it ran.
struct Timing {
  Duration prepare_wait = Duration::zero();  // from the arrival to the decoding
  Duration decode = Duration::zero();
  Duration preprocess = Duration::zero();
  Duration queue = Duration::zero();  // from then to the start of its batch
  Duration inference = Duration::zero();
  Duration postprocess = Duration::zero();
  Duration predicted = Duration::zero();  // from the arrival to the end, as admission saw it
  TimePoint batch_due;                    // the predicted end of its batch, at its start
  int64_t batches_ahead = 0;              // started between its admission and its own
  int64_t batch_size = 0;
  CloseCause closed_by = CloseCause::kIdle;
  int device = 0;
  TimePoint batch_formed;  // tells batches apart
  int64_t tiles = 0;       // 0: the picture was not cut
  int64_t batches = 1;     // that its tiles were spread over
};

// Of a picture that was cut: sums of the work, the longest waits (but for the first tile's
// preparation, which is that of the picture).
Timing Combined(const std::vector<Timing>& tiles);

// An object with its mask in the form that was asked for.
struct PngMask {
  std::string file;
};
using EncodedMask = std::variant<std::monostate, CocoMask, std::vector<MaskPolygon>, PngMask>;
struct FoundObject {
  Box box;  // in pixels of the picture
  float score = 0;
  int64_t label = 0;  // index of its class
  EncodedMask mask;
};

// The class of every pixel.
struct LabelMap {
  std::string png;                    // its pixel values are indices of classes
  std::vector<int64_t> class_pixels;  // by class
  int64_t confidence_height = 0;      // only if asked for, as the next two
  int64_t confidence_width = 0;
  std::vector<uint8_t> confidence;  // 255 = certain
};

// In the order of VisionTask.
using ImageResult = std::variant<std::vector<ClassScore>, std::vector<FoundObject>, LabelMap>;

struct ImageAnswer {
  int64_t height = 0;  // of the picture, after its orientation was applied
  int64_t width = 0;
  ImageResult result;
  Timing timing;
};

struct Answer {
  const ServedModel* model = nullptr;
  std::vector<ImageAnswer> images;  // in the order of the request
};

using Outcome = std::variant<Answer, ServiceError>;

// What is wrong with a request to that model whatever its pictures are; nothing if it may have that
// many images.
std::optional<ServiceError> CheckRequest(const VisionRequest& request, const ServedModel& model,
                                         int64_t most_images);

}  // namespace spatialmamba
