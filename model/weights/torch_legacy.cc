#include <map>
#include <memory>
#include <string>
#include <utility>

#include "model/weights/quoted.h"
#include "model/weights/torch_objects.h"

namespace spatialmamba {
namespace {

// The first pickle of the file is this number, 0x1950a86a20f9469cfc6c.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kProtocol = 1001;

void CheckMagic(ByteCursor& cursor) {
  const Pickle magic = Pickle::Read(cursor);
  const auto* number = magic.Get<Pickle::LongInteger>(magic.root());
  if (number == nullptr || number->digits != kMagic) {
    throw CheckpointError("is a pickle, but none that torch.save wrote");
  }
  const Pickle protocol = Pickle::Read(cursor);
  const auto* version = protocol.Get<int64_t>(protocol.root());
  if (version == nullptr || *version != kProtocol) {
    throw CheckpointError("has an unknown version of PyTorch's old format");
  }
}

void CheckSystem(ByteCursor& cursor) {
  const Pickle system = Pickle::Read(cursor);
  const auto* facts = system.Get<Pickle::Dict>(system.root());
  if (facts == nullptr) throw CheckpointError("does not say on which system it was saved");
  for (const auto& [key, value] : facts->items) {
    const auto* name = system.Get<std::string_view>(key);
    const auto* flag = system.Get<bool>(value);
    if (name != nullptr && *name == "little_endian" && flag != nullptr && !*flag) {
      throw CheckpointError("is big endian; save it again on a little endian machine");
    }
  }
}

// A model that was saved whole also names the sources of its classes this way.
bool IsModule(const Pickle& pickle, Pickle::Ref id) {
  const auto* parts = pickle.Get<Pickle::Sequence>(id);
  if (parts == nullptr || parts->items.empty()) return false;
  const auto* kind = pickle.Get<std::string_view>(parts->items[0]);
  return kind != nullptr && *kind == "module";
}

// How long an element of each storage is, which the bytes themselves do not say.
std::map<std::string_view, int64_t> ElementSizes(const Pickle& pickle) {
  std::map<std::string_view, int64_t> sizes;
  for (const Pickle::Value& value : pickle.values()) {
    const auto* persistent = std::get_if<Pickle::Persistent>(&value);
    if (persistent == nullptr || IsModule(pickle, persistent->id)) continue;
    const TorchStorage storage = ReadStorageId(pickle, persistent->id);
    const int64_t size = storage.dtype ? SizeOf(*storage.dtype) : 1;
    const auto [known, is_new] = sizes.emplace(storage.key, size);
    if (!is_new && known->second != size) {
      throw CheckpointError("names the storage " + Quoted(storage.key) + " with two dtypes");
    }
  }
  return sizes;
}

using Storages = std::map<std::string, ByteRange, std::less<>>;

// After the pickles: each storage as its number of elements and their bytes, in the order of the
// list of keys.
Storages ReadStorages(ByteCursor& cursor, const std::map<std::string_view, int64_t>& sizes) {
  const Pickle keys = Pickle::Read(cursor);
  const auto* list = keys.Get<Pickle::Sequence>(keys.root());
  if (list == nullptr) throw CheckpointError("has no list of its storages");
  Storages storages;
  for (const Pickle::Ref ref : list->items) {
    const auto* key = keys.Get<std::string_view>(ref);
    const auto size = key == nullptr ? sizes.end() : sizes.find(*key);
    if (size == sizes.end()) throw CheckpointError("holds a storage that no tensor names");
    const auto elements = cursor.Read<int64_t>();
    int64_t bytes = 0;
    if (elements < 0 || __builtin_mul_overflow(elements, size->second, &bytes)) {
      throw CheckpointError("has a storage of an impossible size");
    }
    const ByteRange range{cursor.position(), bytes};
    cursor.Take(static_cast<uint64_t>(bytes));
    if (!storages.emplace(*key, range).second) {
      throw CheckpointError("holds the storage " + Quoted(*key) + " twice");
    }
  }
  return storages;
}

ByteRange Find(const Storages& storages, const TorchStorage& storage) {
  const auto found = storages.find(storage.key);
  if (found == storages.end()) throw CheckpointError("its storage is missing");
  const ByteRange range = found->second;
  const int64_t size = storage.dtype ? SizeOf(*storage.dtype) : 1;
  const int64_t skipped = storage.view_offset.value_or(0);
  const int64_t stored = range.size / size;
  // The number of elements belongs to the whole storage; old views only start later in it.
  if (skipped < 0 || skipped > stored || storage.elements > stored) {
    throw CheckpointError("its storage claims more than the file's " + std::to_string(stored) +
                          " elements");
  }
  return {range.position + skipped * size, range.size - skipped * size};
}

}  // namespace

std::unique_ptr<WeightFile> OpenTorchLegacy(const FileBytes& file) {
  ByteCursor cursor(*file);
  CheckMagic(cursor);
  CheckSystem(cursor);
  Pickle pickle = Pickle::Read(cursor);
  const auto storages =
      std::make_shared<const Storages>(ReadStorages(cursor, ElementSizes(pickle)));
  return std::make_unique<TorchObjects>(
      "PyTorch before 1.6", file, std::move(pickle),
      [storages](const TorchStorage& storage) { return Find(*storages, storage); });
}

}  // namespace spatialmamba
