#pragma once

#include <chrono>
#include <map>
#include <string>
#include <tuple>

#include "model/ops/context.h"
#include "tests/bench/ceilings.h"

namespace spatialmamba {

// Ops of one kind and shape, added up.
struct OpTotal {
  Work work;  // products, evaluations and bytes of all; the shape of each
  int64_t count = 0;
  double seconds = 0;
};

// By kind and shape.
class Profile {
 public:
  void Add(const Work& work, double seconds);
  void Add(const Profile& other);
  const auto& ops() const { return ops_; }

 private:
  std::map<std::tuple<std::string, int64_t, int64_t, int64_t>, OpTotal> ops_;
};

// Seconds that the machine needs at least for that work, which is `count` ops of one shape: their
// arithmetic at the measured ceilings, or reading the weights once from memory and moving the maps
// through the shared cache, whichever takes longer. Maps that fit into a core's L2 cost nothing.
// `images`: among how many the weights are shared.
double FloorSeconds(const Work& work, const Ceilings& ceilings, int64_t images, double count);

// Another context that notes what each op had to do and how long it took. Ops within ops count as
// part of the outer one.
class ProfilingContext final : public Context {
 public:
  explicit ProfilingContext(Context& inner) : inner_(inner) {}

  int workers() const override { return inner_.workers(); }
  void ParallelFor(int64_t items, absl::FunctionRef<void(int64_t item, int worker)> body) override {
    inner_.ParallelFor(items, body);
  }
  float* Scratch(int worker) override { return inner_.Scratch(worker); }
  void Begin(const Work& work) override;
  void End() override;

  const Profile& profile() const { return profile_; }

 private:
  Context& inner_;
  Profile profile_;
  int depth_ = 0;
  Work work_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace spatialmamba
