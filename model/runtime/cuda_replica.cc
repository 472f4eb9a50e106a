#include "model/runtime/cuda_replica.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "model/ops/cuda_api.h"
#include "model/runtime/thread_pool.h"

namespace spatialmamba {
namespace {

// Close enough for a batch to leave little of its capacity unused, few enough to capture at start.
constexpr int64_t kCapturedImages[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
// A batch that is not captured may use the plan of the one before if that is not too large: blocks
// without work cost time too.
constexpr int kMostSlack = 2;
constexpr int64_t kCanarySide = 128;  // at most

// Asks for all that the network can say.
Query FullQuery(VisionTask task, const PixelSize& size, int64_t max_detections) {
  switch (task) {
    case VisionTask::kClassify:
      return ClassifyQuery();
    case VisionTask::kDetect:
      return DetectQuery{.valid = size, .score_threshold = 0, .max_detections = max_detections};
    case VisionTask::kSegment:
      return SegmentQuery{.original = size, .confidence = true, .logits = true};
  }
  throw std::invalid_argument("CudaReplica: a task that is none");
}

std::string What(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

int Chosen(int device) {
  SetCudaDevice(device);
  return device;
}

std::string Mebibytes(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

// Not quite grey, so that no stage sees the same number everywhere.
struct CudaReplica::Canary {
  Canary(VisionTask task, const CudaReplicaOptions& options)
      : size{std::min(options.height, kCanarySide), std::min(options.width, kCanarySide)},
        pixels(static_cast<size_t>(3 * size.height * size.width)),
        view{pixels.data(), size.height, size.width,
             FullQuery(task, size, options.max_detections)} {
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i % 7) / 16;
  }

  const PixelSize size;
  std::vector<float> pixels;
  const ImageView view;
  Prediction answer;
};

CudaReplica::CudaReplica(const ModelSpec& spec, std::unique_ptr<const CudaNetwork> network,
                         const CudaReplicaOptions& options, ThreadPool& pool)
    : Replica(spec, "cuda:" + std::to_string(options.device)),
      cuda_device_(Chosen(options.device)),
      network_(std::move(network)),
      staging_(pool),
      canary_(std::make_unique<Canary>(spec.task, options)) {
  canary_->answer = std::move(RunOnce({&canary_->view, 1})[0]);
  ReleaseUncaptured();
  Capture(options);
}

CudaReplica::~CudaReplica() {
  try {
    SetCudaDevice(cuda_device_);  // where the memory that is given back now belongs
  } catch (const std::exception&) {
    // A device that has failed; the rest is the driver's.
  }
}

void CudaReplica::Capture(const CudaReplicaOptions& options) {
  std::vector<Captured> list = Capacities(options);
  while (!list.empty() && !Reserve(list)) list.pop_back();  // of the largest there is no memory for
  for (const Captured& one : list) {
    try {
      plans_.push_back(CaptureOne(one.capacity));
    } catch (const CudaError& error) {
      if (!error.out_of_memory()) throw;
      Synchronize(stream_.get());  // what the canary had launched before the lack showed
      return;                      // what was captured before serves
    }
    captured_.push_back(one.images);
  }
}

// Memory that all of these share; false if the device has not so much.
bool CudaReplica::Reserve(std::span<const Captured> list) {
  size_t bytes = 0;
  for (const Captured& one : list) {
    bytes = std::max(bytes, CudaPlan::ArenaBytes(*network_, one.capacity));
  }
  try {
    arena_.Reserve(bytes);
  } catch (const CudaError& error) {
    if (!error.out_of_memory()) throw;
    return false;
  }
  return true;
}

// What the memory for them allows.
std::vector<CudaReplica::Captured> CudaReplica::Capacities(
    const CudaReplicaOptions& options) const {
  const int64_t most = std::min(options.max_batch_size, *std::rbegin(kCapturedImages));
  std::vector<Captured> list;
  for (const int64_t listed : kCapturedImages) {
    const int64_t count = std::min(listed, most);
    const ImageView usual{.height = options.height, .width = options.width};
    const std::vector<ImageView> images(static_cast<size_t>(count), usual);
    const DeviceCapacity capacity = DeviceCapacity::Of(SpansOf(images));
    if (CudaPlan::ArenaBytes(*network_, capacity) > options.graph_bytes) break;
    list.push_back({count, capacity});
    if (count == most) break;
  }
  return list;
}

// Runs the canary twice, launched and replayed: the first loads the kernels, which a capture does
// not allow; the second proves the graph.
std::unique_ptr<CudaPlan> CudaReplica::CaptureOne(const DeviceCapacity& capacity) {
  auto plan = std::make_unique<CudaPlan>(*network_, capacity, scratch_);
  const std::vector<Span> spans = SpansOf({&canary_->view, 1});
  for (const bool replay : {false, true}) {
    if (replay) plan->Capture(Workspace(arena_));
    if (plan->Run({&canary_->view, 1}, spans, Workspace(arena_))[0] != canary_->answer) {
      throw std::runtime_error(device() + ": the same image gives different answers " +
                               (replay ? "launched and replayed" : "in different capacities"));
    }
  }
  return plan;
}

std::vector<std::optional<Prediction>> CudaReplica::Run(std::span<const ImageView> images,
                                                        absl::FunctionRef<bool(size_t)> wanted) {
  CheckImages(images);
  if (!failure_.empty()) throw DeviceFailure(failure_);
  std::vector<std::optional<Prediction>> predictions(images.size());
  std::vector<size_t> indices(images.size());
  std::iota(indices.begin(), indices.end(), size_t{0});
  try {
    SetCudaDevice(cuda_device_);
    RunSome({images, wanted, predictions}, indices);
  } catch (const OutOfDeviceMemory&) {
    throw;
  } catch (...) {
    Judge(std::current_exception());
    throw;
  }
  return predictions;
}

// The images of these indices, in halves if the device lacks memory for all.
void CudaReplica::RunSome(const Batch& batch, std::span<const size_t> indices) {
  std::vector<size_t> chosen;
  std::vector<ImageView> images;
  for (const size_t i : indices) {
    if (!batch.wanted(i)) continue;
    chosen.push_back(i);
    images.push_back(batch.images[i]);
  }
  if (chosen.empty()) return;
  const bool holds_memory = large_plan_ != nullptr || large_arena_.bytes() > 0 ||
                            scratch_.device.bytes() > 0 || scratch_.host.bytes() > 0;
  try {
    std::vector<Prediction> outputs = RunOnce(images);
    for (size_t i = 0; i < chosen.size(); ++i) {
      batch.predictions[chosen[i]] = std::move(outputs[i]);
    }
    return;
  } catch (const CudaError& error) {
    if (!error.out_of_memory()) throw;
  }
  Count(DeviceErrorKind::kOutOfMemory);
  Synchronize(stream_.get());  // what was launched before the lack showed
  ReleaseUncaptured();
  const std::span<const size_t> all = chosen;
  if (all.size() > 1) {
    RunSome(batch, all.first(all.size() / 2));
    RunSome(batch, all.subspan(all.size() / 2));
  } else if (holds_memory) {
    RunSome(batch, all);
  } else {
    ThrowOutOfMemory(images[0]);
  }
}

void CudaReplica::ThrowOutOfMemory(const ImageView& image) const {
  const auto bytes = static_cast<size_t>(WorkspaceBytes(image.height, image.width));
  const DeviceMemoryInfo memory = QueryDeviceMemory();
  throw OutOfDeviceMemory("an image of " + std::to_string(image.height) + " x " +
                          std::to_string(image.width) + " pixels needs " + Mebibytes(bytes) +
                          " on " + device() + ", which has " + Mebibytes(memory.free) + " of " +
                          Mebibytes(memory.total) + " free");
}

std::vector<Prediction> CudaReplica::RunOnce(std::span<const ImageView> images) {
  const std::vector<Span> spans = SpansOf(images);
  if (CudaPlan* plan = FindCaptured(spans)) return plan->Run(images, spans, Workspace(arena_));
  return RunUncaptured(images, spans);
}

CudaPlan* CudaReplica::FindCaptured(std::span<const Span> spans) const {
  const auto found =
      std::ranges::find_if(plans_, [&](const auto& plan) { return plan->Holds(spans); });
  return found == plans_.end() ? nullptr : found->get();
}

std::vector<Prediction> CudaReplica::RunUncaptured(std::span<const ImageView> images,
                                                   std::span<const Span> spans) {
  const auto tokens = TotalTokens(spans);
  if (!large_plan_ || !large_plan_->Holds(spans) ||
      large_plan_->capacity().tokens[0] > kMostSlack * tokens) {
    large_plan_.reset();  // first, so that both need not fit
    large_plan_ = std::make_unique<CudaPlan>(*network_, DeviceCapacity::Of(spans), scratch_);
  }
  const bool fits = large_plan_->arena_bytes() <= arena_.bytes();
  if (!fits) large_arena_.Reserve(large_plan_->arena_bytes());
  return large_plan_->Run(images, spans, Workspace(fits ? arena_ : large_arena_));
}

void CudaReplica::ReleaseUncaptured() {
  large_plan_.reset();
  large_arena_ = DeviceArena();
  scratch_ = CudaScratch();
}

void CudaReplica::Judge(const std::exception_ptr& failure) {
  bool sticky = false;
  DeviceErrorKind kind = DeviceErrorKind::kBatch;
  try {
    std::rethrow_exception(failure);
  } catch (const CudaError& error) {
    sticky = error.sticky();
    if (sticky) kind = DeviceErrorKind::kSticky;
  } catch (const std::domain_error&) {
    kind = DeviceErrorKind::kNotFinite;
  } catch (...) {
    // Of any other kind: the canary tells.
  }
  Count(kind);
  if (sticky) {
    failure_ = device() + " has failed: " + What(failure);
  } else if (const std::string wrong = AskCanary(); !wrong.empty()) {
    Count(DeviceErrorKind::kCanary);
    failure_ = device() + " has failed: after \"" + What(failure) + "\" " + wrong;
  }
  if (!failure_.empty()) throw DeviceFailure(failure_);
}

std::string CudaReplica::AskCanary() {
  try {
    Synchronize(stream_.get());  // what the failed batch had launched
    if (RunOnce({&canary_->view, 1})[0] == canary_->answer) return "";
    return "a known image gave another answer";
  } catch (const CudaError& error) {
    if (!error.out_of_memory()) return std::string("a known image failed: ") + error.what();
    Synchronize(stream_.get());  // what was launched before the lack showed
    return "";                   // which says nothing of the device's health
  } catch (...) {
    return "a known image failed: " + What(std::current_exception());
  }
}

int64_t CudaReplica::WorkspaceBytes(int64_t height, int64_t width) const {
  const Span span{.offset = 0, .height = height, .width = width};
  return static_cast<int64_t>(CudaPlan::ArenaBytes(*network_, DeviceCapacity::Of({&span, 1})));
}

DeviceErrorCounts CudaReplica::Errors() const {
  DeviceErrorCounts counts = {};
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = errors_[i].load();
  return counts;
}

}  // namespace spatialmamba
