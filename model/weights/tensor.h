#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spatialmamba {

enum class DType {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool
};

int64_t SizeOf(DType dtype);    // bytes of an element
const char* Name(DType dtype);  // "float32", ...
std::optional<DType> FindDType(std::string_view name);
bool IsFloating(DType dtype);

// One named array of a checkpoint, on the host, as the file stores it: possibly half precision,
// possibly a strided view of a storage that other tensors share. Immutable and cheap to copy; keeps
// the storage alive. Invariant, established by the readers: every element that shape and strides
// reach lies within `storage`.
struct Tensor {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, one per dimension; 0 repeats
  int64_t offset = 0;            // of the first element, in elements
  std::shared_ptr<const std::vector<std::byte>> storage;
  int64_t base = 0;  // byte of `storage` at which element 0 lies; it need not be aligned

  int64_t elements() const;

  // Values in row-major order, widened or rounded to fp32 (bool: 0 or 1).
  std::vector<float> ToFloat() const;
};

// Strides of a row-major array: [2, 3, 4] has [12, 4, 1].
std::vector<int64_t> RowMajorStrides(std::span<const int64_t> shape);

// "[64, 3, 3, 3]"
std::string FormatShape(std::span<const int64_t> shape);

}  // namespace spatialmamba
