#pragma once

#include <cstdint>
#include <variant>

#include "model/runtime/prediction.h"
#include "model/tasks/detect.h"
#include "server/model_table.h"
#include "server/request.h"

namespace spatialmamba {

// What the network is asked for one picture of a request, or one tile of it: the caller's options,
// for the rest the model's.
Query MakeQuery(const TaskOptions& options, const ServedModel& model, const PictureSizes& sizes);

// What the caller gets of the network's output, in the form that it asked for. Stops with
// REPLY_TOO_LARGE as soon as the result alone has more than `reply_bytes`.
std::variant<ImageResult, ServiceError> MakeResult(Prediction prediction,
                                                   const VisionRequest& request,
                                                   const ServedModel& model,
                                                   const PictureSizes& sizes, int64_t reply_bytes);

// The same for the objects and labels of a whole picture that was cut into tiles. `labels`:
// [size.height, size.width].
std::variant<ImageResult, ServiceError> MakeObjects(const std::vector<DetectedObject>& objects,
                                                    const DetectOptions& options,
                                                    int64_t reply_bytes);
std::variant<ImageResult, ServiceError> MakeLabels(std::vector<uint16_t> labels,
                                                   std::vector<int64_t> class_pixels,
                                                   const PixelSize& size, const ServedModel& model,
                                                   int64_t reply_bytes);

// The reply is larger than allowed: what to do about it depends on the method.
ServiceError ReplyTooLarge(Method method, int64_t limit, int64_t bytes);

}  // namespace spatialmamba
