#include "tests/bench/gpu_model.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tests/oracle/synthetic.h"

namespace spatialmamba {
namespace {

// Sets of inputs, so that none is found in a cache because the run before left it there; and how
// many different pictures they are made of.
constexpr size_t kSets = 3;
constexpr int64_t kPictures = 8;

using Milliseconds = std::chrono::duration<double, std::milli>;

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// The picture of that seed, normalised as the published pipelines do.
std::vector<float> Pixels(int64_t seed, const BatchSize& size) {
  constexpr float kMean[3] = {123.675F, 116.28F, 103.53F};
  constexpr float kDeviation[3] = {58.395F, 57.12F, 57.375F};
  const std::vector<uint8_t> bytes = oracle::Image(seed, size.height, size.width);
  std::vector<float> pixels(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    pixels[i] = (static_cast<float>(bytes[i]) - kMean[i % 3]) / kDeviation[i % 3];
  }
  return pixels;
}

std::vector<Span> Spans(const BatchSize& size) {
  std::vector<Span> spans;
  for (int64_t i = 0; i < size.images; ++i) {
    spans.push_back({i * size.pixels(), size.height, size.width});
  }
  return spans;
}

}  // namespace

BenchedBatch::BenchedBatch(BenchedNetwork& network, const BatchSize& size)
    : network_(network),
      size_(size),
      capacity_(DeviceCapacity::Of(Spans(size))),
      geometry_(capacity_) {
  arena_.Reserve(network_.WorkspaceBytes(capacity_));
  network_.Prepare(arena_, capacity_, Spans(size_), stream_.get());
  geometry_.Fill(Spans(size_), stream_.get());
  // A picture's seed is its place in the first set: gpu_peer.py makes the same.
  std::vector<std::vector<float>> pictures;
  for (int64_t i = 0; i < std::min(kPictures, size_.images); ++i) {
    pictures.push_back(Pixels(1 + i, size_));
  }
  for (size_t set = 0; set < kSets; ++set) {
    DeviceBuffer& buffer =
        sets_.emplace_back(static_cast<size_t>(size_.images * size_.pixels()) * 3 * sizeof(float));
    for (size_t i = 0; i < static_cast<size_t>(size_.images); ++i) {
      const std::vector<float>& picture = pictures[(i + set) % pictures.size()];
      const size_t bytes = picture.size() * sizeof(float);
      CopyToDevice(static_cast<char*>(buffer.data()) + i * bytes, picture.data(), bytes,
                   stream_.get());
    }
  }
  Launch(0);  // loads the kernels, which a capture must not
  Synchronize(stream_.get());
}

BenchedBatch::~BenchedBatch() {
  for (const Recording& recording : recordings_) DestroyGraph(recording.graph);
}

void BenchedBatch::Launch(size_t set) {
  network_.Forward(arena_, geometry_, static_cast<const float*>(sets_[set].data()), stream_.get());
}

ModelTime BenchedBatch::Measure(double seconds) {
  for (size_t set = 0; set < kSets; ++set) {
    recordings_.push_back(Record(stream_.get(), [&] { Launch(set); }));
  }
  DeviceTimer timer(stream_.get());
  size_t next = 0;
  const auto group = [&](int count) {
    timer.Start();
    for (int i = 0; i < count; ++i) LaunchGraph(recordings_[next++ % kSets].graph, stream_.get());
    return timer.Stop() / count;
  };
  group(3);
  // Groups long enough for the events' resolution and the first launch's delay not to count.
  const int count = std::clamp(static_cast<int>(std::ceil(5 / group(3))), 3, 500);
  std::vector<double> times;
  for (double spent = 0; times.size() < 5 || spent < seconds * 1000;) {
    times.push_back(group(count));
    spent += times.back() * count;
  }
  std::vector<double> latencies;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    LaunchGraph(recordings_[next++ % kSets].graph, stream_.get());
    Synchronize(stream_.get());
    latencies.push_back(Milliseconds(std::chrono::steady_clock::now() - start).count());
  }
  return {.milliseconds = Median(times),
          .best_milliseconds = *std::ranges::min_element(times),
          .latency_milliseconds = Median(latencies),
          .launches = recordings_[0].nodes,
          .workspace_bytes = arena_.bytes(),
          .replays = count * static_cast<int>(times.size())};
}

std::vector<float> BenchedBatch::RunOnce() {
  StartProfile();
  Launch(0);
  Synchronize(stream_.get());
  StopProfile();
  return network_.Answer(size_.images, stream_.get());
}

}  // namespace spatialmamba
