#include "model/weights/weight_file.h"

#include <algorithm>

#include "model/weights/byte_cursor.h"
#include "model/weights/quoted.h"
#include "model/weights/zip_archive.h"

namespace spatialmamba {
namespace {

constexpr size_t kMostDimensions = 16;
constexpr size_t kMostListed = 20;

bool AddProduct(int64_t a, int64_t b, int64_t& sum) {
  int64_t product = 0;
  return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(sum, product, &sum);
}

// "model, model_ema and the top level"
std::string List(const std::vector<std::string>& state_dicts) {
  std::string text;
  for (size_t i = 0; i < state_dicts.size() && i < kMostListed; ++i) {
    if (i > 0) text += ", ";
    text += state_dicts[i].empty() ? "the top level" : Quoted(state_dicts[i]);
  }
  const size_t more = state_dicts.size() - std::min(state_dicts.size(), kMostListed);
  return more == 0 ? text : text + " and " + std::to_string(more) + " more";
}

}  // namespace

std::unique_ptr<WeightFile> OpenWeightFile(const FileBytes& file) {
  if (file->empty()) throw CheckpointError("is empty");
  if (ZipArchive::Looks(*file)) return OpenTorchZip(file);
  // Before the pickle: a safetensors file begins with the size of its header, whose first byte may
  // be a pickle's.
  if (file->size() > 8 && (*file)[8] == std::byte{'{'}) return OpenSafetensors(file);
  if (file->front() == std::byte{0x80}) return OpenTorchLegacy(file);
  const std::string_view start = ByteCursor(*file).Take(std::min<size_t>(file->size(), 40));
  if (start.starts_with("version https://git-lfs")) {
    throw CheckpointError("is only a pointer of Git LFS: run `git lfs pull`");
  }
  if (start.starts_with("<")) {
    throw CheckpointError("is a web page: download the file itself");
  }
  throw CheckpointError("is neither a safetensors nor a PyTorch file");
}

std::string ChooseStateDict(const WeightFile& file, const std::string& wanted) {
  const std::vector<std::string> names = file.state_dicts();
  const auto has = [&names](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (names.empty()) throw CheckpointError("holds no tensors; save the model's state_dict()");
  if (!wanted.empty()) {
    if (has(wanted)) return wanted;
    throw CheckpointError("has no state dict " + Quoted(wanted) + "; it holds tensors under " +
                          List(names));
  }
  for (const char* name : {"model", "state_dict", ""}) {
    if (has(name)) return name;
  }
  throw CheckpointError("holds tensors under " + List(names) +
                        ", none of which is the usual one; say which to take");
}

void CheckTensor(const Tensor& tensor, int64_t storage_bytes) {
  const std::vector<int64_t>& shape = tensor.shape;
  if (shape.size() > kMostDimensions) {
    throw CheckpointError("it has " + std::to_string(shape.size()) + " dimensions");
  }
  if (shape.size() != tensor.strides.size())
    throw CheckpointError("its strides do not fit its shape");
  bool empty = false;
  int64_t bytes = SizeOf(tensor.dtype);
  int64_t last = tensor.offset;  // index of the last element that is reached
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0 || tensor.strides[i] < 0)
      throw CheckpointError("its shape or strides are negative");
    empty = empty || shape[i] == 0;
    const int64_t side = std::max<int64_t>(shape[i], 1);
    if (__builtin_mul_overflow(bytes, side, &bytes) ||
        !AddProduct(side - 1, tensor.strides[i], last)) {
      throw CheckpointError("its shape " + FormatShape(shape) + " is too large for any file");
    }
  }
  const int64_t stored = storage_bytes / SizeOf(tensor.dtype);
  if (tensor.offset < 0 || tensor.offset > stored || (!empty && last >= stored)) {
    throw CheckpointError("its shape " + FormatShape(shape) + " reaches beyond its storage of " +
                          std::to_string(stored) + " elements");
  }
}

}  // namespace spatialmamba
