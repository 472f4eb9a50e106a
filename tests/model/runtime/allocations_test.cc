#include <atomic>
#include <cstdlib>
#include <new>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "model/net/classifier.h"
#include "model/net/tensor_list.h"
#include "model/runtime/pool_context.h"
#include "model/runtime/thread_pool.h"
#include "tests/oracle/synthetic.h"

namespace {
std::atomic<int64_t> allocations = 0;
}  // namespace

// All other forms of new come down to these two.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto align = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (size + align - 1) / align * align)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace spatialmamba {
namespace {

BoundTensors Synthetic(const Variant& variant, int64_t classes, MatrixType matrices) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : ClassifierTensors(variant, classes)) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(1, tensor.key, tensor.shape);
  }
  return {std::move(tensors), matrices};
}

// Pictures of several sizes, twice: the first pass may reserve its memory.
int64_t AllocationsOfASecondPass(MatrixType matrices, Context& context) {
  constexpr int64_t kClasses = 10;
  const Classifier classifier({8, {1, 1, 1, 1}}, kClasses,
                              Synthetic({8, {1, 1, 1, 1}}, kClasses, matrices));
  const std::vector<Span> spans = {{0, 64, 48}, {64 * 48, 33, 97}, {64 * 48 + 33 * 97, 80, 80}};
  const std::vector<float> pixels(static_cast<size_t>(3 * TotalTokens(spans)), 0.5F);
  std::vector<float> logits(spans.size() * kClasses);
  const View out{logits.data(), static_cast<int64_t>(spans.size()), kClasses, kClasses};
  const ConstView images{pixels.data(), TotalTokens(spans), 3, 3};
  Arena arena;
  classifier.Forward(context, arena, images, spans, out);
  const int64_t before = allocations;
  classifier.Forward(context, arena, images, spans, out);
  return allocations - before;
}

TEST(Allocations, AWarmForwardTakesNothingFromTheHeap) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    PoolContext context(pool);
    for (const MatrixType matrices : {MatrixType::kFloat32, MatrixType::kBfloat16}) {
      EXPECT_EQ(AllocationsOfASecondPass(matrices, context), 0) << threads << " threads";
    }
  }
}

TEST(Allocations, AreCounted) {
  const int64_t before = allocations;
  const std::vector<int> some(100);
  EXPECT_EQ(allocations - before, 1);
}

}  // namespace
}  // namespace spatialmamba
