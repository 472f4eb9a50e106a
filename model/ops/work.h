#pragma once

#include <cstdint>
#include <string_view>

#include "model/ops/matrix_type.h"

namespace spatialmamba {

// What an op has to do whatever its kernel: from this profiles tell rates, and floors the time that
// a machine needs at least.
struct Work {
  std::string_view op;                     // "gemm", "scan"
  int64_t rows = 0;                        // tokens, boxes or pixels
  int64_t inputs = 0;                      // values of a row
  int64_t outputs = 0;                     // values of a row that are written
  int64_t products = 0;                    // multiply-adds of matrices
  MatrixType type = MatrixType::kFloat32;  // of those
  int64_t multiply_adds = 0;               // all others
  int64_t evaluations = 0;                 // of exp, log and erf
  int64_t weight_bytes = 0;                // read at least once
  int64_t map_bytes = 0;                   // read or written, where no cache holds the maps
};

}  // namespace spatialmamba
