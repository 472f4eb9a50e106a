#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>

namespace spatialmamba {

// Nothing that is given to the device will succeed any more, whatever the model.
class DeviceFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One image alone needs more memory than its device has.
class OutOfDeviceMemory : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What goes wrong on a device, and the names as label values of a metric.
enum class DeviceErrorKind {
  kOutOfMemory,  // a batch was halved, or an image refused
  kBatch,        // a batch failed, for another reason than the next
  kNotFinite,    // a batch's numbers were not finite
  kCanary,       // the known answer did not come out after a failure: the device has failed
  kSticky,       // CUDA says that the device has failed
};
inline constexpr size_t kDeviceErrorKinds = 5;
inline constexpr std::array<std::string_view, kDeviceErrorKinds> kDeviceErrorNames = {
    "out_of_memory", "batch", "not_finite", "canary", "sticky"};

// By kind, since the start.
using DeviceErrorCounts = std::array<int64_t, kDeviceErrorKinds>;

}  // namespace spatialmamba
