#include "model/runtime/replica.h"

#include <stdexcept>

namespace spatialmamba {

std::vector<Prediction> Replica::Run(std::span<const ImageView> images) {
  std::vector<Prediction> predictions;
  for (std::optional<Prediction>& one : Run(images, [](size_t) { return true; })) {
    predictions.push_back(*std::move(one));
  }
  return predictions;
}

void Replica::CheckImages(std::span<const ImageView> images) {
  for (const ImageView& image : images) {
    if (image.pixels == nullptr || image.height < 1 || image.width < 1) {
      throw std::invalid_argument("Replica: an image without pixels");
    }
  }
}

}  // namespace spatialmamba
