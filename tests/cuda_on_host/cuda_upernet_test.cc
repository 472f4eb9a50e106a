// UPerNet on a GPU against UPerNet on a CPU, in small.
#include "model/net/cuda_upernet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "model/net/upernet.h"
#include "model/net/upernet_tensors.h"
#include "model/runtime/pool_context.h"
#include "model/weights/checkpoint.h"
#include "tests/cuda_on_host/fake_device.h"
#include "tests/model/ops/ops_fixture.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

constexpr double kLogitTolerance = 5e-5;  // of tests/oracle/README.md

using Sizes = std::vector<std::pair<int64_t, int64_t>>;

ModelSpec MicroSpec(int64_t channels = 72) {
  ModelSpec spec{.task = VisionTask::kSegment, .variant = *FindVariant("micro"), .classes = 19};
  spec.segment.channels = channels;  // a panel of taps and a part of one
  return spec;
}

BoundTensors::Values Tensors(const ModelSpec& spec) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : UperNetTensors(spec)) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(5, tensor.key, tensor.shape);
  }
  return tensors;
}

std::vector<float> Pixels(const std::vector<Span>& spans) {
  std::vector<float> pixels;
  for (size_t i = 0; i < spans.size(); ++i) {  // an image's depend on its size alone
    const auto own = RandomVector(static_cast<uint64_t>(spans[i].height * 1000 + spans[i].width),
                                  3 * spans[i].tokens());
    pixels.insert(pixels.end(), own.begin(), own.end());
  }
  return pixels;
}

std::vector<SegmentQuery> QueriesFor(const std::vector<Span>& spans) {
  std::vector<SegmentQuery> queries;
  for (size_t i = 0; i < spans.size(); ++i) {
    queries.push_back({.original = {spans[i].height * 2 / 3 + 1, spans[i].width + 9},
                       .confidence = spans[i].height % 2 == 0,
                       .logits = spans[i].height % 3 == 0});
  }
  return queries;
}

class OnDevice {
 public:
  OnDevice(const ModelSpec& spec, const BoundTensors::Values& tensors,
           DeviceType type = DeviceType::kFloat32)
      : weights_(type), network_(spec, tensors, weights_) {}

  // capacity: of the launches, at least the batch's. capture: records the forward and replays it.
  std::vector<SegmentOutput> Run(const std::vector<Span>& spans, const std::vector<float>& pixels,
                                 const DeviceCapacity& capacity, bool capture = false) {
    DeviceGeometry geometry(capacity);
    DeviceArena arena;
    arena.Reserve(network_.WorkspaceBytes(capacity));
    const DeviceSegmentation segmentation = network_.TakeOutputs(arena, capacity);
    const DeviceBuffer images(3 * sizeof(float) * static_cast<size_t>(capacity.tokens[0]));
    const auto* input = static_cast<const float*>(images.data());
    CUgraphExec_st* graph = nullptr;
    if (capture) {
      BeginCapture(stream_.get());
      network_.FillLogits(arena, geometry, input, segmentation, stream_.get());
      graph = EndCapture(stream_.get());
    }
    geometry.Fill(spans, stream_.get());
    CopyToDevice(images.data(), pixels.data(), pixels.size() * sizeof(float), stream_.get());
    if (capture) {
      LaunchGraph(graph, stream_.get());
    } else {
      network_.FillLogits(arena, geometry, input, segmentation, stream_.get());
    }
    const CudaSegmentAnswers answers(spans, QueriesFor(spans), network_.classes());
    const DeviceBuffer labels(answers.device_bytes());
    const PinnedBuffer host(answers.host_bytes());
    answers.Launch(segmentation, labels.data(), host.data(), stream_.get());
    logits_ = Map(TotalTokens(HeadSpans(spans)), segmentation.logits.stride);
    CopyToHost(logits_.values.data(), segmentation.logits.data,
               logits_.values.size() * sizeof(float), stream_.get());
    Synchronize(stream_.get());
    if (capture) DestroyGraph(graph);
    return answers.Read(host.data());
  }
  std::vector<SegmentOutput> Run(const std::vector<Span>& spans) {
    return Run(spans, Pixels(spans), DeviceCapacity::Of(spans));
  }

  static std::vector<Span> HeadSpans(const std::vector<Span>& spans) {
    return Halved(Halved(spans));
  }

  // Of the latest run: [tokens, classes], the classes padded.
  const Map& logits() const { return logits_; }
  const CudaUperNet& network() const { return network_; }

 private:
  CudaStream stream_;
  DeviceWeights weights_;
  CudaUperNet network_;
  Map logits_{0, 0};
};

// The CPU's labels and confidence for logits that a device computed.
std::vector<SegmentOutput> LabelsOf(const Map& logits, int64_t classes,
                                    const std::vector<Span>& spans) {
  ThreadPool pool(1);
  PoolContext context(pool);
  const SegmentLogits head{{logits.values.data(), logits.rows, classes, logits.stride},
                           OnDevice::HeadSpans(spans)};
  return UperNet::Label(context, head, spans, QueriesFor(spans));
}

