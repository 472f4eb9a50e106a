#include "model/weights/torch_objects.h"

#include <array>
#include <utility>

#include "model/weights/quoted.h"

namespace spatialmamba {
namespace {

// Far beyond any model; they bound the time that a file of repetitions can take.
constexpr size_t kMostTensors = 100'000;
constexpr size_t kLongestName = 1000;

constexpr std::array<std::pair<std::string_view, DType>, 10> kStorages = {
    {{"FloatStorage", DType::kFloat32},
     {"HalfStorage", DType::kFloat16},
     {"BFloat16Storage", DType::kBFloat16},
     {"DoubleStorage", DType::kFloat64},
     {"LongStorage", DType::kInt64},
     {"IntStorage", DType::kInt32},
     {"ShortStorage", DType::kInt16},
     {"CharStorage", DType::kInt8},
     {"ByteStorage", DType::kUInt8},
     {"BoolStorage", DType::kBool}}};

std::string FullName(const Pickle::Global& global) {
  return Quoted(std::string(global.module) + "." + std::string(global.name));
}

template <typename T>
const T& Argument(const Pickle& pickle, const Pickle::Sequence& arguments, size_t index) {
  const T* value = index < arguments.items.size() ? pickle.Get<T>(arguments.items[index]) : nullptr;
  if (value == nullptr) throw CheckpointError("its record in the pickle is damaged");
  return *value;
}

std::vector<int64_t> Sizes(const Pickle& pickle, const Pickle::Sequence& list) {
  std::vector<int64_t> sizes;
  if (list.items.size() > 64) throw CheckpointError("it has too many dimensions");
  for (size_t i = 0; i < list.items.size(); ++i)
    sizes.push_back(Argument<int64_t>(pickle, list, i));
  return sizes;
}

const Pickle::Global* Callable(const Pickle& pickle, Pickle::Ref ref) {
  const auto* record = pickle.Get<Pickle::Record>(ref);
  return record == nullptr ? nullptr : pickle.Get<Pickle::Global>(record->callable);
}

}  // namespace

TorchStorage ReadStorageId(const Pickle& pickle, Pickle::Ref id) {
  const auto* parts = pickle.Get<Pickle::Sequence>(id);
  if (parts == nullptr || Argument<std::string_view>(pickle, *parts, 0) != "storage") {
    throw CheckpointError("its storage has no name that PyTorch would give");
  }
  const auto& type = Argument<Pickle::Global>(pickle, *parts, 1);
  TorchStorage storage;
  storage.key = Argument<std::string_view>(pickle, *parts, 2);
  storage.elements = Argument<int64_t>(pickle, *parts, 4);
  for (const auto& [name, dtype] : kStorages) {
    if (type.name == name) storage.dtype = dtype;
  }
  if (!storage.dtype && type.name != "UntypedStorage") {
    throw CheckpointError("its storage is a " + FullName(type) + ", which is not supported");
  }
  if (storage.elements < 0 || storage.elements > (int64_t{1} << 56)) {
    throw CheckpointError("its storage has an impossible size");
  }
  if (parts->items.size() > 5) {
    if (const auto* view = pickle.Get<Pickle::Sequence>(parts->items[5])) {
      storage.view_offset = Argument<int64_t>(pickle, *view, 1);
    }
  }
  return storage;
}

TorchObjects::TorchObjects(std::string kind, FileBytes file, Pickle pickle, FindStorage find)
    : kind_(std::move(kind)),
      file_(std::move(file)),
      pickle_(std::move(pickle)),
      find_(std::move(find)) {
  for (const auto& [key, value] : Items(pickle_.root())) {
    const auto* name = pickle_.Get<std::string_view>(key);
    if (name == nullptr || name->empty() || name->size() > kLongestName) continue;
    if (!HoldsTensors(value)) continue;
    if (state_dicts_.insert_or_assign(*name, value).second) names_.emplace_back(*name);
    if (names_.size() > kMostTensors) throw CheckpointError("holds too many state dicts");
  }
  if (HoldsTensors(pickle_.root())) {
    state_dicts_[""] = pickle_.root();
    names_.emplace_back();
  }
}

const Pickle::Items& TorchObjects::Items(Pickle::Ref ref) const {
  static const Pickle::Items none;
  if (const auto* dict = pickle_.Get<Pickle::Dict>(ref)) return dict->items;
  const auto* record = pickle_.Get<Pickle::Record>(ref);
  return record == nullptr ? none : record->items;
}

bool TorchObjects::HoldsTensors(Pickle::Ref ref) {
  const auto [found, is_new] = holds_tensors_.emplace(ref, false);
  if (is_new) {
    for (const auto& [key, value] : Items(ref)) {
      if (pickle_.Get<std::string_view>(key) != nullptr && IsTensor(value)) {
        found->second = true;
        break;
      }
    }
  }
  return found->second;
}

bool TorchObjects::IsTensor(Pickle::Ref ref) const {
  const Pickle::Global* callable = Callable(pickle_, ref);
  return callable != nullptr && callable->name.starts_with("_rebuild_") &&
         (callable->module == "torch._utils" || callable->module == "torch._tensor");
}

std::map<std::string, Tensor> TorchObjects::Read(const std::string& state_dict) const {
  const auto found = state_dicts_.find(state_dict);
  if (found == state_dicts_.end()) throw CheckpointError("has no state dict " + Quoted(state_dict));
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, value] : Items(found->second)) {
    const auto* name = pickle_.Get<std::string_view>(key);
    if (name == nullptr || !IsTensor(value)) continue;
    if (name->size() > kLongestName) throw CheckpointError("has a name that is too long");
    try {
      tensors.insert_or_assign(std::string(*name), ReadTensor(value, 0));
    } catch (const CheckpointError& error) {
      throw CheckpointError("has a tensor " + Quoted(*name) + " that is unusable: " + error.what());
    }
    if (tensors.size() > kMostTensors) throw CheckpointError("holds too many tensors");
  }
  return tensors;
}

