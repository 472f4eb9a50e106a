#include "model/ops/upsampled_taps.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "model/ops/row_items.h"
#include "model/ops/upsampled_taps_params.h"

namespace spatialmamba {
namespace {

// Columns of the sum that are worked on together, so that what they read of a few rows stays in the
// L2 cache.
constexpr int64_t kTileColumns = 64;

// Fewer if the scratch memory would not take what they read of the map; zero if not even one.
int64_t TileColumns(int64_t channels, int64_t width, int64_t sum_width) {
  int64_t columns = kTileColumns;
  for (; columns > 0; columns /= 2) {
    const int64_t read = std::min(width, (columns + 2) * width / sum_width + 3);
    if (3 * channels * read <= Context::kScratchFloats) break;
  }
  return columns;
}

struct Axes {
  std::vector<BilinearSample> rows;
  std::vector<BilinearSample> columns;
};

void Check(std::span<const TapProducts> maps, ConstView sum, std::span<const Span> spans) {
  bool fits = !maps.empty() && sum.rows >= TotalTokens(spans);
  for (const TapProducts& map : maps) {
    fits = fits && map.products.channels == 9 * sum.channels && map.spans.size() == spans.size() &&
           map.products.rows >= TotalTokens(map.spans);
  }
  if (!fits) throw std::invalid_argument("AddUpsampledTapsRelu: shapes do not fit");
}

}  // namespace

void AddUpsampledTapsRelu(Context& context, std::span<const TapProducts> maps, View sum,
                          std::span<const Span> spans) {
  Check(maps, sum, spans);
  int64_t tile = kTileColumns;
  std::vector<Axes> axes;  // by map, then image
  for (const TapProducts& map : maps) {
    for (size_t i = 0; i < spans.size(); ++i) {
      axes.push_back({BilinearAxis(map.spans[i].height, spans[i].height),
                      BilinearAxis(map.spans[i].width, spans[i].width)});
      tile = std::min(tile, TileColumns(sum.channels, map.spans[i].width, spans[i].width));
    }
  }
  if (tile == 0) {
    throw std::invalid_argument("AddUpsampledTapsRelu: a map is too wide for its image");
  }
  const auto params = [&](size_t m, size_t image) {
    const TapProducts& map = maps[m];
    const Axes& own = axes[m * spans.size() + image];
    return UpsampledTapsParams{.products = map.products.row(map.spans[image].offset),
                               .products_stride = map.products.stride,
                               .width = map.spans[image].width,
                               .channels = sum.channels,
                               .rows = own.rows.data(),
                               .columns = own.columns.data(),
                               .sum = sum.row(spans[image].offset),
                               .sum_stride = sum.stride,
                               .height = spans[image].height,
                               .sum_width = spans[image].width,
                               .relu = m + 1 == maps.size()};
  };
  // The enlarged products of nine taps, each of four values, from every map.
  const int64_t values = TotalTokens(spans) * sum.channels;
  const auto enlarged = static_cast<int64_t>(maps.size());
  const OpScope scope(context, {.op = "upsampled_taps",
                                .rows = TotalTokens(spans),
                                .inputs = 9 * sum.channels,
                                .outputs = sum.channels,
                                .multiply_adds = values * 9 * 4 * enlarged,
                                .map_bytes = 4 * 2 * values});
  ForRows(context, spans, [&](size_t image, int64_t first_row, int64_t last_row, int worker) {
    const int64_t width = spans[image].width;
    for (int64_t first = 0; first < width; first += tile) {
      for (int64_t row = first_row; row < last_row; ++row) {
        for (size_t m = 0; m < maps.size(); ++m) {
          AddUpsampledTapsCpu(params(m, image), row, first, std::min(width, first + tile),
                              context.Scratch(worker));
        }
      }
    }
  });
}

}  // namespace spatialmamba
