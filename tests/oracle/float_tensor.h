#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "model/weights/tensor.h"

namespace spatialmamba::oracle {

// Row-major values as a checkpoint would hold them.
inline spatialmamba::Tensor FloatTensor(const std::vector<float>& values,
                                        const std::vector<int64_t>& shape) {
  spatialmamba::Tensor tensor{.dtype = DType::kFloat32, .shape = shape};
  tensor.strides.resize(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) tensor.strides[i] = stride;
  auto storage = std::make_shared<std::vector<std::byte>>(values.size() * sizeof(float));
  std::memcpy(storage->data(), values.data(), storage->size());
  tensor.storage = std::move(storage);
  return tensor;
}

}  // namespace spatialmamba::oracle
