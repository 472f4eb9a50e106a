#include "server/warm_up.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "server/postprocess.h"

namespace spatialmamba {
namespace {

using Stopwatch = std::chrono::steady_clock;

constexpr int64_t kPictureSide = 256;  // where the model takes pictures as they are
constexpr int64_t kLargestBatch = 8;
constexpr int64_t kLargestBatchOfGpu = 32;  // where its line has long been straight
constexpr int64_t kLargestSlowBatch = 2;
// A start is a noisy time: the best of several runs is taken, of as many as a slow model has time
// for.
constexpr int kRepetitions = 7;
constexpr double kEnoughSeconds = 0.5;

// The best of a few runs, of a batch of `images`.
double BestSeconds(Replica& replica, const std::vector<ImageView>& images) {
  double best = 0;
  double all = 0;
  for (int i = 0; i < kRepetitions && all < kEnoughSeconds; ++i) {
    const Stopwatch::time_point begun = Stopwatch::now();
    replica.Run(images);
    const double taken = std::chrono::duration<double>(Stopwatch::now() - begun).count();
    best = i == 0 ? taken : std::min(best, taken);
    all += taken;
  }
  return best;
}

// What requests ask for that choose nothing.
Query UsualQuery(const ServedModel& model, const PixelSize& size) {
  TaskOptions options;
  if (model.spec.task == VisionTask::kDetect) options = DetectOptions();
  if (model.spec.task == VisionTask::kSegment) options = SegmentOptions();
  return MakeQuery(options, model, {size, size});
}

}  // namespace

NetworkInputSize UsualInput(const PreprocessOptions& options) {
  return InputSize(kPictureSide, kPictureSide, options);
}

Profile WarmUp(const ServedModel& model, Replica& replica) {
  const Stopwatch::time_point begun = Stopwatch::now();
  NetworkInputSize size = UsualInput(model.preprocess);
  while (size.height * size.width > model.max_input_pixels && size.height > 1 && size.width > 1) {
    size = {size.height / 2, size.width / 2};
  }
  const std::vector<float> grey(static_cast<size_t>(3 * size.height * size.width), 0.0F);
  const ImageView picture{grey.data(), size.height, size.width,
                          UsualQuery(model, {size.height, size.width})};
  const auto pixels = static_cast<double>(size.height * size.width);

  replica.Run({&picture, 1});  // slower than all that follow
  const double alone = BestSeconds(replica, {picture});
  const int64_t largest = replica.device() == "cpu" ? kLargestBatch : kLargestBatchOfGpu;
  const int64_t enough = alone < kEnoughSeconds / 2 ? largest : kLargestSlowBatch;
  const int64_t batch = std::clamp<int64_t>(model.max_input_pixels / (size.height * size.width), 1,
                                            std::min(enough, model.batching.max_batch_size));
  double per_pixel = alone / pixels;
  if (batch > 1) {
    const std::vector<ImageView> pictures(static_cast<size_t>(batch), picture);
    const double together = BestSeconds(replica, pictures);
    const double slope = (together - alone) / (static_cast<double>(batch - 1) * pixels);
    per_pixel = std::clamp(slope, 0.25 * per_pixel, per_pixel);
  }
  const double fixed = std::max(0.0, alone - per_pixel * pixels);
  return {.fixed = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(fixed)),
          .seconds_per_pixel = per_pixel,
          .taken = Stopwatch::now() - begun};
}

}  // namespace spatialmamba
