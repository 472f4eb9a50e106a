#pragma once

#include "model/runtime/thread_pool.h"

namespace spatialmamba {

// The best rates of a machine with all threads of a pool at work, measured.
struct Ceilings {
  double products_fp32 = 0;  // multiply-adds a second of the fp32 GEMM, operands in the caches
  double products_bf16 = 0;  // and of the bf16 one
  double multiply_adds = 0;  // fp32 in registers
  double evaluations = 0;    // of exp as the kernels compute it, a second, operands in L1
  double cache_bytes = 0;    // read a second from 4 MiB a thread: the shared cache
  double bytes = 0;          // read from memory a second
};

// Takes about two seconds.
Ceilings MeasureCeilings(ThreadPool& pool);

}  // namespace spatialmamba
