#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/net/detections.h"
#include "model/ops/device_boxes.h"

struct CUstream_st;

namespace spatialmamba {

// What a network was made for.
struct DetectSizes {
  int64_t classes = 0;
  int64_t limit = 0;  // the most detections of an image
  bool masks = true;  // whether it has them
};

// What a detector reads and leaves in device memory of a batch.
struct DeviceDetections {
  int images = 0;                        // capacities
  int limit = 0;                         // detections of an image
  DeviceDetectQuery* queries = nullptr;  // [images]
  unsigned* wanted = nullptr;  // [images, words]: bit c % 32 of word c / 32, whether class c is
  int* errors = nullptr;       // [images], a DeviceDetectError
  int* counts = nullptr;       // [images]
  DeviceBox* boxes = nullptr;  // [images, limit], best first, as the next two
  float* scores = nullptr;
  int* labels = nullptr;
  // [images * limit, kMaskSide * kMaskSide], without gaps: the detections of the first image that
  // wants masks, of the second, and so on. Null: the network has none.
  float* masks = nullptr;
};

// One batch's queries on their way to the device and its answers on their way back:
//
//   const CudaDetectAnswers answers(queries, network.sizes());
//   // grow pinned memory to answers.host_bytes()
//   answers.Upload(detections, host, stream);
//   ...the forward...
//   answers.Launch(detections, host, stream);
//   Synchronize(stream);
//   outputs = answers.Read(host);
//
// Const after construction; owns no memory of a device.
class CudaDetectAnswers {
 public:
  // Throws std::invalid_argument if a query asks for more detections than the limit.
  CudaDetectAnswers(std::span<const DetectQuery> queries, const DetectSizes& sizes);

  // Of all that is copied, both ways.
  size_t host_bytes() const { return host_bytes_; }

  // Copies the queries, in the order of the stream; `host` is not to be touched before that is
  // done. Throws std::invalid_argument if the batch is larger than the device's memory for it.
  void Upload(const DeviceDetections& detections, void* host, CUstream_st* stream) const;

  // Copies the answers to other places of `host`, in the order of the stream.
  void Launch(const DeviceDetections& detections, void* host, CUstream_st* stream) const;

  // The answers, by image, once the stream is done. Throws std::domain_error if the network's
  // numbers for one of them are not finite.
  std::vector<DetectOutput> Read(const void* host) const;

  size_t images() const { return queries_.size(); }
  // Of one image, which alone decides whether there is an error.
  DetectOutput Read(const void* host, size_t image) const;

 private:
  // Where things begin in the host's memory.
  struct Layout {
    size_t queries = 0;
    size_t wanted = 0;
    size_t errors = 0;
    size_t counts = 0;
    size_t boxes = 0;
    size_t scores = 0;
    size_t labels = 0;
    size_t masks = 0;
  };

  std::vector<DeviceDetectQuery> queries_;
  std::vector<unsigned> wanted_;
  size_t limit_;
  size_t most_masks_ = 0;  // of the batch
  Layout at_;
  size_t host_bytes_ = 0;
};

}  // namespace spatialmamba
