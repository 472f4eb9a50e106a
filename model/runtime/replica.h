#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/net/model_spec.h"
#include "model/runtime/device_error.h"
#include "model/runtime/prediction.h"

namespace spatialmamba {

// One image for a forward pass: fp32, channels last, row-major [height, width, 3], normalised. Not
// owned.
struct ImageView {
  const float* pixels = nullptr;
  int64_t height = 0;
  int64_t width = 0;
  Query query = {};  // of the network's task
};

// One loaded model on one device. Created once, then const but for its workspace: Run may be called
// by one thread at a time (the device's worker). Images of a batch may differ in size; each gets
// exactly the bits it would get alone.
class Replica {
 public:
  virtual ~Replica() = default;
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // The predictions by image. `wanted` is asked just before an image is begun, on any thread; an
  // image that nobody wants any more is not run. If it throws, no image has an answer. Then either
  // one of them is to blame, and its halves can be tried, or it is a DeviceFailure.
  virtual std::vector<std::optional<Prediction>> Run(
      std::span<const ImageView> images, absl::FunctionRef<bool(size_t image)> wanted) = 0;
  // All are wanted.
  std::vector<Prediction> Run(std::span<const ImageView> images);

  // Bytes of workspace that a forward of images of these sizes takes, at most.
  virtual int64_t WorkspaceBytes(int64_t height, int64_t width) const = 0;

  // What has gone wrong so far. Thread-safe.
  virtual DeviceErrorCounts Errors() const { return {}; }

  const ModelSpec& spec() const { return spec_; }
  const std::string& device() const { return device_; }  // "cpu", "cuda:0"

 protected:
  Replica(ModelSpec spec, std::string device)
      : spec_(std::move(spec)), device_(std::move(device)) {}

  // Throws std::invalid_argument if one of them has no pixels.
  static void CheckImages(std::span<const ImageView> images);

 private:
  const ModelSpec spec_;
  const std::string device_;
};

}  // namespace spatialmamba
