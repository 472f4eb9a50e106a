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
#include "model/tasks/classify.h"
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

// A request of any protocol, as plain values.
struct VisionRequest {
  Method method = Method::kClassify;
  VisionTask task = VisionTask::kClassify;
  std::string model_name;     // empty: the only one of the task
  std::string model_version;  // empty: the highest
  uint64_t caller = 0;        // who asks: callers get fair shares of the devices
  std::vector<PictureSource> images;
  int64_t top_k = 5;
  TimePoint arrival;
  TimePoint deadline = TimePoint::max();  // max(): the caller gave none
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
};

struct ImageAnswer {
  int64_t height = 0;  // of the picture, after its orientation was applied
  int64_t width = 0;
  std::vector<ClassScore> classes;
  Timing timing;
};

struct Answer {
  const ServedModel* model = nullptr;
  std::vector<ImageAnswer> images;  // in the order of the request
};

using Outcome = std::variant<Answer, ServiceError>;

// What is wrong with a request whatever its pictures are; nothing if it may have that many images.
std::optional<ServiceError> CheckRequest(const VisionRequest& request, int64_t most_images);

}  // namespace spatialmamba
