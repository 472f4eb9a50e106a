#include "model/net/cuda_detect_answers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "model/ops/cuda_api.h"

namespace spatialmamba {
namespace {

constexpr size_t kMaskPixels = static_cast<size_t>(kMaskSide * kMaskSide);

// The largest float that is not above the value: the same floats are above both.
float RoundedDown(double value) {
  const auto nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) <= value) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

DeviceDetectQuery OnDevice(const DetectQuery& query, const DetectSizes& sizes) {
  if (query.max_detections > sizes.limit) {
    throw std::invalid_argument("a query asks for " + std::to_string(query.max_detections) +
                                " detections, but the network was made for at most " +
                                std::to_string(sizes.limit));
  }
  return {static_cast<float>(query.valid.height),
          static_cast<float>(query.valid.width),
          query.score_threshold,
          RoundedDown(query.nms_overlap),
          static_cast<int>(std::max<int64_t>(query.max_detections, 0)),
          query.masks && sizes.masks ? 1 : 0};
}

// Bits of the classes that are asked for.
std::vector<unsigned> Wanted(const DetectQuery& query, int64_t classes) {
  const auto words = static_cast<size_t>((classes + 31) / 32);
  if (!query.classes.has_value()) return std::vector<unsigned>(words, ~0U);
  std::vector<unsigned> bits(words);
  for (const int64_t label : *query.classes) {
    if (label < 0 || label >= classes) continue;
    bits[static_cast<size_t>(label / 32)] |= 1U << (label % 32);
  }
  return bits;
}

template <typename T>
const T* At(const void* host, size_t offset) {
  return reinterpret_cast<const T*>(static_cast<const char*>(host) + offset);
}

[[noreturn]] void ThrowNotFinite(int error) {
  std::string what = "an output of the box head";
  if (error == kBadProposalScore) what = "a score of a region proposal";
  if (error == kBadProposalBox) what = "the position of a region proposal";
  throw std::domain_error(what + " is not a finite number: the weights or the input are broken");
}

}  // namespace

CudaDetectAnswers::CudaDetectAnswers(std::span<const DetectQuery> queries, const DetectSizes& sizes)
    : limit_(static_cast<size_t>(sizes.limit)) {
  for (const DetectQuery& query : queries) {
    const DeviceDetectQuery& own = queries_.emplace_back(OnDevice(query, sizes));
    const std::vector<unsigned> wanted = Wanted(query, sizes.classes);
    wanted_.insert(wanted_.end(), wanted.begin(), wanted.end());
    if (own.masks != 0) most_masks_ += static_cast<size_t>(own.max_detections);
  }
  const auto place = [this](size_t bytes) {
    const size_t offset = host_bytes_;
    host_bytes_ += (bytes + 15) / 16 * 16;
    return offset;
  };
  at_.queries = place(images() * sizeof(DeviceDetectQuery));
  at_.wanted = place(wanted_.size() * sizeof(unsigned));
  at_.errors = place(images() * sizeof(int));
  at_.counts = place(images() * sizeof(int));
  at_.boxes = place(images() * limit_ * sizeof(DeviceBox));
  at_.scores = place(images() * limit_ * sizeof(float));
  at_.labels = place(images() * limit_ * sizeof(int));
  at_.masks = place(most_masks_ * kMaskPixels * sizeof(float));
}

void CudaDetectAnswers::Upload(const DeviceDetections& detections, void* host,
                               CUstream_st* stream) const {
  if (static_cast<size_t>(detections.images) < images() ||
      static_cast<size_t>(detections.limit) != limit_) {
    throw std::invalid_argument("CudaDetectAnswers: a batch larger than the memory for it");
  }
  const auto copy = [&](void* device, const void* from, size_t offset, size_t bytes) {
    char* staged = static_cast<char*>(host) + offset;
    if (bytes > 0) std::memcpy(staged, from, bytes);
    CopyToDevice(device, staged, bytes, stream);
  };
  copy(detections.queries, queries_.data(), at_.queries,
       queries_.size() * sizeof(DeviceDetectQuery));
  copy(detections.wanted, wanted_.data(), at_.wanted, wanted_.size() * sizeof(unsigned));
}

void CudaDetectAnswers::Launch(const DeviceDetections& detections, void* host,
                               CUstream_st* stream) const {
  const auto copy = [&](size_t offset, const void* device, size_t bytes) {
    CopyToHost(static_cast<char*>(host) + offset, device, bytes, stream);
  };
  copy(at_.errors, detections.errors, images() * sizeof(int));
  copy(at_.counts, detections.counts, images() * sizeof(int));
  copy(at_.boxes, detections.boxes, images() * limit_ * sizeof(DeviceBox));
  copy(at_.scores, detections.scores, images() * limit_ * sizeof(float));
  copy(at_.labels, detections.labels, images() * limit_ * sizeof(int));
  if (most_masks_ == 0) return;
  copy(at_.masks, detections.masks, most_masks_ * kMaskPixels * sizeof(float));
}

DetectOutput CudaDetectAnswers::Read(const void* host, size_t image) const {
  const int error = At<int>(host, at_.errors)[image];
  if (error != kDetectFine) ThrowNotFinite(error);
  const int* counts = At<int>(host, at_.counts);
  const auto count = static_cast<size_t>(counts[image]);
  DetectOutput output;
  for (size_t i = image * limit_; i < image * limit_ + count; ++i) {
    const DeviceBox& box = At<DeviceBox>(host, at_.boxes)[i];
    output.detections.push_back({{box.left, box.top, box.right, box.bottom},
                                 At<float>(host, at_.scores)[i],
                                 At<int>(host, at_.labels)[i]});
  }
  if (queries_[image].masks == 0) return output;
  size_t before = 0;
  for (size_t i = 0; i < image; ++i) {
    if (queries_[i].masks != 0) before += static_cast<size_t>(counts[i]);
  }
  const float* masks = At<float>(host, at_.masks) + before * kMaskPixels;
  output.mask_probabilities.assign(masks, masks + count * kMaskPixels);
  return output;
}

std::vector<DetectOutput> CudaDetectAnswers::Read(const void* host) const {
  std::vector<DetectOutput> outputs;
  for (size_t image = 0; image < images(); ++image) outputs.push_back(Read(host, image));
  return outputs;
}

}  // namespace spatialmamba
