#include "tests/server/tiny_model.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "model/net/mask_rcnn_tensors.h"
#include "model/net/tensor_list.h"
#include "model/net/upernet_tensors.h"
#include "model/weights/safetensors_writer.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

Tensor FloatTensor(const std::vector<float>& values, const std::vector<int64_t>& shape) {
  auto storage = std::make_shared<std::vector<std::byte>>(values.size() * sizeof(float));
  std::memcpy(storage->data(), values.data(), storage->size());
  return {.dtype = DType::kFloat32,
          .shape = shape,
          .strides = RowMajorStrides(shape),
          .storage = std::move(storage)};
}

std::vector<ExpectedTensor> TensorsOf(const TinyModel& model) {
  const ModelSpec spec{.task = model.task,
                       .variant = model.variant,
                       .classes = model.classes,
                       .detect = model.detect,
                       .segment = model.segment};
  if (model.task == VisionTask::kDetect) return MaskRcnnTensors(spec);
  if (model.task == VisionTask::kSegment) return UperNetTensors(spec);
  return ClassifierTensors(model.variant, model.classes);
}

}  // namespace

TinyModel TinyDetector(bool masks) {
  TinyModel model;
  model.task = VisionTask::kDetect;
  model.detect = {.fpn_channels = 16, .fc_channels = 32, .masks = masks};
  model.metadata["task"] = "detect";
  model.metadata["preprocess"] = R"({"scale": [160, 96]})";
  return model;
}

TinyModel TinySegmenter(int64_t classes) {
  TinyModel model;
  model.task = VisionTask::kSegment;
  model.classes = classes;
  model.segment.channels = 16;
  model.metadata["task"] = "segment";
  model.metadata["preprocess"] = R"({"scale": [256, 64]})";
  return model;
}

void WriteTinyModel(const std::filesystem::path& file, const TinyModel& model) {
  std::map<std::string, Tensor> tensors;
  for (const ExpectedTensor& tensor : TensorsOf(model)) {
    if (tensor.optional) continue;
    tensors[tensor.key] =
        FloatTensor(oracle::Tensor(model.seed, tensor.key, tensor.shape), tensor.shape);
  }
  WriteSafetensors(file, tensors, model.metadata);
}

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "spatial-mamba-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no scratch folder: " + name);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace spatialmamba