void ExpectAnswers(const std::vector<SegmentOutput>& outputs,
                   const std::vector<SegmentOutput>& want) {
  ASSERT_EQ(outputs.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(outputs[i].labels, want[i].labels) << i;
    EXPECT_EQ(outputs[i].class_pixels, want[i].class_pixels) << i;
    EXPECT_EQ(outputs[i].confidence_height, want[i].confidence_height) << i;
    EXPECT_EQ(outputs[i].confidence_width, want[i].confidence_width) << i;
    ASSERT_EQ(outputs[i].confidence.size(), want[i].confidence.size()) << i;
    for (size_t t = 0; t < want[i].confidence.size(); ++t) {
      EXPECT_LE(std::abs(outputs[i].confidence[t] - want[i].confidence[t]), 1) << i << " " << t;
    }
    EXPECT_EQ(outputs[i].logits, want[i].logits) << i;
    EXPECT_EQ(outputs[i].logits_size, want[i].logits_size) << i;
    EXPECT_EQ(outputs[i].input, want[i].input) << i;
  }
}

Map LogitsOfTheCpu(const UperNet& network, const std::vector<Span>& spans) {
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const std::vector<float> pixels = Pixels(spans);
  const SegmentLogits head =
      network.FillLogits(context, arena, {pixels.data(), TotalTokens(spans), 3, 3}, spans);
  Map logits(head.logits.rows, head.logits.channels);
  for (int64_t t = 0; t < logits.rows; ++t) {
    std::copy_n(head.logits.row(t), logits.channels, &logits.at(t, 0));
  }
  return logits;
}

double LargestError(const Map& logits, const Map& want) {
  double largest = 0;
  for (int64_t t = 0; t < want.rows; ++t) {
    for (int64_t c = 0; c < want.channels; ++c) {
      const double error = std::abs(double{logits.at(t, c)} - double{want.at(t, c)});
      largest = error <= largest ? largest : error;
    }
  }
  return largest;
}

double Largest(const Map& map) {
  double largest = 0;
  for (const float value : map.values) largest = std::max(largest, std::abs(double{value}));
  return largest;
}

const Sizes kSizes = {{36, 50}, {1, 1}, {33, 9}, {5, 64}};

TEST(CudaUperNet, LogitsAndAnswersAreThoseOfTheCpu) {
  const ModelSpec spec = MicroSpec();
  const BoundTensors::Values tensors = Tensors(spec);
  const std::vector<Span> spans = SpansOf(kSizes);
  const Map want = LogitsOfTheCpu(UperNet(spec, tensors), spans);
  OnDevice device(spec, tensors);
  const std::vector<SegmentOutput> outputs = device.Run(spans);
  EXPECT_LE(LargestError(device.logits(), want), kLogitTolerance);
  ExpectAnswers(outputs, LabelsOf(device.logits(), spec.classes, spans));
}

TEST(CudaUperNet, Bfloat16IsNear) {
  const ModelSpec spec = MicroSpec();
  const BoundTensors::Values tensors = Tensors(spec);
  const std::vector<Span> spans = SpansOf({{36, 50}, {33, 9}});
  const Map want = LogitsOfTheCpu(UperNet(spec, tensors), spans);
  OnDevice device(spec, tensors, DeviceType::kBfloat16);
  const std::vector<SegmentOutput> outputs = device.Run(spans);
  ExpectAnswers(outputs, LabelsOf(device.logits(), spec.classes, spans));
  EXPECT_LE(LargestError(device.logits(), want), 3e-2 * Largest(want));
}

TEST(CudaUperNet, ImagesOfUnequalSizesGetTheBitsThatTheyGetAlone) {
  const ModelSpec spec = MicroSpec(16);
  const std::vector<Span> spans = SpansOf(kSizes);
  for (const DeviceType type : {DeviceType::kFloat32, DeviceType::kBfloat16}) {
    OnDevice device(spec, Tensors(spec), type);
    const std::vector<SegmentOutput> together = device.Run(spans);
    const Map logits = device.logits();
    for (size_t i = 0; i < spans.size(); ++i) {
      const std::vector<Span> own = SpansOf({kSizes[i]});
      EXPECT_TRUE(device.Run(own)[0] == together[i]) << i;
      const int64_t first = OnDevice::HeadSpans(spans)[i].offset;
      for (int64_t t = 0; t < device.logits().rows; ++t) {
        EXPECT_EQ(std::memcmp(&device.logits().values[static_cast<size_t>(t * logits.stride)],
                              &logits.values[static_cast<size_t>((first + t) * logits.stride)],
                              static_cast<size_t>(spec.classes) * sizeof(float)),
                  0)
            << i << " " << t;
      }
    }
  }
}

