#include "tests/bench/profile.h"

#include <algorithm>

namespace spatialmamba {

void Profile::Add(const Work& work, double seconds) {
  OpTotal& total = ops_[{std::string(work.op), work.inputs, work.outputs, work.rows}];
  Work sum = work;
  sum.products += total.work.products;
  sum.multiply_adds += total.work.multiply_adds;
  sum.evaluations += total.work.evaluations;
  sum.weight_bytes += total.work.weight_bytes;
  sum.map_bytes += total.work.map_bytes;
  total.work = sum;
  total.seconds += seconds;
  ++total.count;
}

void Profile::Add(const Profile& other) {
  for (const auto& [key, op] : other.ops_) {
    Add(op.work, op.seconds);
    ops_[key].count += op.count - 1;
  }
}

double FloorSeconds(const Work& work, const Ceilings& ceilings, int64_t images, double count) {
  const double products =
      work.type == MatrixType::kBfloat16 ? ceilings.products_bf16 : ceilings.products_fp32;
  const double arithmetic = static_cast<double>(work.products) / products +
                            static_cast<double>(work.multiply_adds) / ceilings.multiply_adds +
                            static_cast<double>(work.evaluations) / ceilings.evaluations;
  double movement =
      static_cast<double>(work.weight_bytes) / static_cast<double>(images) / ceilings.bytes;
  const auto maps = static_cast<double>(work.map_bytes);
  if (maps / count > double{Context::kScratchFloats} * sizeof(float)) {
    movement += maps / ceilings.cache_bytes;
  }
  return std::max(arithmetic, movement);
}

void ProfilingContext::Begin(const Work& work) {
  if (depth_++ > 0) return;
  work_ = work;
  start_ = std::chrono::steady_clock::now();
}

void ProfilingContext::End() {
  if (--depth_ > 0) return;
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start_;
  profile_.Add(work_, taken.count());
}

}  // namespace spatialmamba
