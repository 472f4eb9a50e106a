#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/net/segmentation.h"
#include "model/ops/device_batch.h"
#include "model/ops/view.h"

struct CUstream_st;

namespace spatialmamba {

// What a segmenter leaves in device memory of a batch.
struct DeviceSegmentation {
  DeviceMap logits;               // fp32 [tokens of a quarter of the input's resolution, classes]
  uint8_t* confidence = nullptr;  // [those tokens]: probability of the best class, 255 = certain
  int* not_finite = nullptr;      // [images]: 1 for an image whose logits are not all finite
};

// From those to the answers of one batch. The labels have the pictures' sizes, which differ from
// batch to batch, so that this is launched after a captured forward and no part of it:
//
//   const CudaSegmentAnswers answers(spans, queries, classes);
//   // grow device memory to answers.device_bytes(), pinned memory to answers.host_bytes()
//   ...the forward...
//   answers.Launch(segmentation, device, host, stream);
//   Synchronize(stream);
//   outputs = answers.Read(host);
//
// Const after construction; owns no memory of a device.
class CudaSegmentAnswers {
 public:
  // spans: of the network's input; one query an image. Throws std::invalid_argument if there are
  // not as many, or a picture has no pixels or more than the kernels number.
  CudaSegmentAnswers(std::span<const Span> spans, std::span<const SegmentQuery> queries,
                     int64_t classes);

  // Of the labels and counts.
  size_t device_bytes() const { return device_bytes_; }
  // Of all that is copied back.
  size_t host_bytes() const { return host_bytes_; }

  // Labels the images and copies what their queries ask for, in the order of the stream.
  // `segmentation` must not be overwritten, nor memory freed, before that is done. device: aligned
  // to 16, as is `host`.
  void Launch(const DeviceSegmentation& segmentation, void* device, void* host,
              CUstream_st* stream) const;

  // The answers, by image, once the stream is done. Throws std::domain_error if the network's
  // numbers for one of them are not finite.
  std::vector<SegmentOutput> Read(const void* host) const;

  size_t images() const { return images_.size(); }
  // Of one image, which alone decides whether there is an error.
  SegmentOutput Read(const void* host, size_t image) const;

 private:
  // Offsets are from the beginning of the memory; up to device_bytes both sides are the same.
  struct Image {
    Span head;  // of the logits
    PixelSize input;
    SegmentQuery query;
    size_t labels = 0;
    size_t confidence = 0;
    size_t logits = 0;
  };
  size_t CountsBytes() const { return images_.size() * classes_ * sizeof(uint32_t); }
  size_t LogitsBytes(const Image& image) const;

  size_t classes_;
  std::vector<Image> images_;
  size_t not_finite_ = 0;
  size_t device_bytes_ = 0;
  size_t host_bytes_ = 0;
};

}  // namespace spatialmamba
