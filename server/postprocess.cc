#include "server/postprocess.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/image/png_writer.h"
#include "model/runtime/pool_context.h"
#include "model/tasks/classify.h"
#include "model/tasks/palette.h"

namespace spatialmamba {
namespace {

using ResultOrError = std::variant<ImageResult, ServiceError>;

bool WantsMasks(const DetectOptions& options, const ServedModel& model) {
  return options.masks.value_or(MaskEncoding::kCocoRle) != MaskEncoding::kNone &&
         model.spec.detect.masks;
}

Query ToQuery(const ClassifyOptions&, const ServedModel&, const PictureSizes&) {
  return ClassifyQuery{};
}

Query ToQuery(const DetectOptions& options, const ServedModel& model, const PictureSizes& sizes) {
  DetectQuery query = model.detect;
  query.valid = sizes.resized;
  if (options.score_threshold) query.score_threshold = static_cast<float>(*options.score_threshold);
  if (options.max_results) {
    query.max_detections = std::min(query.max_detections, *options.max_results);
  }
  if (!options.classes.empty()) query.classes = options.classes;
  query.masks = WantsMasks(options, model);
  return query;
}

Query ToQuery(const SegmentOptions& options, const ServedModel&, const PictureSizes& sizes) {
  return SegmentQuery{.original = sizes.original,
                      .confidence = options.confidence,
                      .logits = options.tiling.has_value()};
}

EncodedMask Encode(const RunLengths& mask, MaskEncoding encoding) {
  switch (encoding) {
    case MaskEncoding::kPolygon:
      return ToPolygons(mask);
    case MaskEncoding::kPng:
      return PngMask{EncodeMaskPng(Bitmap(mask), mask.height, mask.width)};
    default:
      return ToCoco(mask);
  }
}

// Bytes in a reply, about.
struct Bytes {
  int64_t operator()(const std::monostate&) const { return 0; }
  int64_t operator()(const CocoMask& mask) const {
    return static_cast<int64_t>(mask.counts.size());
  }
  int64_t operator()(const PngMask& mask) const { return static_cast<int64_t>(mask.file.size()); }
  int64_t operator()(const std::vector<MaskPolygon>& polygons) const {
    size_t corners = 0;
    for (const MaskPolygon& polygon : polygons) corners += polygon.corners.size();
    return static_cast<int64_t>(corners * 2 * sizeof(float));
  }
};

// The network's output of each task in the form that the caller asked for.
struct Encoder {
  const VisionRequest& request;
  const ServedModel& model;
  const PictureSizes& sizes;
  int64_t reply_bytes;

  ResultOrError operator()(const ClassifyOutput& output) const {
    const auto& options = std::get<ClassifyOptions>(request.options);
    return TopClasses(output.logits, options.top_k);
  }

  ResultOrError operator()(const DetectOutput& output) const {
    SerialContext context(nullptr);
    return MakeObjects(ToObjects(context, output, sizes), std::get<DetectOptions>(request.options),
                       reply_bytes);
  }

  ResultOrError operator()(SegmentOutput output) const {
    ResultOrError result = MakeLabels(std::move(output.labels), std::move(output.class_pixels),
                                      sizes.original, model, reply_bytes);
    if (auto* found = std::get_if<ImageResult>(&result)) {
      auto& map = std::get<LabelMap>(*found);
      map.confidence_height = output.confidence_height;
      map.confidence_width = output.confidence_width;
      map.confidence = std::move(output.confidence);
      const auto bytes = static_cast<int64_t>(map.png.size() + map.confidence.size());
      if (bytes > reply_bytes) return ReplyTooLarge(request.method, reply_bytes, bytes);
    }
    return result;
  }
};

std::string EncodeLabelMap(const std::vector<uint16_t>& labels, const PixelSize& size,
                           const ServedModel& model) {
  if (model.classes.size() > kLargestPalette) {
    return EncodeGrey16Png(labels, size.height, size.width);
  }
  std::vector<RgbColor> palette;
  for (size_t i = 0; i < model.classes.size(); ++i) {
    const auto& color = model.classes[i].color;
    palette.push_back(color ? RgbColor{(*color)[0], (*color)[1], (*color)[2]} : DistinctColor(i));
  }
  const std::vector<uint8_t> indices(labels.begin(), labels.end());
  return EncodePalettePng(indices, size.height, size.width, palette);
}

}  // namespace

Query MakeQuery(const TaskOptions& options, const ServedModel& model, const PictureSizes& sizes) {
  return std::visit([&](const auto& one) { return ToQuery(one, model, sizes); }, options);
}

std::variant<ImageResult, ServiceError> MakeResult(Prediction prediction,
                                                   const VisionRequest& request,
                                                   const ServedModel& model,
                                                   const PictureSizes& sizes, int64_t reply_bytes) {
  return std::visit(Encoder{request, model, sizes, reply_bytes}, std::move(prediction));
}

std::variant<ImageResult, ServiceError> MakeObjects(const std::vector<DetectedObject>& objects,
                                                    const DetectOptions& options,
                                                    int64_t reply_bytes) {
  std::vector<FoundObject> found;
  int64_t bytes = 0;
  for (const DetectedObject& object : objects) {
    found.push_back({.box = object.box, .score = object.score, .label = object.label});
    if (object.mask) {
      found.back().mask = Encode(*object.mask, options.masks.value_or(MaskEncoding::kCocoRle));
    }
    bytes += std::visit(Bytes(), found.back().mask);
    if (bytes > reply_bytes) return ReplyTooLarge(Method::kDetect, reply_bytes, bytes);
  }
  return found;
}

std::variant<ImageResult, ServiceError> MakeLabels(std::vector<uint16_t> labels,
                                                   std::vector<int64_t> class_pixels,
                                                   const PixelSize& size, const ServedModel& model,
                                                   int64_t reply_bytes) {
  LabelMap map{.class_pixels = std::move(class_pixels)};
  map.png = EncodeLabelMap(labels, size, model);
  const auto bytes = static_cast<int64_t>(map.png.size());
  if (bytes > reply_bytes) return ReplyTooLarge(Method::kSegment, reply_bytes, bytes);
  return map;
}

ServiceError ReplyTooLarge(Method method, int64_t limit, int64_t bytes) {
  std::string remedy = "ask for one model at a time";
  if (method == Method::kClassify) {
    remedy = "ask for fewer classes (top_k) or send fewer images a request";
  } else if (method == Method::kDetect) {
    remedy =
        "ask for fewer objects (max_results, score_threshold, class_indices), for smaller masks "
        "(mask_encoding COCO_RLE or NONE), or send fewer images a request";
  } else if (method == Method::kSegment) {
    remedy = "send a smaller picture or fewer images a request";
  }
  return LimitError(ErrorReason::kReplyTooLarge, limit, bytes,
                    absl::StrCat("the reply has ", bytes, " bytes and more, above the limit of ",
                                 limit, ": ", remedy,
                                 "; the limit is limits.reply_bytes of the "
                                 "server"));
}

}  // namespace spatialmamba
