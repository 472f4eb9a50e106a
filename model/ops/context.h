#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "model/ops/work.h"

namespace spatialmamba {

// What an op may use beside its arguments: threads and scratch memory. The owner stands in
// model/runtime.
class Context {
 public:
  virtual ~Context() = default;

  // How many items of a ParallelFor run at the same time, at most.
  virtual int workers() const = 0;

  // Calls body(item, worker) once for every item in [0, items); 0 <= worker < workers(), never the
  // same twice at a time. How items fall to workers is not defined, so no result may depend on it.
  virtual void ParallelFor(int64_t items,
                           absl::FunctionRef<void(int64_t item, int worker)> body) = 0;

  // Memory of one worker, valid within a body: kScratchFloats values, aligned to 64 bytes, contents
  // undefined. Behind it lies the staging memory.
  virtual float* Scratch(int worker) = 0;

  // Called by every op around what it does, from the thread that called the op; an op may call
  // others. For profiles: see OpScope.
  virtual void Begin(const Work&) {}
  virtual void End() {}

  // More of it, kStagingFloats values, for the inputs of a GEMM in the form that its weights need.
  float* Staging(int worker) { return Scratch(worker) + kScratchFloats; }

  static constexpr int64_t kScratchFloats = int64_t{1} << 18;  // 1 MiB: the L2 cache of a core
  static constexpr int64_t kStagingFloats = kScratchFloats;
};

// The time of an op.
class OpScope {
 public:
  OpScope(Context& context, const Work& work) : context_(context) { context.Begin(work); }
  ~OpScope() { context_.End(); }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  Context& context_;
};

}  // namespace spatialmamba
