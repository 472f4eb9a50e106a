#include "model/net/cuda_segment_answers.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "model/ops/cuda_api.h"
#include "model/ops/device_arena.h"
#include "model/ops/resize_argmax_cuda.h"
#include "model/ops/row_items.h"

namespace spatialmamba {
namespace {

void CheckQueries(std::span<const Span> spans, std::span<const SegmentQuery> queries) {
  if (queries.size() != spans.size()) {
    throw std::invalid_argument("UperNet: there must be one query for each image");
  }
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (const SegmentQuery& query : queries) {
    const PixelSize& size = query.original;
    if (size.height < 1 || size.width < 1) {
      throw std::invalid_argument("UperNet: a picture has no pixels");
    }
    if (size.height > kMost || size.width > kMost || size.height > kMost / size.width) {
      throw std::invalid_argument("UperNet: a picture has more than 2^31 pixels");
    }
  }
}

template <typename T>
const T* At(const void* memory, size_t offset) {
  return reinterpret_cast<const T*>(static_cast<const char*>(memory) + offset);
}

template <typename T>
T* At(void* memory, size_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(memory) + offset);
}

size_t Pixels(const PixelSize& size) { return static_cast<size_t>(size.height * size.width); }

size_t LogitStride(size_t classes) {
  return static_cast<size_t>(
      DeviceArena::Stride(static_cast<int64_t>(classes), DeviceType::kFloat32));
}

}  // namespace

CudaSegmentAnswers::CudaSegmentAnswers(std::span<const Span> spans,
                                       std::span<const SegmentQuery> queries, int64_t classes)
    : classes_(static_cast<size_t>(classes)) {
  CheckQueries(spans, queries);
  const SpanList heads = Halved(Halved(SpanList(spans.begin(), spans.end())));
  for (size_t i = 0; i < spans.size(); ++i) {
    Image& image = images_.emplace_back();
    image.head = heads[i];
    image.input = {spans[i].height, spans[i].width};
    image.query = queries[i];
  }
  size_t used = 0;
  const auto take = [&used](size_t bytes) {
    const size_t taken = used;
    used += DeviceArena::RoundUp(bytes);
    return taken;
  };
  take(CountsBytes());
  for (Image& image : images_) {
    image.labels = take(Pixels(image.query.original) * sizeof(uint16_t));
  }
  device_bytes_ = used;
  not_finite_ = take(images_.size() * sizeof(int));
  for (Image& image : images_) {
    if (image.query.confidence) image.confidence = take(static_cast<size_t>(image.head.tokens()));
    if (image.query.logits) image.logits = take(LogitsBytes(image));
  }
  host_bytes_ = used;
}

size_t CudaSegmentAnswers::LogitsBytes(const Image& image) const {
  return static_cast<size_t>(image.head.tokens()) * LogitStride(classes_) * sizeof(float);
}

void CudaSegmentAnswers::Launch(const DeviceSegmentation& segmentation, void* device, void* host,
                                CUstream_st* stream) const {
  const DeviceMap& logits = segmentation.logits;
  if (logits.type != DeviceType::kFloat32 || static_cast<size_t>(logits.channels) != classes_ ||
      static_cast<size_t>(logits.stride) != LogitStride(classes_)) {
    throw std::invalid_argument("CudaSegmentAnswers: logits of another form");
  }
  ZeroDevice(device, CountsBytes(), stream);
  for (size_t i = 0; i < images_.size(); ++i) {
    const Image& image = images_[i];
    DeviceResizeArgmax argmax;
    argmax.logits = logits;
    argmax.logits.data = static_cast<float*>(logits.data) + image.head.offset * logits.stride;
    argmax.from_height = static_cast<int>(image.head.height);
    argmax.from_width = static_cast<int>(image.head.width);
    argmax.between_height = static_cast<int>(image.input.height);
    argmax.between_width = static_cast<int>(image.input.width);
    argmax.to_height = static_cast<int>(image.query.original.height);
    argmax.to_width = static_cast<int>(image.query.original.width);
    argmax.labels = At<uint16_t>(device, image.labels);
    argmax.class_pixels = At<uint32_t>(device, i * classes_ * sizeof(uint32_t));
    ResizeArgmaxCuda(argmax, stream);
    if (image.query.confidence) {
      CopyToHost(At<char>(host, image.confidence), segmentation.confidence + image.head.offset,
                 static_cast<size_t>(image.head.tokens()), stream);
    }
    if (image.query.logits) {
      CopyToHost(At<char>(host, image.logits), argmax.logits.data, LogitsBytes(image), stream);
    }
  }
  CopyToHost(At<char>(host, not_finite_), segmentation.not_finite, images_.size() * sizeof(int),
             stream);
  CopyToHost(host, device, device_bytes_, stream);
}

SegmentOutput CudaSegmentAnswers::Read(const void* host, size_t i) const {
  const Image& image = images_.at(i);
  if (At<int>(host, not_finite_)[i] != 0) {
    throw std::domain_error("the network's numbers for image " + std::to_string(i) +
                            " of this batch are not finite");
  }
  SegmentOutput output;
  const auto* labels = At<uint16_t>(host, image.labels);
  output.labels.assign(labels, labels + Pixels(image.query.original));
  const auto* counts = At<uint32_t>(host, i * classes_ * sizeof(uint32_t));
  output.class_pixels.assign(counts, counts + classes_);
  if (image.query.confidence) {
    output.confidence_height = image.head.height;
    output.confidence_width = image.head.width;
    const auto* confidence = At<uint8_t>(host, image.confidence);
    output.confidence.assign(confidence, confidence + image.head.tokens());
  }
  if (image.query.logits) {
    output.logits_size = {image.head.height, image.head.width};
    output.input = image.input;
    output.logits.reserve(static_cast<size_t>(image.head.tokens()) * classes_);
    const auto* row = At<float>(host, image.logits);
    for (int64_t t = 0; t < image.head.tokens(); ++t, row += LogitStride(classes_)) {
      output.logits.insert(output.logits.end(), row, row + classes_);
    }
  }
  return output;
}

std::vector<SegmentOutput> CudaSegmentAnswers::Read(const void* host) const {
  std::vector<SegmentOutput> outputs;
  for (size_t i = 0; i < images_.size(); ++i) outputs.push_back(Read(host, i));
  return outputs;
}

}  // namespace spatialmamba
