#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "model/weights/quoted.h"
#include "model/weights/torch_objects.h"
#include "model/weights/zip_archive.h"

namespace spatialmamba {
namespace {

constexpr std::string_view kPickleName = "data.pkl";

// torch.save puts all entries into one folder, which is named after the file as it was then.
std::string FindFolder(const ZipArchive& archive) {
  const std::string_view* found = nullptr;
  for (const auto& [name, entry] : archive.entries()) {
    const size_t slash = name.find('/');
    const size_t start = slash == std::string_view::npos ? 0 : slash + 1;
    if (name.substr(start) != kPickleName) continue;
    if (found != nullptr)
      throw CheckpointError("is a zip file with several " + Quoted(kPickleName));
    found = &name;
  }
  if (found == nullptr) {
    throw CheckpointError("is a zip file, but none that torch.save wrote: it has no " +
                          Quoted(kPickleName));
  }
  const std::string folder(found->substr(0, found->size() - kPickleName.size()));
  if (archive.Has(folder + "constants.pkl")) {
    throw CheckpointError("is a TorchScript program; save the state_dict() of the model instead");
  }
  return folder;
}

void CheckByteOrder(const FileBytes& file, ZipArchive& archive, const std::string& folder) {
  if (!archive.Has(folder + "byteorder")) return;
  const ByteRange range = archive.Find(folder + "byteorder");
  const std::string_view order =
      ByteCursor(*file, range.position).Take(static_cast<uint64_t>(range.size));
  if (order != "little") {
    throw CheckpointError("has the byte order " + Quoted(order) +
                          "; save it again on a little endian machine");
  }
}

// Gives the storages of the archive, each of which is checked once however many tensors share it.
class Storages {
 public:
  Storages(ZipArchive archive, std::string folder)
      : archive_(std::move(archive)), folder_(std::move(folder)) {}

  ByteRange operator()(const TorchStorage& storage) {
    auto known = found_.find(storage.key);
    if (known == found_.end()) {
      const ByteRange range = archive_.Find(folder_ + "data/" + std::string(storage.key));
      known = found_.emplace(storage.key, range).first;
    }
    if (storage.bytes() > known->second.size) {
      throw CheckpointError("its storage claims " + std::to_string(storage.bytes()) + " bytes of " +
                            std::to_string(known->second.size));
    }
    return {known->second.position, storage.bytes()};
  }

 private:
  ZipArchive archive_;
  std::string folder_;
  std::unordered_map<std::string_view, ByteRange> found_;
};

}  // namespace

std::unique_ptr<WeightFile> OpenTorchZip(const FileBytes& file) {
  ZipArchive archive(file);
  const std::string folder = FindFolder(archive);
  CheckByteOrder(file, archive, folder);
  const ByteRange range = archive.Find(folder + std::string(kPickleName));
  const auto first = static_cast<size_t>(range.position);
  const std::span<const std::byte> bytes(*file);
  ByteCursor cursor(bytes.subspan(first, static_cast<size_t>(range.size)));
  Pickle pickle = Pickle::Read(cursor);
  const auto storages = std::make_shared<Storages>(std::move(archive), folder);
  return std::make_unique<TorchObjects>(
      "PyTorch", file, std::move(pickle),
      [storages](const TorchStorage& storage) { return (*storages)(storage); });
}

}  // namespace spatialmamba
