#include "model/weights/tensor.h"

#include <array>

#include "model/weights/convert_tensor.h"

namespace spatialmamba {
namespace {

struct DTypeFacts {
  DType dtype;
  const char* name;
  int64_t size;
};

constexpr std::array kDTypes = {
    DTypeFacts{DType::kFloat32, "float32", 4},   DTypeFacts{DType::kFloat16, "float16", 2},
    DTypeFacts{DType::kBFloat16, "bfloat16", 2}, DTypeFacts{DType::kFloat64, "float64", 8},
    DTypeFacts{DType::kInt64, "int64", 8},       DTypeFacts{DType::kInt32, "int32", 4},
    DTypeFacts{DType::kInt16, "int16", 2},       DTypeFacts{DType::kInt8, "int8", 1},
    DTypeFacts{DType::kUInt8, "uint8", 1},       DTypeFacts{DType::kBool, "bool", 1}};

const DTypeFacts& Facts(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

}  // namespace

int64_t SizeOf(DType dtype) { return Facts(dtype).size; }

const char* Name(DType dtype) { return Facts(dtype).name; }

std::optional<DType> FindDType(std::string_view name) {
  for (const DTypeFacts& facts : kDTypes) {
    if (name == facts.name) return facts.dtype;
  }
  return std::nullopt;
}

bool IsFloating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16 ||
         dtype == DType::kFloat64;
}

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

std::vector<float> Tensor::ToFloat() const {
  std::vector<float> values(static_cast<size_t>(elements()));
  ConvertTensor(*this, DType::kFloat32, std::as_writable_bytes(std::span(values)));
  return values;
}

std::vector<int64_t> RowMajorStrides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

std::string FormatShape(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t side : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(side);
  }
  return text + "]";
}

}  // namespace spatialmamba
