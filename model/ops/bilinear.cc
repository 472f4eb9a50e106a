#include "model/ops/bilinear.h"

#include <stdexcept>
#include <vector>

#include "model/ops/bilinear_params.h"
#include "model/ops/row_items.h"

namespace spatialmamba {

void AddBilinear(Context& context, ConstView x, std::span<const Span> spans, View sum,
                 std::span<const Span> sum_spans) {
  if (x.channels != sum.channels || spans.size() != sum_spans.size() ||
      x.rows < TotalTokens(spans) || sum.rows < TotalTokens(sum_spans)) {
    throw std::invalid_argument("AddBilinear: shapes do not fit");
  }
  std::vector<std::vector<BilinearSample>> rows;
  std::vector<std::vector<BilinearSample>> columns;
  for (size_t i = 0; i < spans.size(); ++i) {
    rows.push_back(BilinearAxis(spans[i].height, sum_spans[i].height));
    columns.push_back(BilinearAxis(spans[i].width, sum_spans[i].width));
  }
  const int64_t values = TotalTokens(sum_spans) * sum.channels;
  const OpScope scope(context, {.op = "add_bilinear",
                                .rows = TotalTokens(sum_spans),
                                .inputs = x.channels,
                                .outputs = sum.channels,
                                .multiply_adds = 4 * values,
                                .map_bytes = 4 * (TotalTokens(spans) * x.channels + 2 * values)});
  ForRows(context, sum_spans, [&](size_t i, int64_t first_row, int64_t last_row, int) {
    AddBilinearCpu({.x = x.row(spans[i].offset),
                    .x_stride = x.stride,
                    .width = spans[i].width,
                    .channels = x.channels,
                    .rows = rows[i].data(),
                    .columns = columns[i].data(),
                    .sum = sum.row(sum_spans[i].offset),
                    .sum_stride = sum.stride,
                    .sum_width = sum_spans[i].width},
                   first_row, last_row);
  });
}

}  // namespace spatialmamba
