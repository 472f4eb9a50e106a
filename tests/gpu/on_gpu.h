#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/net/device_geometry.h"
#include "model/net/layers.h"
#include "model/net/tensor_list.h"
#include "model/ops/cuda_api.h"
#include "model/ops/device_arena.h"
#include "tests/gpu/pictures.h"

namespace spatialmamba::gpu {

// Why nothing can run on a GPU here; empty: it can.
const std::string& WhyNoGpu();

// Cases are skipped with a message where there is no GPU.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!WhyNoGpu().empty()) GTEST_SKIP() << "no GPU: " << WhyNoGpu();
  }
};
template <typename T>
class GpuTestWith : public GpuTest, public testing::WithParamInterface<T> {};

const char* Name(DeviceType type);

// The synthetic weights of a list, as fp32 matrices.
BoundTensors Synthetic(const std::vector<ExpectedTensor>& list, int64_t seed);

// The first `rows` rows of a map as fp32 without gaps, once everything in the stream is done.
std::vector<float> Download(const DeviceMap& map, int64_t rows, CUstream_st* stream);
// Fills memory with bytes that make a NaN of every type.
void Poison(void* memory, size_t bytes, CUstream_st* stream);

// The largest magnitude, and the largest difference; a NaN counts as infinite.
double Largest(const std::vector<float>& values);
double LargestDifference(const std::vector<float>& a, const std::vector<float>& b);

enum class How { kLaunched, kReplayed };  // kernel by kernel, or from a graph

// What batch after batch within a capacity needs: buffers, a geometry, a captured graph. Every
// batch finds the workspace full of NaNs, so that a result which depends on what is not written
// shows.
class NetworkRuns {
 public:
  virtual ~NetworkRuns() { DestroyGraph(graph_); }
  NetworkRuns(const NetworkRuns&) = delete;
  NetworkRuns& operator=(const NetworkRuns&) = delete;

 protected:
  NetworkRuns(const DeviceCapacity& capacity, size_t workspace_bytes);

  // Launches all kernels of a forward.
  virtual void Forward() = 0;

  void Load(const Batch& batch);
  // Captures if that was not done yet.
  void Run(How how);
  // What was taken from the arena by now stays.
  void Keep() { kept_ = arena_.used(); }

  CUstream_st* stream() const { return stream_.get(); }
  DeviceGeometry& geometry() { return geometry_; }
  DeviceArena& arena() { return arena_; }
  const float* images() const { return static_cast<const float*>(images_.data()); }

 private:
  CudaStream stream_;
  DeviceGeometry geometry_;
  DeviceArena arena_;
  size_t kept_ = 0;
  DeviceBuffer images_;
  CUgraphExec_st* graph_ = nullptr;
};

}  // namespace spatialmamba::gpu
