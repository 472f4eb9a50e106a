#include "server/convert.h"

#include <chrono>
#include <type_traits>
#include <utility>

namespace spatialmamba {
namespace {

std::optional<PixelLayout> LayoutOf(v1::PixelFormat format) {
  switch (format) {
    case v1::PIXEL_FORMAT_RGB:
      return PixelLayout::kRgb;
    case v1::PIXEL_FORMAT_BGR:
      return PixelLayout::kBgr;
    case v1::PIXEL_FORMAT_GREY:
      return PixelLayout::kGrey;
    default:
      return std::nullopt;
  }
}

PictureSource TakePicture(v1::Image& image) {
  PictureSource picture;
  switch (image.source_case()) {
    case v1::Image::kEncoded:
      picture.kind = PictureSource::Kind::kEncoded;
      picture.bytes = std::move(*image.mutable_encoded());
      break;
    case v1::Image::kRaw:
      picture.kind = PictureSource::Kind::kRaw;
      picture.bytes = std::move(*image.mutable_raw()->mutable_pixels());
      picture.height = image.raw().height();
      picture.width = image.raw().width();
      picture.layout = LayoutOf(image.raw().format());
      break;
    case v1::Image::SOURCE_NOT_SET:
      break;
  }
  return picture;
}

// Nothing for the default.
std::optional<MaskEncoding> EncodingOf(v1::MaskEncoding encoding) {
  switch (encoding) {
    case v1::MASK_ENCODING_UNSPECIFIED:
      return std::nullopt;
    case v1::MASK_ENCODING_COCO_RLE:
      return MaskEncoding::kCocoRle;
    case v1::MASK_ENCODING_POLYGON:
      return MaskEncoding::kPolygon;
    case v1::MASK_ENCODING_PNG:
      return MaskEncoding::kPng;
    case v1::MASK_ENCODING_NONE:
      return MaskEncoding::kNone;
    default:
      return MaskEncoding::kUnknown;
  }
}

template <typename Request>
std::optional<TileOptions> TilingOf(const Request& request) {
  if (!request.has_tiling()) return std::nullopt;
  const v1::Tiling& tiling = request.tiling();
  return TileOptions{.size = tiling.tile_size(),
                     .overlap = tiling.has_overlap() ? tiling.overlap() : tiling.tile_size() / 8};
}

template <typename Request>
VisionRequest FromImages(Method method, TaskOptions options, Request& request) {
  VisionRequest plain{.method = method,
                      .model_name = request.model().name(),
                      .model_version = request.model().version(),
                      .options = std::move(options)};
  plain.images.reserve(static_cast<size_t>(request.images_size()));
  for (v1::Image& image : *request.mutable_images()) plain.images.push_back(TakePicture(image));
  return plain;
}

void SetDuration(Duration duration, google::protobuf::Duration& message) {
  const int64_t nanos = std::chrono::nanoseconds(duration).count();
  message.set_seconds(nanos / 1'000'000'000);
  message.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}

void Explain(const Timing& timing, const std::vector<std::string>& devices,
             v1::Explanation& message) {
  SetDuration(timing.prepare_wait, *message.mutable_prepare_wait());
  SetDuration(timing.decode, *message.mutable_decode());
  SetDuration(timing.preprocess, *message.mutable_preprocess());
  SetDuration(timing.queue, *message.mutable_queue());
  SetDuration(timing.inference, *message.mutable_inference());
  SetDuration(timing.postprocess, *message.mutable_postprocess());
  SetDuration(timing.predicted, *message.mutable_predicted());
  message.set_batches_ahead(static_cast<int32_t>(timing.batches_ahead));
  message.set_batch_size(static_cast<int32_t>(timing.batch_size));
  message.set_batch_closed_by(Name(timing.closed_by));
  message.set_device(devices[static_cast<size_t>(timing.device)]);
  if (timing.tiles == 0) return;
  message.set_tiles(static_cast<int32_t>(timing.tiles));
  message.set_batches(static_cast<int32_t>(timing.batches));
}

void SetIdentity(const ServedModel& model, v1::ModelIdentity& message) {
  message.set_name(model.name);
  message.set_version(model.version);
  message.set_weights_sha256(model.sha256);
}

// What the results of all tasks have.
template <typename Result>
void FillCommon(const ImageAnswer& image, const ReplyOptions& options,
                const std::vector<std::string>& devices, Result& result) {
  result.mutable_image_size()->set_height(static_cast<int32_t>(image.height));
  result.mutable_image_size()->set_width(static_cast<int32_t>(image.width));
  if (options.explain) Explain(image.timing, devices, *result.mutable_explanation());
}

const ClassLabel& LabelOf(const ServedModel& model, int64_t index) {
  return model.classes[static_cast<size_t>(index)];
}

void SetMask(const std::monostate&, v1::DetectedObject&) {}

void SetMask(CocoMask& mask, v1::DetectedObject& object) {
  v1::CocoRle& message = *object.mutable_mask()->mutable_coco_rle();
  message.set_height(static_cast<int32_t>(mask.height));
  message.set_width(static_cast<int32_t>(mask.width));
  message.set_counts(std::move(mask.counts));
}

void SetMask(const std::vector<MaskPolygon>& polygons, v1::DetectedObject& object) {
  v1::PolygonMask& message = *object.mutable_mask()->mutable_polygon();
  for (const MaskPolygon& polygon : polygons) {
    v1::Polygon& one = *message.add_polygons();
    for (const auto& [x, y] : polygon.corners) {
      one.add_xy(static_cast<float>(x));
      one.add_xy(static_cast<float>(y));
    }
  }
}

void SetMask(PngMask& mask, v1::DetectedObject& object) {
  object.mutable_mask()->set_png(std::move(mask.file));
}

v1::Task ToProto(VisionTask task) {
  switch (task) {
    case VisionTask::kClassify:
      return v1::TASK_CLASSIFY;
    case VisionTask::kDetect:
      return v1::TASK_DETECT;
    case VisionTask::kSegment:
      return v1::TASK_SEGMENT;
  }
  return v1::TASK_UNSPECIFIED;
}

void ToProto(const PreprocessOptions& options, v1::InputRule& rule) {
  const auto set_scale = [&](const std::array<int64_t, 2>& scale) {
    rule.set_scale_long(static_cast<int32_t>(scale[0]));
    rule.set_scale_short(static_cast<int32_t>(scale[1]));
  };
  if (const auto* classify = std::get_if<ClassifyInput>(&options.input)) {
    rule.set_crop(static_cast<int32_t>(classify->crop));
    if (classify->crop > 0) rule.set_resize_short(static_cast<int32_t>(classify->resize_short));
  } else if (const auto* detect = std::get_if<DetectInput>(&options.input)) {
    set_scale(detect->scale);
    rule.set_pad_multiple(static_cast<int32_t>(detect->pad));
  } else if (const auto* segment = std::get_if<SegmentInput>(&options.input)) {
    set_scale(segment->scale);
  }
  for (const float value : options.mean) rule.add_mean(value);
  for (const float value : options.std) rule.add_std(value);
  rule.set_applies_orientation(options.orientation == Orientation::kApply);
}

}  // namespace

VisionRequest FromProto(v1::ClassifyRequest request) {
  ClassifyOptions options;
  if (request.has_top_k()) options.top_k = request.top_k();
  return FromImages(Method::kClassify, options, request);
}

VisionRequest FromProto(v1::DetectRequest request) {
  DetectOptions options;
  if (request.has_score_threshold()) options.score_threshold = request.score_threshold();
  if (request.has_max_results()) options.max_results = request.max_results();
  options.classes.assign(request.class_indices().begin(), request.class_indices().end());
  options.masks = EncodingOf(request.mask_encoding());
  options.tiling = TilingOf(request);
  return FromImages(Method::kDetect, std::move(options), request);
}

VisionRequest FromProto(v1::SegmentRequest request) {
  const SegmentOptions options{.confidence = request.include_confidence(),
                               .tiling = TilingOf(request)};
  return FromImages(Method::kSegment, options, request);
}

void ToProto(Answer& answer, const ReplyOptions& options, const std::vector<std::string>& devices,
             v1::ClassifyResponse& response) {
  const ServedModel& model = *answer.model;
  SetIdentity(model, *response.mutable_model());
  for (ImageAnswer& image : answer.images) {
    v1::Classification& result = *response.add_results();
    FillCommon(image, options, devices, result);
    for (const ClassScore& score : std::get<std::vector<ClassScore>>(image.result)) {
      v1::Class& one = *result.add_classes();
      one.set_index(static_cast<int32_t>(score.index));
      one.set_name(LabelOf(model, score.index).name);
      one.set_probability(score.probability);
      if (options.include_logits) one.set_logit(score.logit);
    }
  }
}

void ToProto(Answer& answer, const ReplyOptions& options, const std::vector<std::string>& devices,
             v1::DetectResponse& response) {
  const ServedModel& model = *answer.model;
  SetIdentity(model, *response.mutable_model());
  for (ImageAnswer& image : answer.images) {
    v1::Detection& result = *response.add_results();
    FillCommon(image, options, devices, result);
    for (FoundObject& object : std::get<std::vector<FoundObject>>(image.result)) {
      v1::DetectedObject& one = *result.add_objects();
      one.mutable_box()->set_x1(object.box.left);
      one.mutable_box()->set_y1(object.box.top);
      one.mutable_box()->set_x2(object.box.right);
      one.mutable_box()->set_y2(object.box.bottom);
      one.set_score(object.score);
      one.set_class_index(static_cast<int32_t>(object.label));
      one.set_name(LabelOf(model, object.label).name);
      one.set_category_id(static_cast<int32_t>(LabelOf(model, object.label).id));
      std::visit([&](auto& mask) { SetMask(mask, one); }, object.mask);
    }
  }
}

void ToProto(Answer& answer, const ReplyOptions& options, const std::vector<std::string>& devices,
             v1::SegmentResponse& response) {
  const ServedModel& model = *answer.model;
  SetIdentity(model, *response.mutable_model());
  for (ImageAnswer& image : answer.images) {
    v1::Segmentation& result = *response.add_results();
    FillCommon(image, options, devices, result);
    auto& map = std::get<LabelMap>(image.result);
    result.set_label_map(std::move(map.png));
    for (size_t i = 0; i < map.class_pixels.size(); ++i) {
      if (map.class_pixels[i] == 0) continue;
      v1::ClassShare& share = *result.add_classes();
      share.set_index(static_cast<int32_t>(i));
      share.set_name(model.classes[i].name);
      share.set_pixels(map.class_pixels[i]);
    }
    if (map.confidence.empty()) continue;
    v1::ConfidenceMap& confidence = *result.mutable_confidence();
    confidence.set_height(static_cast<int32_t>(map.confidence_height));
    confidence.set_width(static_cast<int32_t>(map.confidence_width));
    confidence.set_values(map.confidence.data(), map.confidence.size());
  }
}

void ToProto(const ServedModel& model, const ModelSurroundings& surroundings, v1::Model& message) {
  message.set_name(model.name);
  message.set_version(model.version);
  message.set_task(ToProto(model.spec.task));
  message.set_variant(std::string(VariantName(model.spec.variant)));
  for (const int64_t dim : model.spec.variant.dims()) {
    message.add_dims(static_cast<int32_t>(dim));
  }
  for (const int64_t depth : model.spec.variant.depths) {
    message.add_depths(static_cast<int32_t>(depth));
  }
  for (size_t i = 0; i < model.classes.size(); ++i) {
    const ClassLabel& label = model.classes[i];
    v1::ClassInfo& info = *message.add_classes();
    info.set_index(static_cast<int32_t>(i));
    info.set_name(label.name);
    info.set_category_id(static_cast<int32_t>(label.id));
    if (label.color) {
      info.mutable_color()->set_red((*label.color)[0]);
      info.mutable_color()->set_green((*label.color)[1]);
      info.mutable_color()->set_blue((*label.color)[2]);
    }
  }
  ToProto(model.preprocess, *message.mutable_input());
  v1::ModelLimits& limits = *message.mutable_limits();
  limits.set_image_pixels(surroundings.limits.image_pixels);
  limits.set_images_per_request(static_cast<int32_t>(
      std::min(surroundings.limits.images_per_request, model.batching.max_queue)));
  limits.set_message_bytes(surroundings.limits.message_bytes);
  message.set_precision(std::string(PrecisionName(model.spec)));
  message.set_device(surroundings.devices.front());
  message.set_weights_sha256(model.sha256);
  message.set_ready(surroundings.ready);
}

}  // namespace spatialmamba