TEST(CudaUperNet, ACapturedForwardServesBatchesWithinItsCapacity) {
  const ModelSpec spec = MicroSpec(16);
  OnDevice device(spec, Tensors(spec));
  const DeviceCapacity capacity =
      DeviceCapacity::Of(SpansOf({{40, 64}, {33, 33}, {40, 20}, {40, 20}, {64, 64}}));
  for (const Sizes& sizes : {kSizes, Sizes{{17, 30}}}) {
    const std::vector<Span> spans = SpansOf(sizes);
    const std::vector<SegmentOutput> want = device.Run(spans);
    EXPECT_TRUE(device.Run(spans, Pixels(spans), capacity, true) == want);
  }
}

TEST(CudaUperNet, NumbersThatAreNotFiniteAreTheErrorOfTheirImage) {
  const ModelSpec spec = MicroSpec(16);
  OnDevice device(spec, Tensors(spec));
  const std::vector<Span> spans = SpansOf({{20, 30}, {9, 9}});
  std::vector<float> pixels = Pixels(spans);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    pixels[3 * 333] = bad;
    EXPECT_THROW(device.Run(spans, pixels, DeviceCapacity::Of(spans)), std::domain_error);
  }
}

TEST(CudaUperNet, ProductsInPiecesChangeNoBitAndBoundTheMemory) {
  const ModelSpec spec = MicroSpec();
  OnDevice device(spec, Tensors(spec));
  const std::vector<Span> spans = SpansOf(kSizes);
  const std::vector<SegmentOutput> want = device.Run(spans);
  DeviceCapacity capacity = DeviceCapacity::Of(spans);
  capacity.tokens[3] = 8000;  // the products of both panels would take more than 32 MiB
  EXPECT_TRUE(device.Run(spans, Pixels(spans), capacity) == want);
  const size_t bytes = device.network().WorkspaceBytes(capacity);
  capacity.tokens[3] += 1000;
  // Of each token: one panel's products, the lateral map and its output, and the norm of its map.
  EXPECT_EQ(device.network().WorkspaceBytes(capacity) - bytes,
            1000 * sizeof(float) * (9 * 64 + 2 * 72 + 32));
}

TEST(CudaUperHead, ChannelsThatKernelsDoNotKnowAreRefused) {
  for (const ModelSpec& spec : {MicroSpec(20), MicroSpec(12)}) {
    DeviceWeights weights(DeviceType::kFloat32);
    EXPECT_THROW(CudaUperNet(spec, Tensors(spec), weights), CheckpointError);
  }
  ModelSpec spec = MicroSpec(16);
  const BoundTensors::Values tensors = Tensors(spec);
  for (const std::vector<int64_t>& scales : {std::vector<int64_t>{}, {1, 0, 3, 6}}) {
    spec.segment.pool_scales = scales;
    DeviceWeights weights(DeviceType::kFloat32);
    EXPECT_THROW(CudaUperNet(spec, tensors, weights), std::invalid_argument);
  }
}

TEST(CudaSegmentAnswers, AnErrorIsThatOfItsImage) {
  const std::vector<Span> spans = SpansOf({{3, 3}, {4, 4}});  // one token each
  const CudaSegmentAnswers answers(spans, std::vector<SegmentQuery>(2, {.original = {2, 5}}), 3);
  const DeviceBuffer logits(8 * sizeof(float)), confidence(2), flags(2 * sizeof(int));
  const DeviceBuffer labels(answers.device_bytes());
  const PinnedBuffer host(answers.host_bytes());
  const std::vector<float> values = {1, 2, NAN, 0, 1, 2, 3, 0};
  const std::vector<int> not_finite = {1, 0};
  CopyToDevice(logits.data(), values.data(), logits.bytes(), nullptr);
  CopyToDevice(flags.data(), not_finite.data(), flags.bytes(), nullptr);
  answers.Launch({{logits.data(), 3, 4, DeviceType::kFloat32},
                  static_cast<uint8_t*>(confidence.data()),
                  static_cast<int*>(flags.data())},
                 labels.data(), host.data(), nullptr);
  EXPECT_THROW(answers.Read(host.data(), 0), std::domain_error);
  EXPECT_EQ(answers.Read(host.data(), 1).labels, std::vector<uint16_t>(10, 2));
  EXPECT_THROW(answers.Read(host.data()), std::domain_error);
}

TEST(CudaSegmentAnswers, EachImageNeedsAQueryOfASize) {
  const std::vector<Span> spans = SpansOf({{8, 8}});
  EXPECT_THROW(CudaSegmentAnswers(spans, {}, 3), std::invalid_argument);
  for (const PixelSize& size : {PixelSize{3, 0}, {0, 3}, {int64_t{1} << 31, 1}, {70000, 70000}}) {
    const std::vector<SegmentQuery> queries = {{.original = size}};
    EXPECT_THROW(CudaSegmentAnswers(spans, queries, 3), std::invalid_argument);
  }
}

}  // namespace
}  // namespace spatialmamba
