#include <algorithm>

#include "clients/cpp/picture_command.h"
#include "clients/cpp/svg.h"

namespace spatialmamba {

PictureTask SegmentTask(const SegmentOptions& options) {
  PictureTask task{.columns = {{"class"}, {"share", Align::kRight}}};
  task.ask = [options](v1::VisionService::Stub& stub, grpc::ClientContext& context,
                       const std::string& picture, bool draw, PictureAnswer& answer) {
    v1::SegmentRequest request;
    request.add_images()->set_encoded(picture);
    request.mutable_model()->set_name(options.pictures.model);
    request.set_explain(options.pictures.explain);
    SetTiling(options.tiling, request);
    v1::SegmentResponse response;
    const grpc::Status status = stub.Segment(&context, request, &response);
    if (!status.ok()) return status;
    const v1::Segmentation& result = OnlyResult(response);
    answer.fields["classes"] = nlohmann::ordered_json::array();
    std::vector<const v1::ClassShare*> by_size;
    int64_t pixels = 0;
    for (const v1::ClassShare& share : result.classes()) {
      answer.fields["classes"].push_back(
          {{"index", share.index()}, {"name", share.name()}, {"pixels", share.pixels()}});
      by_size.push_back(&share);
      pixels += share.pixels();
    }
    std::stable_sort(by_size.begin(), by_size.end(),
                     [](const auto* a, const auto* b) { return a->pixels() > b->pixels(); });
    for (const v1::ClassShare* share : by_size) {
      const double part = static_cast<double>(share->pixels()) / static_cast<double>(pixels);
      answer.rows.push_back({share->name(), Fixed(100.0 * part) + " %"});
    }
    SetModelAndSize(response.model(), result.image_size(), answer);
    if (result.has_explanation()) answer.explanation = result.explanation();
    if (draw) {
      answer.drawn = DrawLabels(picture, result);
      answer.label_map = result.label_map();
    }
    return status;
  };
  return task;
}

}  // namespace spatialmamba