// The functions of torch._utils and torch._tensor that a pickle names, with their arguments.
Tensor TorchObjects::ReadTensor(Pickle::Ref ref, int depth) const {
  const auto* record = pickle_.Get<Pickle::Record>(ref);
  const Pickle::Global* callable = Callable(pickle_, ref);
  const auto* arguments =
      record == nullptr ? nullptr : pickle_.Get<Pickle::Sequence>(record->arguments);
  if (callable == nullptr || arguments == nullptr || depth > 4) {
    throw CheckpointError("its record in the pickle is damaged");
  }
  const std::string_view name = callable->name;
  if (name == "_rebuild_tensor" || name == "_rebuild_tensor_v2") return ReadView(*arguments, {});
  if (name == "_rebuild_tensor_v3") {
    const auto dtype = FindDType(Argument<Pickle::Global>(pickle_, *arguments, 6).name);
    if (dtype) return ReadView(*arguments, dtype);
  }
  if (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state") {
    Argument<Pickle::Record>(pickle_, *arguments, 0);
    return ReadTensor(arguments->items[0], depth + 1);
  }
  if (name == "_rebuild_from_type_v2") {  // function, type, its arguments, state
    const auto& function = Argument<Pickle::Global>(pickle_, *arguments, 0);
    if (function.name == "_rebuild_tensor" || function.name == "_rebuild_tensor_v2") {
      return ReadView(Argument<Pickle::Sequence>(pickle_, *arguments, 2), {});
    }
  }
  throw CheckpointError("it is stored by " + FullName(*callable) +
                        " in a way that is not supported");
}

// storage, offset, shape, strides, ... An untyped storage needs a dtype.
Tensor TorchObjects::ReadView(const Pickle::Sequence& arguments, std::optional<DType> dtype) const {
  const auto& persistent = Argument<Pickle::Persistent>(pickle_, arguments, 0);
  const TorchStorage storage = ReadStorageId(pickle_, persistent.id);
  if (!dtype) dtype = storage.dtype;
  if (!dtype) throw CheckpointError("it has no dtype");
  Tensor tensor;
  tensor.dtype = *dtype;
  tensor.offset = Argument<int64_t>(pickle_, arguments, 1);
  tensor.shape = Sizes(pickle_, Argument<Pickle::Sequence>(pickle_, arguments, 2));
  tensor.strides = Sizes(pickle_, Argument<Pickle::Sequence>(pickle_, arguments, 3));
  const ByteRange bytes = find_(storage);
  tensor.storage = file_;
  tensor.base = bytes.position;
  CheckTensor(tensor, bytes.size);
  return tensor;
}

}  // namespace spatialmamba
