#include "model/weights/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "model/weights/checkpoint.h"
#include "model/weights/convert_tensor.h"
#include "model/weights/quoted.h"
#include "model/weights/safetensors_dtype.h"

namespace spatialmamba {
namespace {

// A file under a temporary name; Publish gives it its own, else it is removed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& file)
      : file_(file), path_(file.string() + ".tmp-" + std::to_string(getpid())) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) ThrowSystemError();
  }
  ~TemporaryFile() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) ThrowSystemError();
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
  }

  void Publish() {
    if (fsync(fd_) != 0 || rename(path_.c_str(), file_.c_str()) != 0) ThrowSystemError();
    close(std::exchange(fd_, -1));
  }

 private:
  [[noreturn]] void ThrowSystemError() const {
    throw CheckpointError("file " + file_.string() + " cannot be written: " + std::strerror(errno));
  }

  std::filesystem::path file_;
  std::filesystem::path path_;
  int fd_ = -1;
};

struct Item {
  const std::string* name;
  const Tensor* tensor;
  DType dtype;  // in the file
};

// Wide elements first, so that each tensor lies aligned; then by name.
std::vector<Item> Order(const std::map<std::string, Tensor>& tensors, std::optional<DType> dtype) {
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    const bool convert = dtype.has_value() && IsFloating(tensor.dtype);
    items.push_back({&name, &tensor, convert ? *dtype : tensor.dtype});
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return SizeOf(a.dtype) > SizeOf(b.dtype); });
  return items;
}

std::string Header(const std::vector<Item>& items,
                   const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t position = 0;
  for (const Item& item : items) {
    const int64_t end = position + item.tensor->elements() * SizeOf(item.dtype);
    header[*item.name] = {{"dtype", SafetensorsName(item.dtype)},
                          {"shape", item.tensor->shape},
                          {"data_offsets", {position, end}}};
    position = end;
  }
  try {
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  } catch (const nlohmann::json::exception&) {
    throw CheckpointError("a name or a metadata value is not valid UTF-8, which safetensors needs");
  }
}

std::vector<std::byte> Values(const Item& item) {
  std::vector<std::byte> values(static_cast<size_t>(item.tensor->elements() * SizeOf(item.dtype)));
  ConvertTensor(*item.tensor, item.dtype, values);
  if (item.dtype == DType::kFloat16 && item.tensor->dtype != DType::kFloat16 &&
      !AllFinite(values, item.dtype)) {
    throw CheckpointError("tensor " + Quoted(*item.name) +
                          " has values beyond the range of float16; use bfloat16");
  }
  return values;
}

}  // namespace

void WriteSafetensors(const std::filesystem::path& file,
                      const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata,
                      std::optional<DType> dtype) {
  const std::vector<Item> items = Order(tensors, dtype);
  const std::string header = Header(items, metadata);
  const uint64_t length = header.size();
  TemporaryFile out(file);
  out.Write(std::as_bytes(std::span(&length, 1)));
  out.Write(std::as_bytes(std::span(header)));
  for (const Item& item : items) out.Write(Values(item));
  out.Publish();
}

}  // namespace spatialmamba
