#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/weights/pickle.h"
#include "model/weights/weight_file.h"
#include "model/weights/zip_archive.h"

namespace spatialmamba {

// Where a storage lies, as the persistent id in a PyTorch pickle names it.
struct TorchStorage {
  std::string_view key;
  std::optional<DType> dtype;  // none: bytes without a dtype (UntypedStorage)
  int64_t elements = 0;        // bytes, if there is no dtype
  // Views of storages, which only PyTorch before 0.4 wrote: the key of the view and where it
  // starts.
  std::optional<int64_t> view_offset;

  int64_t bytes() const { return elements * (dtype ? SizeOf(*dtype) : 1); }
};

// Throws CheckpointError if `id` is no storage or of a kind that is not supported.
TorchStorage ReadStorageId(const Pickle& pickle, Pickle::Ref id);

// Finds state dicts and tensors in a pickle of torch.save.
class TorchObjects : public WeightFile {
 public:
  // Gives the bytes of a storage; throws CheckpointError if the file lacks them.
  using FindStorage = std::function<ByteRange(const TorchStorage&)>;

  TorchObjects(std::string kind, FileBytes file, Pickle pickle, FindStorage find);

  std::string kind() const override { return kind_; }
  std::vector<std::string> state_dicts() const override { return names_; }
  std::map<std::string, Tensor> Read(const std::string& state_dict) const override;

 private:
  // Keys and values of a dict, or of an object that stands for one (OrderedDict, a subclass of
  // dict).
  const Pickle::Items& Items(Pickle::Ref ref) const;
  bool HoldsTensors(Pickle::Ref ref);
  bool IsTensor(Pickle::Ref ref) const;
  Tensor ReadTensor(Pickle::Ref ref, int depth) const;
  Tensor ReadView(const Pickle::Sequence& arguments, std::optional<DType> dtype) const;

  std::string kind_;
  FileBytes file_;
  Pickle pickle_;
  FindStorage find_;
  std::vector<std::string> names_;
  std::map<std::string_view, Pickle::Ref> state_dicts_;
  std::unordered_map<Pickle::Ref, bool> holds_tensors_;  // many names may stand for one dict
};

}  // namespace spatialmamba
