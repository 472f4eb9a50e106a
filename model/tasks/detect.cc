#include "model/tasks/detect.h"

#include <span>
#include <stdexcept>

#include "model/ops/mask_paste.h"

namespace spatialmamba {
namespace {

float Ratio(int64_t resized, int64_t original) {
  return static_cast<float>(static_cast<double>(resized) / static_cast<double>(original));
}

}  // namespace

CocoMask ToCoco(const RunLengths& mask) { return {mask.height, mask.width, CocoCounts(mask)}; }

Box ToOriginal(const Box& box, const PictureSizes& sizes) {
  const float x = Ratio(sizes.resized.width, sizes.original.width);
  const float y = Ratio(sizes.resized.height, sizes.original.height);
  return {box.left / x, box.top / y, box.right / x, box.bottom / y};
}

std::vector<DetectedObject> ToObjects(Context& context, const DetectOutput& output,
                                      const PictureSizes& sizes) {
  constexpr auto kPixels = static_cast<size_t>(kMaskSide * kMaskSide);
  const size_t count = output.detections.size();
  const bool masks = !output.mask_probabilities.empty();
  if (masks && output.mask_probabilities.size() != count * kPixels) {
    throw std::invalid_argument("ToObjects: there must be one mask for each detection");
  }
  for (const PixelSize& size : {sizes.original, sizes.resized}) {
    if (size.height < 1 || size.width < 1) {
      throw std::invalid_argument("ToObjects: a picture has no pixels");
    }
  }
  std::vector<DetectedObject> objects(count);
  context.ParallelFor(static_cast<int64_t>(count), [&](int64_t item, int) {
    const auto i = static_cast<size_t>(item);
    const Detection& found = output.detections[i];
    DetectedObject& object = objects[i];
    object.box = ToOriginal(found.box, sizes);
    object.score = found.score;
    object.label = found.label;
    if (!masks) return;
    const std::span<const float> all(output.mask_probabilities);
    object.mask =
        PasteMask({all.subspan(i * kPixels, kPixels), kMaskSide, object.box}, sizes.original);
  });
  return objects;
}

}  // namespace spatialmamba
