#include "tests/model/runtime/fake_cuda_network.h"

#include <cmath>
#include <stdexcept>

#include "model/ops/kernel.h"

namespace spatialmamba {
namespace {

__global__ void Sum(DeviceLevel level, const float* images, float* logits, float capacity) {
  WaitForPreviousKernel();
  const auto image = static_cast<int>(blockIdx.x);
  if (image >= level.counts[kImageCount]) return;
  const DeviceSpan span = level.spans[image];
  const float* pixels = images + 3 * static_cast<long long>(span.offset);
  float sum = capacity;
  for (long long i = 0; i < 3LL * span.height * span.width; ++i) sum += pixels[i];
  logits[kFakeClasses * image] = sum;
  logits[kFakeClasses * image + 1] = static_cast<float>(span.height);
  logits[kFakeClasses * image + 2] = static_cast<float>(span.width);
}

struct FakeExchange final : CudaExchange {
  explicit FakeExchange(CudaScratch& memory) : scratch(memory) {}
  CudaScratch& scratch;
  float* logits = nullptr;
};

class FakeCudaNetwork final : public CudaNetwork {
 public:
  explicit FakeCudaNetwork(FakeNetworkFaults& faults) : faults_(faults) {}

  std::unique_ptr<CudaExchange> MakeExchange(CudaScratch& scratch) const override {
    return std::make_unique<FakeExchange>(scratch);
  }

  size_t WorkspaceBytes(const DeviceCapacity& capacity) const override {
    return DeviceArena::RoundUp(LogitsBytes(capacity.images)) + MapBytes(capacity);
  }

  void Place(DeviceArena& arena, const DeviceCapacity& capacity,
             CudaExchange& exchange) const override {
    static_cast<FakeExchange&>(exchange).logits =
        static_cast<float*>(arena.TakeBytes(LogitsBytes(capacity.images)));
  }

  void Upload(CudaExchange& exchange, std::span<const Span> spans, std::span<const Query> queries,
              CUstream_st*) const override {
    OfTask<ClassifyQuery>(queries);
    static_cast<FakeExchange&>(exchange).scratch.Grow(0,
                                                      LogitsBytes(static_cast<int>(spans.size())));
  }

  void Forward(DeviceArena& arena, const DeviceGeometry& geometry, const float* images,
               CudaExchange& exchange, CUstream_st* stream) const override {
    const size_t before = arena.used();
    arena.TakeBytes(MapBytes(geometry.capacity()));
    const int capacity = geometry.capacity().images;
    LaunchConfig config;
    config.grid = dim3(static_cast<unsigned>(capacity));
    config.block = dim3(1);
    config.stream = stream;
    Launch("Sum", &Sum, config, geometry.level(0), images,
           static_cast<FakeExchange&>(exchange).logits,
           faults_.answers_by_capacity ? static_cast<float>(capacity) : 0.0F);
    arena.Rewind(before);
  }

  std::vector<Prediction> Download(CudaExchange& exchange, std::span<const Span> spans,
                                   std::span<const Query>, CUstream_st* stream) const override {
    const auto& own = static_cast<FakeExchange&>(exchange);
    faults_.on_download();
    CopyToHost(own.scratch.host.data(), own.logits, LogitsBytes(static_cast<int>(spans.size())),
               stream);
    Synchronize(stream);
    ++faults_.downloads;
    std::vector<Prediction> predictions;
    for (size_t image = 0; image < spans.size(); ++image) {
      const float* from = static_cast<const float*>(own.scratch.host.data()) + kFakeClasses * image;
      if (!std::isfinite(*from)) throw std::domain_error("an answer is not finite");
      predictions.emplace_back(
          ClassifyOutput{.logits = {from[0] + faults_.drift, from[1], from[2]}});
    }
    return predictions;
  }

 private:
  static size_t LogitsBytes(int images) {
    return kFakeClasses * sizeof(float) * static_cast<size_t>(images);
  }
  // A map as large as the pixels, of which nothing is used.
  static size_t MapBytes(const DeviceCapacity& capacity) {
    return DeviceArena::Bytes(capacity.tokens[0], 3, DeviceType::kFloat32);
  }

  FakeNetworkFaults& faults_;
};

}  // namespace

std::unique_ptr<CudaNetwork> MakeFakeCudaNetwork(FakeNetworkFaults& faults) {
  return std::make_unique<FakeCudaNetwork>(faults);
}

std::vector<float> FakeLogits(std::span<const float> pixels, int64_t height, int64_t width) {
  float sum = 0;
  for (const float value : pixels) sum += value;
  return {sum, static_cast<float>(height), static_cast<float>(width)};
}

}  // namespace spatialmamba
