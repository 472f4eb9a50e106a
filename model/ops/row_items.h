#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "absl/container/inlined_vector.h"
#include "model/ops/context.h"
#include "model/ops/view.h"

namespace spatialmamba {

// Splits the pixel rows of all images into pieces of a few rows: body(image, first_row, last_row,
// worker).
template <typename Body>
void ForRows(Context& context, std::span<const Span> spans, Body body) {
  if (context.workers() == 1) {  // no pieces: neighbouring rows share the cache
    context.ParallelFor(static_cast<int64_t>(spans.size()), [&](int64_t image, int worker) {
      const auto i = static_cast<size_t>(image);
      body(i, int64_t{0}, spans[i].height, worker);
    });
    return;
  }
  constexpr int64_t kRows = 4;
  int64_t items = 0;
  for (const Span& span : spans) items += (span.height + kRows - 1) / kRows;
  context.ParallelFor(items, [&](int64_t item, int worker) {
    size_t image = 0;
    for (;; ++image) {
      const int64_t pieces = (spans[image].height + kRows - 1) / kRows;
      if (item < pieces) break;
      item -= pieces;
    }
    body(image, item * kRows, std::min(spans[image].height, (item + 1) * kRows), worker);
  });
}

// The images of a batch on their way through a network; up to 32 of them without the heap.
using SpanList = absl::InlinedVector<Span, 32>;

// Sizes after a stride of two with padding one: ceil(n / 2), images back to back.
template <typename Spans>
Spans Halved(const Spans& spans) {
  Spans halved = spans;
  int64_t offset = 0;
  for (Span& span : halved) {
    span = {offset, (span.height + 1) / 2, (span.width + 1) / 2};
    offset += span.tokens();
  }
  return halved;
}

}  // namespace spatialmamba
