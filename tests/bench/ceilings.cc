#include "tests/bench/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/ops/aligned_buffer.h"
#include "model/ops/gemm_params.h"
#include "tests/bench/ceilings_kernels.h"

namespace spatialmamba {
namespace {

using Clock = std::chrono::steady_clock;

// What all threads do a second together: the best of several trials of `once`, which returns how
// much it did.
double BestRate(ThreadPool& pool, absl::FunctionRef<double(int worker)> once) {
  constexpr int kTrials = 12;
  constexpr std::chrono::milliseconds kTrial(30);
  double best = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> rates(static_cast<size_t>(pool.threads()));
    std::atomic<int> waiting = pool.threads();
    pool.ParallelFor(pool.threads(), [&](int64_t, int worker) {
      --waiting;
      while (waiting > 0) {  // all at the same time: they share the memory and the clock
      }
      const Clock::time_point start = Clock::now();
      double done = 0;
      Clock::time_point now = start;
      for (; now - start < kTrial; now = Clock::now()) done += once(worker);
      rates[static_cast<size_t>(worker)] =
          done / std::chrono::duration<double>(now - start).count();
    });
    double together = 0;
    for (const double rate : rates) together += rate;
    best = std::max(best, together);
  }
  return best;
}

double GemmRate(ThreadPool& pool, MatrixType type) {
  constexpr int64_t kRows = 112;
  constexpr int64_t kInputs = 512;
  constexpr int64_t kOutputs = 256;
  const std::vector<float> values(kInputs * kOutputs, 0.01F);
  const PackedMatrix weights(values, kOutputs, kInputs, type);
  std::vector<AlignedBuffer> x;
  std::vector<AlignedBuffer> out;
  std::vector<AlignedBuffer> staging;
  for (int i = 0; i < pool.threads(); ++i) {
    x.emplace_back(kRows * kInputs);
    out.emplace_back(kRows * kOutputs);
    staging.emplace_back(kRows * kInputs);
  }
  return BestRate(pool, [&](int worker) {
    const auto i = static_cast<size_t>(worker);
    GemmCpu({.x = x[i].data(),
             .x_stride = kInputs,
             .rows = kRows,
             .weights = &weights,
             .out = out[i].data(),
             .out_stride = kOutputs,
             .staging = staging[i].data()});
    return double{kRows * kInputs * kOutputs};
  });
}

double EvaluationRate(ThreadPool& pool) {
  constexpr int64_t kCount = 2048;  // in and out together: half an L1
  std::vector<AlignedBuffer> x;
  std::vector<AlignedBuffer> out;
  for (int i = 0; i < pool.threads(); ++i) {
    x.emplace_back(kCount);
    out.emplace_back(kCount);
  }
  return BestRate(pool, [&](int worker) {
    const auto i = static_cast<size_t>(worker);
    Evaluate(x[i].data(), kCount, out[i].data());
    return double{kCount};
  });
}

// Bytes from `count` floats, which each thread reads piece by piece from a place of its own on.
double ReadRate(ThreadPool& pool, int64_t count) {
  constexpr int64_t kPiece = int64_t{1} << 16;
  const AlignedBuffer memory(count);
  std::vector<int64_t> at(static_cast<size_t>(pool.threads()));
  std::atomic<float> sink = 0;
  for (size_t i = 0; i < at.size(); ++i) {
    at[i] = count / pool.threads() * static_cast<int64_t>(i) / kPiece * kPiece;
  }
  return BestRate(pool, [&](int worker) {
    int64_t& mine = at[static_cast<size_t>(worker)];
    sink = Sum(memory.data() + mine, kPiece);
    mine = (mine + kPiece) % count;
    return double{kPiece} * sizeof(float);
  });
}

}  // namespace

Ceilings MeasureCeilings(ThreadPool& pool) {
  return {
      .products_fp32 = GemmRate(pool, MatrixType::kFloat32),
      .products_bf16 = GemmRate(pool, MatrixType::kBfloat16),
      .multiply_adds = BestRate(pool, [](int) { return static_cast<double>(MultiplyAdds(20000)); }),
      .evaluations = EvaluationRate(pool),
      .cache_bytes = ReadRate(pool, (int64_t{1} << 20) * pool.threads()),
      .bytes = ReadRate(pool, int64_t{1} << 26)};  // 256 MiB: beyond the caches
}

}  // namespace spatialmamba
