// Tensor by tensor against what the oracle computed; fp32 within the tolerances of
// tests/oracle/README.md, bf16 as the CPU's bf16 is tested.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "model/ops/row_items.h"
#include "tests/gpu/classifier_on_gpu.h"
#include "tests/oracle/golden.h"

namespace spatialmamba::gpu {
namespace {

constexpr double kStageTolerance = 2e-3;
constexpr double kMapTolerance = 2e-4;
constexpr double kLogitTolerance = 5e-5;     // of the largest logit
constexpr double kBfloat16Tolerance = 3e-2;  // likewise
// Where the last stage has so few tokens, no errors average out in the mean over them.
constexpr int64_t kFewTokens = 4;

size_t Best(std::span<const float> logits) {
  return static_cast<size_t>(std::ranges::max_element(logits) - logits.begin());
}

// By how much the first class leads.
double Margin(std::span<const float> logits) {
  std::vector<float> sorted(logits.begin(), logits.end());
  std::ranges::sort(sorted, std::greater());
  return double{sorted[0]} - double{sorted[1]};
}

class ClassifierGolden : public GpuTestWith<std::string> {
 protected:
  const ClassifierOnGpu& Model(DeviceType type) const {
    const nlohmann::json& facts = golden_.facts["case"];
    return SharedClassifier(facts["variant"], facts["classes"].get<int64_t>(),
                            facts["seed"].get<int64_t>(), type);
  }

