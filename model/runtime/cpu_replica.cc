#include "model/runtime/cpu_replica.h"

#include <algorithm>
#include <utility>

#include "model/ops/arena.h"
#include "model/runtime/network.h"
#include "model/runtime/pool_context.h"
#include "model/runtime/thread_pool.h"

namespace spatialmamba {
namespace {

// Images up to this size run one a thread; larger ones one after the other, each on all threads, so
// that the workspace of a process is that of its largest image and not as many times that as it has
// threads.
constexpr int64_t kAlonePixels = 512 * 512;

}  // namespace

struct CpuReplica::State {
  State(const ModelSpec& model, const Checkpoint& checkpoint, ThreadPool& threads)
      : network(MakeNetwork(model, checkpoint)), pool(threads), together(threads) {
    arenas.resize(static_cast<size_t>(threads.threads()));
  }

  // One image on the calling thread alone.
  void RunAlone(const ImageView& image, int worker, std::optional<Prediction>& prediction) {
    SerialContext context(together.Scratch(worker));
    const Span span{.offset = 0, .height = image.height, .width = image.width};
    const ConstView pixels{image.pixels, span.tokens(), 3, 3};
    prediction = std::move(network->Forward(context, arenas[static_cast<size_t>(worker)], pixels,
                                            {&span, 1}, {&image.query, 1})[0]);
  }

  // The images of these indices in one ragged batch that all threads share.
  void RunTogether(std::span<const ImageView> images, std::span<const size_t> indices,
                   std::span<std::optional<Prediction>> predictions) {
    std::vector<Span> spans;
    std::vector<Query> queries;
    int64_t tokens = 0;
    for (const size_t i : indices) {
      queries.push_back(images[i].query);
      spans.push_back({tokens, images[i].height, images[i].width});
      tokens += spans.back().tokens();
    }
    std::vector<float> joined;
    ConstView pixels{images[indices[0]].pixels, tokens, 3, 3};
    if (indices.size() > 1) {
      joined.reserve(static_cast<size_t>(3 * tokens));
      for (const size_t i : indices) {
        joined.insert(joined.end(), images[i].pixels,
                      images[i].pixels + 3 * images[i].height * images[i].width);
      }
      pixels.data = joined.data();
    }
    std::vector<Prediction> outputs = network->Forward(together, arenas[0], pixels, spans, queries);
    for (size_t i = 0; i < indices.size(); ++i) predictions[indices[i]] = std::move(outputs[i]);
  }

  const std::unique_ptr<const Network> network;
  ThreadPool& pool;
  PoolContext together;
  std::vector<Arena> arenas;  // one a worker
};

CpuReplica::CpuReplica(const ModelSpec& spec, const Checkpoint& checkpoint, ThreadPool& pool)
    : Replica(spec, "cpu"), state_(std::make_unique<State>(spec, checkpoint, pool)) {}

CpuReplica::~CpuReplica() = default;

std::vector<std::optional<Prediction>> CpuReplica::Run(std::span<const ImageView> images,
                                                       absl::FunctionRef<bool(size_t)> wanted) {
  CheckImages(images);
  std::vector<std::optional<Prediction>> predictions(images.size());
  std::vector<size_t> small;
  for (size_t i = 0; i < images.size(); ++i) {
    if (images[i].height * images[i].width <= kAlonePixels) {
      small.push_back(i);
    } else if (wanted(i)) {
      state_->RunTogether(images, {&i, 1}, predictions);
    }
  }
  // As many images as threads and more: one image a thread, without a barrier between the ops. What
  // is left over is shared by all threads in one ragged batch.
  const auto threads = static_cast<size_t>(state_->pool.threads());
  const size_t alone = small.size() / threads * threads;
  state_->pool.ParallelFor(static_cast<int64_t>(alone), [&](int64_t item, int worker) {
    const size_t i = small[static_cast<size_t>(item)];
    if (wanted(i)) state_->RunAlone(images[i], worker, predictions[i]);
  });
  small.erase(small.begin(), small.begin() + static_cast<int64_t>(alone));
  std::erase_if(small, [&](size_t i) { return !wanted(i); });
  if (!small.empty()) state_->RunTogether(images, small, predictions);
  return predictions;
}

int64_t CpuReplica::WorkspaceBytes(int64_t height, int64_t width) const {
  const Span span{.offset = 0, .height = height, .width = width};
  return (state_->network->WorkspaceFloats({&span, 1}) + 3 * span.tokens()) *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace spatialmamba
