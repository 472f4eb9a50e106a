#include "clients/cpp/picture_command.h"
#include "clients/cpp/svg.h"

namespace spatialmamba {
namespace {

using Json = nlohmann::ordered_json;

v1::DetectRequest RequestFor(const DetectOptions& options, const std::string& picture) {
  v1::DetectRequest request;
  request.add_images()->set_encoded(picture);
  request.mutable_model()->set_name(options.pictures.model);
  if (options.score_threshold) request.set_score_threshold(*options.score_threshold);
  if (options.max_results) request.set_max_results(*options.max_results);
  for (const int32_t index : options.classes) request.add_class_indices(index);
  request.set_mask_encoding(options.masks);
  request.set_explain(options.pictures.explain);
  SetTiling(options.tiling, request);
  return request;
}

Json MaskAsJson(const v1::Mask& mask) {
  if (mask.has_coco_rle()) {
    return {{"height", mask.coco_rle().height()},
            {"width", mask.coco_rle().width()},
            {"counts", mask.coco_rle().counts()}};
  }
  Json polygons = Json::array();
  for (const v1::Polygon& polygon : mask.polygon().polygons()) {
    polygons.push_back(std::vector<float>(polygon.xy().begin(), polygon.xy().end()));
  }
  return {{"polygons", polygons}};
}

Json AsJson(const v1::DetectedObject& object) {
  const v1::Box& box = object.box();
  Json json = {{"box", {box.x1(), box.y1(), box.x2(), box.y2()}},
               {"score", object.score()},
               {"class_index", object.class_index()},
               {"name", object.name()},
               {"category_id", object.category_id()}};
  // A PNG file is no text.
  if (object.has_mask() && !object.mask().has_png()) json["mask"] = MaskAsJson(object.mask());
  return json;
}

std::string BoxCell(const v1::Box& box) {
  return Fixed(box.x1()) + " " + Fixed(box.y1()) + " " + Fixed(box.x2()) + " " + Fixed(box.y2());
}

}  // namespace

PictureTask DetectTask(const DetectOptions& options) {
  PictureTask task{
      .columns = {{"object"}, {"score", Align::kRight}, {"x1 y1 x2 y2", Align::kRight}}};
  task.ask = [options](v1::VisionService::Stub& stub, grpc::ClientContext& context,
                       const std::string& picture, bool draw, PictureAnswer& answer) {
    v1::DetectResponse response;
    const grpc::Status status = stub.Detect(&context, RequestFor(options, picture), &response);
    if (!status.ok()) return status;
    const v1::Detection& result = OnlyResult(response);
    answer.fields["objects"] = Json::array();
    for (const v1::DetectedObject& object : result.objects()) {
      answer.fields["objects"].push_back(AsJson(object));
      answer.rows.push_back(
          {object.name(), Fixed(100.0 * object.score()) + " %", BoxCell(object.box())});
    }
    if (answer.rows.empty()) answer.rows.push_back({"nothing found", "", ""});
    SetModelAndSize(response.model(), result.image_size(), answer);
    if (result.has_explanation()) answer.explanation = result.explanation();
    if (draw) answer.drawn = DrawObjects(picture, result);
    return status;
  };
  return task;
}

}  // namespace spatialmamba
