#include "model/net/mask_head.h"

#include <algorithm>
#include <utility>

#include "model/ops/conv.h"
#include "model/ops/mask_upsample.h"

namespace spatialmamba {
namespace {

constexpr int64_t kCells = kMaskSide / 2;
// Boxes that go through the head together: bounds the memory, whatever the batch.
constexpr int64_t kRoisAtOnce = 64;

}  // namespace

LinearLayer MakeMaskUpsample(const BoundTensors& tensors, const std::string& key,
                             int64_t channels) {
  const std::vector<float>& weight = tensors.at(key + ".weight");
  const std::vector<float>& bias = tensors.at(key + ".bias");
  std::vector<float> rows(weight.size());
  std::vector<float> repeated;
  for (int64_t tap = 0; tap < 4; ++tap) {
    for (int64_t o = 0; o < channels; ++o) {
      for (int64_t i = 0; i < channels; ++i) {
        rows[static_cast<size_t>((tap * channels + o) * channels + i)] =
            weight[static_cast<size_t>((i * channels + o) * 4 + tap)];
      }
    }
    repeated.insert(repeated.end(), bias.begin(), bias.end());
  }
  return {PackedMatrix(rows, 4 * channels, channels, tensors.matrices()), std::move(repeated)};
}

MaskHead::MaskHead(const BoundTensors& tensors, const std::string& key, int64_t channels)
    : channels_(channels),
      upsample_(MakeMaskUpsample(tensors, key + ".upsample", channels)),
      class_weights_(tensors.at(key + ".conv_logits.weight")),
      class_bias_(tensors.at(key + ".conv_logits.bias")) {
  for (size_t i = 0; i < convs_.size(); ++i) {
    convs_[i] =
        MakeConvolution(tensors, key + ".convs." + std::to_string(i) + ".conv", channels, channels);
  }
}

int64_t MaskHead::WorkspaceFloats() const {
  return 2 * Arena::Floats(kRoisAtOnce * kCells * kCells, channels_);
}

void MaskHead::Forward(Context& context, Arena& arena, std::span<const RoiMap> maps,
                       std::span<const Roi> rois, std::span<const int64_t> labels, View out) const {
  const auto total = static_cast<int64_t>(rois.size());
  for (int64_t first = 0; first < total; first += kRoisAtOnce) {
    const int64_t count = std::min(kRoisAtOnce, total - first);
    const int64_t before = arena.used();
    View x = arena.Take(count * kCells * kCells, channels_);
    View next = arena.Take(count * kCells * kCells, channels_);
    std::vector<Span> spans;
    for (int64_t i = 0; i < count; ++i) spans.push_back({i * kCells * kCells, kCells, kCells});
    const auto begin = static_cast<size_t>(first);
    const auto length = static_cast<size_t>(count);
    RoiAlign(context, maps, rois.subspan(begin, length), kCells, x);
    for (const LinearLayer& conv : convs_) {
      Conv3x3(context, x, spans, 1, conv.weights,
              {.bias = conv.bias_data(), .activation = Activation::kRelu}, next, spans);
      std::swap(x, next);
    }
    MaskUpsample(context, x, kCells, labels.subspan(begin, length),
                 {.upsample = &upsample_.weights,
                  .upsample_bias = upsample_.bias_data(),
                  .class_weights = class_weights_.data(),
                  .class_bias = class_bias_.data()},
                 {out.row(first), count, out.channels, out.stride});
    arena.Rewind(before);
  }
}

}  // namespace spatialmamba
