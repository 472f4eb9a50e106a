#include "clients/cpp/picture_command.h"
#include "clients/cpp/svg.h"

namespace spatialmamba {

PictureTask ClassifyTask(const ClassifyOptions& options) {
  PictureTask task{.columns = {{"class"}, {"probability", Align::kRight}}};
  task.ask = [options](v1::VisionService::Stub& stub, grpc::ClientContext& context,
                       const std::string& picture, bool draw, PictureAnswer& answer) {
    v1::ClassifyRequest request;
    request.add_images()->set_encoded(picture);
    request.mutable_model()->set_name(options.pictures.model);
    request.set_top_k(options.top_k);
    request.set_explain(options.pictures.explain);
    v1::ClassifyResponse response;
    const grpc::Status status = stub.Classify(&context, request, &response);
    if (!status.ok()) return status;
    const v1::Classification& result = OnlyResult(response);
    answer.fields["classes"] = nlohmann::ordered_json::array();
    for (const v1::Class& scored : result.classes()) {
      answer.fields["classes"].push_back({{"index", scored.index()},
                                          {"name", scored.name()},
                                          {"probability", scored.probability()}});
      answer.rows.push_back({scored.name(), Fixed(100.0 * scored.probability()) + " %"});
    }
    SetModelAndSize(response.model(), result.image_size(), answer);
    if (result.has_explanation()) answer.explanation = result.explanation();
    if (draw) answer.drawn = DrawClasses(picture, result);
    return status;
  };
  return task;
}

}  // namespace spatialmamba
