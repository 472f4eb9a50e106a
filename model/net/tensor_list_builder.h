#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/weights/binder.h"

namespace spatialmamba {

// Collects the tensors that a network expects, layer by layer, under PyTorch's names of their
// parts.
class TensorListBuilder {
 public:
  using Shape = std::vector<int64_t>;

  void Add(const std::string& key, Shape shape) { tensors_.push_back({key, std::move(shape)}); }

  void LayerNorm(const std::string& key, int64_t channels) {
    Add(key + ".weight", {channels});
    Add(key + ".bias", {channels});
  }

  void BatchNorm(const std::string& key, int64_t channels) {
    LayerNorm(key, channels);
    Add(key + ".running_mean", {channels});
    Add(key + ".running_var", {channels});
    tensors_.push_back({key + ".num_batches_tracked", {}, true});
  }

  void Depthwise(const std::string& key, int64_t channels) {
    Add(key + ".weight", {channels, 1, 3, 3});
    Add(key + ".bias", {channels});
  }

  // A convolution or a linear layer with a bias; `weight` begins with the outputs.
  void Biased(const std::string& key, Shape weight) {
    const int64_t outputs = weight[0];
    Add(key + ".weight", std::move(weight));
    Add(key + ".bias", {outputs});
  }

  void Append(std::vector<ExpectedTensor> tensors) {
    for (ExpectedTensor& tensor : tensors) tensors_.push_back(std::move(tensor));
  }

  std::vector<ExpectedTensor> Take() { return std::move(tensors_); }

 private:
  std::vector<ExpectedTensor> tensors_;
};

}  // namespace spatialmamba
