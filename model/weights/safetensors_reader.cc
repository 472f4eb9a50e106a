#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "model/weights/byte_cursor.h"
#include "model/weights/quoted.h"
#include "model/weights/safetensors_dtype.h"
#include "model/weights/weight_file.h"

namespace spatialmamba {
namespace {

using Json = nlohmann::json;

// A header takes a dozen times its size while it is parsed; models of ours have a tenth of this.
constexpr uint64_t kLongestHeader = 4'000'000;

// Refuses what no header has while it is read: deep nesting, and a tensor that is named twice.
Json ParseHeader(std::string_view text) {
  std::set<std::string> names;
  const auto check = [&names](int depth, Json::parse_event_t event, Json& value) {
    if (depth > 3) throw CheckpointError("has a safetensors header that nests too deeply");
    if (event == Json::parse_event_t::key && depth == 1 &&
        !names.insert(value.get<std::string>()).second) {
      throw CheckpointError("has " + Quoted(value.get<std::string>()) + " twice");
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception&) {
    throw CheckpointError("has a safetensors header that is no JSON: it was cut off or is damaged");
  }
}

std::vector<int64_t> Integers(const Json& list) {
  std::vector<int64_t> numbers;
  if (!list.is_array()) throw CheckpointError("its shape or offsets are no lists");
  for (const Json& number : list) {
    const bool fits = number.is_number_integer() && (!number.is_number_unsigned() ||
                                                     number.get<uint64_t>() <= uint64_t{INT64_MAX});
    if (!fits || number.get<int64_t>() < 0)
      throw CheckpointError("its shape or offsets are no sizes");
    numbers.push_back(number.get<int64_t>());
  }
  return numbers;
}

class Safetensors : public WeightFile {
 public:
  explicit Safetensors(FileBytes file) : file_(std::move(file)) {
    ByteCursor cursor(*file_);
    const auto length = cursor.Read<uint64_t>();
    if (length > kLongestHeader) throw CheckpointError("has a safetensors header of over 4 MB");
    const Json header = ParseHeader(cursor.Take(length));
    start_ = cursor.position();
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        ReadMetadata(value);
      } else {
        AddTensor(name, value);
      }
    }
    CheckCover();
  }

  std::string kind() const override { return "safetensors"; }

  std::vector<std::string> state_dicts() const override {
    if (tensors_.empty()) return {};
    return {""};
  }

  std::map<std::string, Tensor> Read(const std::string&) const override { return tensors_; }

  std::map<std::string, std::string> metadata() const override { return metadata_; }

 private:
  void ReadMetadata(const Json& value) {
    if (!value.is_object()) throw CheckpointError("has safetensors metadata that are no map");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string())
        throw CheckpointError("has metadata " + Quoted(key) + " that is no text");
      metadata_[key] = text.get<std::string>();
    }
  }

  void AddTensor(const std::string& name, const Json& value) {
    try {
      const auto field = [&value](const char* key) {
        return value.is_object() && value.contains(key) ? value[key] : Json();
      };
      const Json dtype = field("dtype");
      Tensor tensor;
      tensor.dtype = FromSafetensorsName(dtype.is_string() ? dtype.get<std::string>() : "");
      tensor.shape = Integers(field("shape"));
      const std::vector<int64_t> range = Integers(field("data_offsets"));
      const int64_t size = static_cast<int64_t>(file_->size()) - start_;
      if (range.size() != 2 || range[0] > range[1] || range[1] > size) {
        throw CheckpointError(
            "its offsets lie outside of the file, which was cut off or is damaged");
      }
      tensor.strides.assign(tensor.shape.size(), 0);
      CheckTensor(tensor, SizeOf(tensor.dtype));  // so that the product of the sides is a number
      tensor.strides = RowMajorStrides(tensor.shape);
      tensor.storage = file_;
      tensor.base = start_ + range[0];
      CheckTensor(tensor, range[1] - range[0]);
      if (tensor.elements() * SizeOf(tensor.dtype) != range[1] - range[0]) {
        throw CheckpointError("its offsets do not fit its shape " + FormatShape(tensor.shape));
      }
      ranges_.emplace_back(range[0], range[1]);
      tensors_[name] = std::move(tensor);
    } catch (const CheckpointError& error) {
      throw CheckpointError("has a tensor " + Quoted(name) + " that is unusable: " + error.what());
    }
  }

  // The tensors must follow each other without gaps and overlaps up to the end, as the format says.
  void CheckCover() {
    std::sort(ranges_.begin(), ranges_.end());
    int64_t end = 0;
    for (const auto& [first, last] : ranges_) {
      if (first != end)
        throw CheckpointError("has tensors that overlap or leave gaps: it is damaged");
      end = last;
    }
    if (start_ + end != static_cast<int64_t>(file_->size())) {
      throw CheckpointError("has bytes after its last tensor: it is damaged");
    }
  }

  FileBytes file_;
  int64_t start_ = 0;  // of the tensors' bytes
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::pair<int64_t, int64_t>> ranges_;
};

}  // namespace

std::unique_ptr<WeightFile> OpenSafetensors(const FileBytes& file) {
  return std::make_unique<Safetensors>(file);
}

}  // namespace spatialmamba
