#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "model/net/device_geometry.h"
#include "model/ops/cuda_api.h"
#include "model/ops/device_arena.h"
#include "model/runtime/cuda_network.h"
#include "model/runtime/cuda_staging.h"
#include "model/runtime/replica.h"

namespace spatialmamba {

// What the plans of a replica share, as only one batch runs at a time.
struct CudaWorkspace {
  DeviceArena& arena;
  CudaStaging& staging;
  CUstream_st* stream;
};

// How batches up to a capacity run: their geometry, what goes to the device and back, and, once it
// is captured, the graph of the whole forward. Not thread-safe; owned by a replica.
class CudaPlan {
 public:
  // `network` and `scratch` outlive this.
  CudaPlan(const CudaNetwork& network, const DeviceCapacity& capacity, CudaScratch& scratch);
  ~CudaPlan();
  CudaPlan(const CudaPlan&) = delete;
  CudaPlan& operator=(const CudaPlan&) = delete;

  // What the arena must have.
  static size_t ArenaBytes(const CudaNetwork& network, const DeviceCapacity& capacity);
  size_t arena_bytes() const { return ArenaBytes(network_, geometry_.capacity()); }
  const DeviceCapacity& capacity() const { return geometry_.capacity(); }
  bool Holds(std::span<const Span> spans) const { return geometry_.Holds(spans); }

  // From now on batches replay the launches that are recorded here. The arena keeps its addresses,
  // and the plan has run a batch before: kernels are loaded on their first launch, which a capture
  // does not allow.
  void Capture(const CudaWorkspace& workspace);
  bool captured() const { return graph_ != nullptr; }

  // The batch before must be done. If this throws, launches may still be under way.
  std::vector<Prediction> Run(std::span<const ImageView> images, std::span<const Span> spans,
                              const CudaWorkspace& workspace);

 private:
  // Places all that a batch needs: the pixels, which it returns, always first in the arena.
  float* Place(DeviceArena& arena) const;

  const CudaNetwork& network_;
  DeviceGeometry geometry_;
  const std::unique_ptr<CudaExchange> exchange_;
  CUgraphExec_st* graph_ = nullptr;
};

// Images back to back.
std::vector<Span> SpansOf(std::span<const ImageView> images);

}  // namespace spatialmamba