  oracle::Golden golden_ = oracle::ReadGolden(GetParam());
};
INSTANTIATE_TEST_SUITE_P(, ClassifierGolden,
                         testing::Values("classification_micro_1x1", "classification_micro_64x32",
                                         "classification_micro_97x131",
                                         "classification_micro_224x224", "classification_tiny",
                                         "classification_small", "classification_base"),
                         [](const auto& test) { return test.param; });

TEST_P(ClassifierGolden, LogitsInFloat32) {
  const GoldenInput input = ReadGoldenInput(GetParam());
  const std::vector<float> logits = Logits(Model(DeviceType::kFloat32), input.batch);
  const double largest = Largest(golden_.tensors.at("logits").values);
  const double error = oracle::LargestError(golden_, "logits", logits);
  EXPECT_LE(error, kLogitTolerance * largest);
  RecordProperty("relative_error", std::to_string(error / largest));
}

TEST_P(ClassifierGolden, LogitsInBfloat16) {
  const GoldenInput input = ReadGoldenInput(GetParam());
  const ClassifierOnGpu& model = Model(DeviceType::kBfloat16);
  const std::vector<float> logits = Logits(model, input.batch);
  const std::vector<float>& expected = golden_.tensors.at("logits").values;
  const auto tokens = [](const Span& span) {
    return (span.height + 31) / 32 * ((span.width + 31) / 32);
  };
  const bool few = tokens(input.batch.spans[0]) < kFewTokens;
  const double tolerance = (few ? 2 : 1) * kBfloat16Tolerance * Largest(expected);
  const double error = oracle::LargestError(golden_, "logits", logits);
  EXPECT_LE(error, tolerance);
  RecordProperty("relative_error", std::to_string(error / Largest(expected)));
  const auto classes = static_cast<size_t>(model.network.classes());
  for (size_t first = 0; first < expected.size(); first += classes) {
    const std::span<const float> wanted(&expected[first], classes);
    if (Margin(wanted) > 2 * tolerance) {
      EXPECT_EQ(Best({&logits[first], classes}), Best(wanted));
    }
  }
}

// A backbone's maps before their norms, each with its spans, copied from the device.
using SeeMap = std::function<void(size_t stage, const std::vector<float>& values,
                                  std::span<const Span> spans)>;

void RunBackbone(const Variant& variant, const BoundTensors& tensors, DeviceType type,
                 const Batch& batch, const SeeMap& see) {
  DeviceWeights weights(type);
  const CudaBackbone backbone(variant, tensors, "", weights);
  const DeviceCapacity capacity = DeviceCapacity::Of(batch.spans);
  DeviceGeometry geometry(capacity);
  DeviceArena arena;
  arena.Reserve(backbone.WorkspaceBytes(capacity));
  Synchronize(nullptr);
  CudaStream stream;
  Poison(arena.TakeBytes(arena.bytes()), arena.bytes(), stream.get());
  arena.Reset();
  const DeviceBuffer images(batch.pixels.size() * sizeof(float));
  CopyToDevice(images.data(), batch.pixels.data(), images.bytes(), stream.get());
  geometry.Fill(batch.spans, stream.get());
  SpanList spans = Halved(SpanList(batch.spans.begin(), batch.spans.end()));
  const auto on_stage = [&](size_t stage, const DeviceMap& map) {
    spans = Halved(spans);
    see(stage, Download(map, TotalTokens(spans), stream.get()), spans);
  };
  backbone.Forward(arena, geometry, static_cast<const float*>(images.data()), on_stage,
                   stream.get());
  Synchronize(stream.get());
}

TEST_P(ClassifierGolden, StagesInFloat32) {
  const nlohmann::json& facts = golden_.facts["case"];
  const Variant variant = *FindVariant(facts["variant"].get<std::string>());
  const BoundTensors tensors = Synthetic(
      ClassifierTensors(variant, facts["classes"].get<int64_t>()), facts["seed"].get<int64_t>());
  int stages = 0;
  RunBackbone(variant, tensors, DeviceType::kFloat32, ReadGoldenInput(GetParam()).batch,
              [&](size_t stage, const std::vector<float>& values, std::span<const Span>) {
                EXPECT_LE(oracle::LargestError(golden_, "stage" + std::to_string(stage), values),
                          kStageTolerance)
                    << "stage " << stage;
                ++stages;
              });
  EXPECT_EQ(stages, 4);
}

// LayerNorm of each token, [tokens, channels] of equal images -> [images, channels, height, width],
// as the oracle stores maps.
std::vector<float> NormedChannelsFirst(const std::vector<float>& map, const NormLayer& norm,
                                       std::span<const Span> spans) {
  const size_t channels = norm.gain.size();
  std::vector<float> normed(map.size());
  for (const Span& span : spans) {
    const auto tokens = static_cast<size_t>(span.tokens());
    const auto first = static_cast<size_t>(span.offset) * channels;
    for (size_t t = 0; t < tokens; ++t) {
      const float* x = &map[first + t * channels];
      double mean = 0;
      double variance = 0;
      for (size_t c = 0; c < channels; ++c) mean += double{x[c]} / static_cast<double>(channels);
      for (size_t c = 0; c < channels; ++c) variance += (x[c] - mean) * (x[c] - mean);
      const double scale = 1 / std::sqrt(variance / static_cast<double>(channels) + 1e-5);
      for (size_t c = 0; c < channels; ++c) {
        normed[first + c * tokens + t] =
            static_cast<float>((x[c] - mean) * scale * norm.gain[c] + norm.bias[c]);
      }
    }
  }
  return normed;
}

class BackboneGolden : public GpuTestWith<std::string> {};
INSTANTIATE_TEST_SUITE_P(, BackboneGolden,
                         testing::Values("backbone_micro_97x131", "backbone_micro_33x40",
                                         "backbone_micro_224x224", "backbone_tiny_160x224"),
                         [](const auto& test) { return test.param; });

TEST_P(BackboneGolden, NormalisedMapsInFloat32) {
  const oracle::Golden golden = oracle::ReadGolden(GetParam());
  const nlohmann::json& facts = golden.facts["case"];
  const Variant variant = *FindVariant(facts["variant"].get<std::string>());
  const BoundTensors tensors =
      Synthetic(BackboneTensors(variant, "", true), facts["seed"].get<int64_t>());
  int stages = 0;
  RunBackbone(variant, tensors, DeviceType::kFloat32, ReadGoldenInput(GetParam()).batch,
              [&](size_t stage, const std::vector<float>& values, std::span<const Span> spans) {
                const NormLayer norm = MakeNorm(tensors, "outnorm" + std::to_string(stage));
                EXPECT_LE(oracle::LargestError(golden, "map" + std::to_string(stage),
                                               NormedChannelsFirst(values, norm, spans)),
                          kMapTolerance)
                    << "stage " << stage;
                ++stages;
              });
  EXPECT_EQ(stages, 4);
}

}  // namespace
}  // namespace spatialmamba::gpu
