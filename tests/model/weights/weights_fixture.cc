#include "tests/model/weights/weights_fixture.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

#include "model/weights/weight_file.h"

namespace spatialmamba::fixture {
namespace {

template <typename T>
std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string Join(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += item;
  return text;
}

std::string IntegerTuple(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(Integer(value));
  return Tuple(items);
}

// What a local header and a directory entry have in common, after the version: flags, method, time,
// date, checksum, sizes and lengths of name and extra field.
std::string EntryFacts(const std::string& name, const std::string& content) {
  const auto size = static_cast<uint32_t>(content.size());
  return std::string(12, '\0') + Raw(size) + Raw(size) + Raw(static_cast<uint16_t>(name.size())) +
         Raw<uint16_t>(0);
}

}  // namespace

std::filesystem::path GoldenCheckpoint(const std::string& name) {
  return std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/oracle/golden/checkpoints" / name;
}

FileBytes ToBytes(std::string_view content) {
  const auto bytes = std::as_bytes(std::span(content));
  return std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
}

std::string Content(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

Checkpoint Read(std::string_view content, const CheckpointOptions& options) {
  return ReadCheckpoint(ToBytes(content), "test.pth", options);
}

std::string ErrorOf(std::string_view content, const CheckpointOptions& options) {
  try {
    const Checkpoint checkpoint = Read(content, options);
    for (const auto& [name, tensor] : checkpoint.tensors) static_cast<void>(tensor.ToFloat());
    return "";
  } catch (const CheckpointError& error) {
    return error.what();
  }
}

std::string Text(std::string_view text) {
  return std::string("X") + Raw(static_cast<uint32_t>(text.size())) + std::string(text);
}

std::string Integer(int64_t value) { return std::string("\x8a\x08", 2) + Raw(value); }

std::string Tuple(const std::vector<std::string>& items) {
  std::string text = "(";
  return text.append(Join(items)).append("t");
}

std::string List(const std::vector<std::string>& items) {
  return std::string("](") + Join(items) + "e";
}

std::string Dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string text = "}(";
  for (const auto& [key, value] : items) text += Text(key) + value;
  return text + "u";
}

std::string Global(std::string_view module, std::string_view name) {
  return std::string("c") + std::string(module) + "\n" + std::string(name) + "\n";
}

std::string Call(const std::string& function, const std::string& arguments) {
  return function + arguments + "R";
}

std::string Pickled(const std::string& value) { return std::string("\x80\x02") + value + "."; }

std::string TensorPickle(const TensorRecord& record) {
  const std::string storage = Tuple({Text("storage"), Global("torch", record.storage_type),
                                     Text(record.key), Text("cpu"), Integer(record.stored)}) +
                              "Q";
  return Call(Global("torch._utils", "_rebuild_tensor_v2"),
              Tuple({storage, Integer(record.offset), IntegerTuple(record.shape),
                     IntegerTuple(record.strides), "\x89", "N"}));
}

std::string Zip(const std::map<std::string, std::string>& entries) {
  std::string file;
  std::string directory;
  for (const auto& [name, content] : entries) {
    const auto header = static_cast<uint32_t>(file.size());
    file +=
        Raw<uint32_t>(0x04034b50) + Raw<uint16_t>(20) + EntryFacts(name, content) + name + content;
    directory += Raw<uint32_t>(0x02014b50) + Raw<uint16_t>(20) + Raw<uint16_t>(20) +
                 EntryFacts(name, content) + std::string(10, '\0') + Raw(header) + name;
  }
  const auto count = static_cast<uint16_t>(entries.size());
  const auto start = static_cast<uint32_t>(file.size());
  return file + directory + Raw<uint32_t>(0x06054b50) + Raw<uint32_t>(0) + Raw(count) + Raw(count) +
         Raw(static_cast<uint32_t>(directory.size())) + Raw(start) + Raw<uint16_t>(0);
}

std::string TorchFile(const std::string& value,
                      const std::map<std::string, std::string>& storages) {
  std::map<std::string, std::string> entries = {{"any/data.pkl", Pickled(value)},
                                                {"any/byteorder", "little"}};
  for (const auto& [key, content] : storages) entries["any/data/" + key] = content;
  return Zip(entries);
}

std::string FourFloats() { return Raw(0.0F) + Raw(1.0F) + Raw(2.0F) + Raw(3.0F); }

}  // namespace spatialmamba::fixture
