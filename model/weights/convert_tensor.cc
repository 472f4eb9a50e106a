#include "model/weights/convert_tensor.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/all.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ne.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace spatialmamba {
namespace {

at::ScalarType ScalarType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return at::kFloat;
    case DType::kFloat16:
      return at::kHalf;
    case DType::kBFloat16:
      return at::kBFloat16;
    case DType::kFloat64:
      return at::kDouble;
    case DType::kInt64:
      return at::kLong;
    case DType::kInt32:
      return at::kInt;
    case DType::kInt16:
      return at::kShort;
    case DType::kInt8:
      return at::kChar;
    case DType::kUInt8:
      return at::kByte;
    case DType::kBool:
      return at::kBool;
  }
  throw std::logic_error("unknown dtype");
}

// LibTorch's own threads stay asleep: the cores belong to the pool of the model.
void UseOneThread() {
  thread_local const bool once = [] {
    at::set_num_threads(1);
    return true;
  }();
  static_cast<void>(once);
}

const std::byte* FirstElement(const Tensor& tensor) {
  return tensor.storage->data() + tensor.base + tensor.offset * SizeOf(tensor.dtype);
}

bool IsAligned(const Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(FirstElement(tensor)) %
             static_cast<uintptr_t>(SizeOf(tensor.dtype)) ==
         0;
}

// A row-major, aligned copy of a tensor that lies at an odd address, as old PyTorch files have
// them.
Tensor Realigned(const Tensor& tensor) {
  const int64_t size = SizeOf(tensor.dtype);
  auto bytes =
      std::make_shared<std::vector<std::byte>>(static_cast<size_t>(tensor.elements() * size));
  std::vector<int64_t> index(tensor.shape.size(), 0);
  const std::byte* from = FirstElement(tensor);
  for (size_t at = 0; at < bytes->size(); at += static_cast<size_t>(size)) {
    std::memcpy(bytes->data() + at, from, static_cast<size_t>(size));
    for (size_t d = index.size(); d-- > 0;) {
      from += tensor.strides[d] * size;
      if (++index[d] < tensor.shape[d]) break;
      from -= index[d] * tensor.strides[d] * size;
      index[d] = 0;
    }
  }
  return {tensor.dtype, tensor.shape, RowMajorStrides(tensor.shape), 0, std::move(bytes)};
}

at::Tensor View(const Tensor& tensor) {
  // A bool is read as a byte: a file may hold any byte, but a C++ bool may not.
  const at::ScalarType type = tensor.dtype == DType::kBool ? at::kByte : ScalarType(tensor.dtype);
  void* data = const_cast<std::byte*>(FirstElement(tensor));  // only ever read
  const at::Tensor view = at::from_blob(data, tensor.shape, tensor.strides, at::dtype(type));
  return tensor.dtype == DType::kBool ? view.ne(0) : view;
}

}  // namespace

void ConvertTensor(const Tensor& tensor, DType dtype, std::span<std::byte> out) {
  if (tensor.elements() * SizeOf(dtype) != static_cast<int64_t>(out.size())) {
    throw std::logic_error("the buffer does not fit the tensor " + FormatShape(tensor.shape));
  }
  if (out.empty()) return;
  if (!IsAligned(tensor)) return ConvertTensor(Realigned(tensor), dtype, out);
  UseOneThread();
  at::from_blob(out.data(), tensor.shape, at::dtype(ScalarType(dtype))).copy_(View(tensor));
}

bool AllFinite(std::span<const std::byte> values, DType dtype) {
  UseOneThread();
  const int64_t count = static_cast<int64_t>(values.size()) / SizeOf(dtype);
  void* data = const_cast<std::byte*>(values.data());  // only ever read
  return at::isfinite(at::from_blob(data, {count}, at::dtype(ScalarType(dtype))))
      .all()
      .item<bool>();
}

}  // namespace spatialmamba
