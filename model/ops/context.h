#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"

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
  // undefined.
  virtual float* Scratch(int worker) = 0;

  static constexpr int64_t kScratchFloats = int64_t{1} << 18;  // 1 MiB: the L2 cache of a core
};

}  // namespace spatialmamba
