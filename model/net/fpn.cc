#include "model/net/fpn.h"

#include <algorithm>

#include "model/ops/conv.h"
#include "model/ops/gemm.h"

namespace spatialmamba {
namespace {

// fine += coarse, each of its pixels taken for two by two. (To sizes 2n and 2n - 1, the neighbour
// that "nearest" takes is pixel / 2.)
void AddEnlarged(Context& context, ConstView coarse, std::span<const Span> coarse_spans, View fine,
                 std::span<const Span> fine_spans) {
  ForRows(context, fine_spans, [&](size_t image, int64_t first_row, int64_t last_row, int) {
    const Span& to = fine_spans[image];
    const Span& from = coarse_spans[image];
    for (int64_t y = first_row; y < last_row; ++y) {
      for (int64_t x = 0; x < to.width; ++x) {
        float* sum = fine.row(to.offset + y * to.width + x);
        const float* add = coarse.row(from.offset + y / 2 * from.width + x / 2);
        for (int64_t c = 0; c < fine.channels; ++c) sum[c] += add[c];
      }
    }
  });
}

// out = every second pixel of x along both axes.
void Thin(Context& context, ConstView x, std::span<const Span> spans, View out,
          std::span<const Span> out_spans) {
  ForRows(context, out_spans, [&](size_t image, int64_t first_row, int64_t last_row, int) {
    const Span& to = out_spans[image];
    const Span& from = spans[image];
    for (int64_t row = first_row; row < last_row; ++row) {
      for (int64_t column = 0; column < to.width; ++column) {
        std::copy_n(x.row(from.offset + 2 * row * from.width + 2 * column), x.channels,
                    out.row(to.offset + row * to.width + column));
      }
    }
  });
}

}  // namespace

Fpn::Fpn(const BoundTensors& tensors, const std::string& key, const std::array<int64_t, 4>& dims,
         int64_t channels) {
  for (size_t i = 0; i < 4; ++i) {
    const std::string lateral = key + ".lateral_convs." + std::to_string(i) + ".conv";
    lateral_[i] = MakeLinear(tensors, lateral + ".weight", lateral + ".bias", channels, dims[i]);
    output_[i] = MakeConvolution(tensors, key + ".fpn_convs." + std::to_string(i) + ".conv",
                                 channels, channels);
  }
}

int64_t Fpn::WorkspaceFloats(const Pyramid& pyramid) const {
  int64_t floats = 0;
  for (size_t i = 0; i < 4; ++i) floats += Arena::Floats(pyramid[i].tokens(), channels());
  return floats;
}

void Fpn::Forward(Context& context, Arena& arena, std::span<const ConstView> features,
                  const Pyramid& pyramid) const {
  const int64_t before = arena.used();
  std::array<View, 4> laterals;
  for (size_t i = 0; i < 4; ++i) {
    laterals[i] = arena.Take(pyramid[i].tokens(), channels());
    Gemm(context, features[i], lateral_[i].weights, {.bias = lateral_[i].bias_data()}, laterals[i]);
  }
  for (size_t i = 3; i > 0; --i) {
    AddEnlarged(context, laterals[i], pyramid[i].spans, laterals[i - 1], pyramid[i - 1].spans);
  }
  for (size_t i = 0; i < 4; ++i) {
    Conv3x3(context, laterals[i], pyramid[i].spans, 1, output_[i].weights,
            {.bias = output_[i].bias_data()}, pyramid[i].map, pyramid[i].spans);
  }
  Thin(context, pyramid[3].map, pyramid[3].spans, pyramid[4].map, pyramid[4].spans);
  arena.Rewind(before);
}

}  // namespace spatialmamba
