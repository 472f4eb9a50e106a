// The GPU's logits against the CPU network's, for other weights and sizes than the golden cases.
#include <string>
#include <vector>

#include "model/net/classifier.h"
#include "model/runtime/pool_context.h"
#include "tests/gpu/classifier_on_gpu.h"

namespace spatialmamba::gpu {
namespace {

constexpr int64_t kClasses = 100;
// Of the largest logit. Both sides round, each in its own order.
constexpr double kTolerance = 1e-4;
constexpr double kBfloat16Tolerance = 3e-2;

struct Param {
  const char* variant;
  int64_t seed;
  int64_t height;
  int64_t width;
};

std::vector<float> CpuLogits(const std::string& variant, int64_t seed, const Batch& batch) {
  const Variant sizes = *FindVariant(variant);
  const Classifier classifier(sizes, kClasses, Synthetic(ClassifierTensors(sizes, kClasses), seed));
  std::vector<float> logits(static_cast<size_t>(batch.images() * kClasses));
  ThreadPool pool(2);  // cases run beside each other
  PoolContext context(pool);
  Arena arena;
  classifier.Forward(context, arena, batch.view(), batch.spans,
                     {logits.data(), batch.images(), kClasses, kClasses});
  return logits;
}

class AgainstCpu : public GpuTestWith<Param> {};
INSTANTIATE_TEST_SUITE_P(
    , AgainstCpu,
    testing::Values(Param{"micro", 1, 1, 1}, Param{"micro", 2, 2, 3}, Param{"micro", 3, 31, 33},
                    Param{"micro", 4, 7, 300}, Param{"micro", 5, 300, 7}, Param{"micro", 6, 63, 65},
                    Param{"micro", 7, 1, 500}, Param{"micro", 8, 511, 513}, Param{"tiny", 11, 1, 1},
                    Param{"tiny", 12, 33, 65}, Param{"tiny", 13, 223, 225},
                    Param{"tiny", 14, 1000, 10}, Param{"tiny", 15, 512, 512},
                    Param{"tiny", 16, 800, 1280}, Param{"tiny", 17, 2048, 2048},
                    Param{"tiny", 18, 2047, 1023}, Param{"small", 21, 224, 224},
                    Param{"small", 22, 97, 131}, Param{"base", 31, 224, 224},
                    Param{"base", 32, 127, 509}, Param{"base", 33, 1025, 1023}),
    [](const auto& test) {
      return std::string(test.param.variant) + "_" + std::to_string(test.param.height) + "x" +
             std::to_string(test.param.width);
    });

TEST_P(AgainstCpu, Logits) {
  const auto& [variant, seed, height, width] = GetParam();
  const Batch batch = Picture(seed, height, width);
  const std::vector<float> expected = CpuLogits(variant, seed, batch);
  const double largest = Largest(expected);
  for (const DeviceType type : {DeviceType::kFloat32, DeviceType::kBfloat16}) {
    const ClassifierOnGpu model(variant, kClasses, seed, type);
    const std::vector<float> logits = gpu::Logits(model, batch);
    const double error = LargestDifference(logits, expected);
    EXPECT_LE(error / largest, type == DeviceType::kFloat32 ? kTolerance : kBfloat16Tolerance)
        << Name(type);
    RecordProperty(Name(type), std::to_string(error / largest));
  }
}

}  // namespace
}  // namespace spatialmamba::gpu
