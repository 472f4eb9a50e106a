#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "model/weights/checkpoint.h"
#include "model/weights/quoted.h"

namespace spatialmamba {

// The names of the dtypes in a safetensors header.
inline constexpr std::array<std::pair<DType, const char*>, 10> kSafetensorsNames = {
    {{DType::kFloat32, "F32"},
     {DType::kFloat16, "F16"},
     {DType::kBFloat16, "BF16"},
     {DType::kFloat64, "F64"},
     {DType::kInt64, "I64"},
     {DType::kInt32, "I32"},
     {DType::kInt16, "I16"},
     {DType::kInt8, "I8"},
     {DType::kUInt8, "U8"},
     {DType::kBool, "BOOL"}}};

inline DType FromSafetensorsName(std::string_view name) {
  for (const auto& [dtype, text] : kSafetensorsNames) {
    if (name == text) return dtype;
  }
  throw CheckpointError("its dtype " + Quoted(name) + " is not supported");
}

inline const char* SafetensorsName(DType dtype) {
  for (const auto& [known, text] : kSafetensorsNames) {
    if (known == dtype) return text;
  }
  return "";
}

}  // namespace spatialmamba
