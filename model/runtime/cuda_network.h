#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/net/device_geometry.h"
#include "model/net/layers.h"
#include "model/net/model_spec.h"
#include "model/ops/cuda_api.h"
#include "model/ops/device_arena.h"
#include "model/ops/view.h"
#include "model/runtime/prediction.h"

namespace spatialmamba {

// Memory for what goes to the host and back, and for answers whose size the capacity does not
// bound, such as labels of pictures. One for all exchanges of a replica, as only one batch runs at
// a time.
struct CudaScratch {
  DeviceBuffer device;
  PinnedBuffer host;

  // Contents are gone where it grows.
  void Grow(size_t device_bytes, size_t host_bytes);
};

// What a batch asks of a network and what it answers, for batches up to a capacity. Made by a
// network, for its own calls.
class CudaExchange {
 public:
  virtual ~CudaExchange() = default;
};

// The network of any task on a GPU behind one face, the twin of network.h. Const after
// construction; everything concerns the calling thread's device. A batch is Place, Upload, Forward
// and Download in one stream. The Forward after a Place can be captured once, and replayed for
// every batch within the capacity.
class CudaNetwork {
 public:
  virtual ~CudaNetwork() = default;

  // `scratch` outlives the exchange.
  virtual std::unique_ptr<CudaExchange> MakeExchange(CudaScratch& scratch) const = 0;
  // What Place and Forward take from the arena.
  virtual size_t WorkspaceBytes(const DeviceCapacity& capacity) const = 0;

  // Takes the place of questions and answers from the arena, which must not be rewound before it
  // until the Download. The same place for the same capacity and arena.
  virtual void Place(DeviceArena& arena, const DeviceCapacity& capacity,
                     CudaExchange& exchange) const = 0;
  // Tells the device what is asked about each image. The batch before must be done.
  virtual void Upload(CudaExchange& exchange, std::span<const Span> spans,
                      std::span<const Query> queries, CUstream_st* stream) const = 0;
  // Launches only. images: normalised pixels, fp32 [tokens, 3], in device memory.
  virtual void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
                       CudaExchange& exchange, CUstream_st* stream) const = 0;
  // Waits for the answers, by image. Throws std::domain_error if they are not finite.
  virtual std::vector<Prediction> Download(CudaExchange& exchange, std::span<const Span> spans,
                                           std::span<const Query> queries,
                                           CUstream_st* stream) const = 0;
};

// Copies the weights to the device. `tensors`: what network.h binds, with fp32 matrices, whatever
// the spec says of them: the device rounds from these. `max_detections`: the most that a query of a
// detector may ask for. Throws std::invalid_argument if the GPU's kernels do not know the variant.
std::unique_ptr<CudaNetwork> MakeCudaNetwork(const ModelSpec& spec, const BoundTensors& tensors,
                                             int64_t max_detections);

}  // namespace spatialmamba
