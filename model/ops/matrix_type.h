#pragma once

namespace spatialmamba {

// How the values of a matrix are kept, and with them the precision of its products: bf16 weights
// are multiplied with inputs rounded to bf16 and summed in fp32.
enum class MatrixType { kFloat32, kBfloat16 };

}  // namespace spatialmamba
