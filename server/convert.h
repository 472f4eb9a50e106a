#pragma once

#include <string>
#include <vector>

#include "server/config.h"
#include "server/model_table.h"
#include "server/request.h"
#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba {

// The messages of the API to plain values and back. Pictures are taken out of the message, not
// copied. Arrival and deadline are left for the caller to fill in.
VisionRequest FromProto(v1::ClassifyRequest request);
VisionRequest FromProto(v1::DetectRequest request);
VisionRequest FromProto(v1::SegmentRequest request);

struct ReplyOptions {
  bool include_logits = false;
  bool explain = false;
};
// Large parts of the answer are taken out of it, not copied.
void ToProto(Answer& answer, const ReplyOptions& options, const std::vector<std::string>& devices,
             v1::ClassifyResponse& response);
void ToProto(Answer& answer, const ReplyOptions& options, const std::vector<std::string>& devices,
             v1::DetectResponse& response);
void ToProto(Answer& answer, const ReplyOptions& options, const std::vector<std::string>& devices,
             v1::SegmentResponse& response);

struct ModelSurroundings {
  const LimitsConfig& limits;
  const std::vector<std::string>& devices;  // names
  bool ready = false;
};
void ToProto(const ServedModel& model, const ModelSurroundings& surroundings, v1::Model& message);

}  // namespace spatialmamba
