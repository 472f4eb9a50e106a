#include "model/runtime/replica.h"

#include <algorithm>
#include <stdexcept>

#include "model/net/classifier.h"
#include "model/net/tensor_list.h"
#include "model/ops/arena.h"
#include "model/runtime/pool_context.h"
#include "model/runtime/thread_pool.h"
#include "model/weights/binder.h"

namespace spatialmamba {
namespace {

Classifier MakeClassifier(const ModelSpec& spec, const Checkpoint& checkpoint) {
  if (spec.task != VisionTask::kClassify) {
    throw CheckpointError("this version serves classification models only: set `task: classify`");
  }
  if (spec.variant.dim < 2 || spec.variant.dim % 2 != 0) {
    throw CheckpointError("variant: dim must be an even number of at least 2, not " +
                          std::to_string(spec.variant.dim));
  }
  const BoundTensors tensors = Bind(ClassifierTensors(spec.variant, spec.classes), checkpoint);
  CheckFinite(tensors);
  return {spec.variant, spec.classes, tensors};
}

}  // namespace

struct Replica::State {
  State(const ModelSpec& model, const Checkpoint& checkpoint, ThreadPool& threads)
      : spec(model), network(MakeClassifier(model, checkpoint)), pool(threads), together(threads) {
    arenas.resize(static_cast<size_t>(threads.threads()));
  }

  // One image on the calling thread alone.
  void RunAlone(const ImageView& image, int worker, Prediction& prediction) {
    SerialContext context(together.Scratch(worker));
    const Span span{.offset = 0, .height = image.height, .width = image.width};
    const ConstView pixels{image.pixels, span.tokens(), 3, 3};
    prediction.logits.resize(static_cast<size_t>(spec.classes));
    network.Forward(context, arenas[static_cast<size_t>(worker)], pixels, {&span, 1},
                    {prediction.logits.data(), 1, spec.classes, spec.classes});
  }

  // Several images, or one, in one ragged batch that all threads share.
  void RunTogether(std::span<const ImageView> images, std::span<Prediction> predictions) {
    std::vector<Span> spans;
    int64_t tokens = 0;
    for (const ImageView& image : images) {
      spans.push_back({tokens, image.height, image.width});
      tokens += image.height * image.width;
    }
    const auto count = static_cast<int64_t>(images.size());
    std::vector<float> logits(static_cast<size_t>(count * spec.classes));
    std::vector<float> joined;
    ConstView pixels{images[0].pixels, tokens, 3, 3};
    if (count > 1) {
      joined.reserve(static_cast<size_t>(3 * tokens));
      for (const ImageView& image : images) {
        joined.insert(joined.end(), image.pixels, image.pixels + 3 * image.height * image.width);
      }
      pixels.data = joined.data();
    }
    network.Forward(together, arenas[0], pixels, spans,
                    {logits.data(), count, spec.classes, spec.classes});
    for (int64_t i = 0; i < count; ++i) {
      const auto first = logits.begin() + i * spec.classes;
      predictions[static_cast<size_t>(i)].logits.assign(first, first + spec.classes);
    }
  }

  const ModelSpec spec;
  const Classifier network;
  ThreadPool& pool;
  PoolContext together;
  std::vector<Arena> arenas;  // one a worker
};

Replica::Replica(const ModelSpec& spec, const Checkpoint& checkpoint, ThreadPool& pool)
    : state_(std::make_unique<State>(spec, checkpoint, pool)) {}

Replica::~Replica() = default;

std::vector<Prediction> Replica::Run(std::span<const ImageView> images) {
  for (const ImageView& image : images) {
    if (image.pixels == nullptr || image.height < 1 || image.width < 1) {
      throw std::invalid_argument("Replica: an image without pixels");
    }
  }
  std::vector<Prediction> predictions(images.size());
  // As many images as threads and more: one image a thread, without a barrier between the ops. What
  // is left over is shared by all threads.
  const auto threads = static_cast<size_t>(state_->pool.threads());
  const size_t alone = images.size() / threads * threads;
  if (alone > 0) {
    state_->pool.ParallelFor(static_cast<int64_t>(alone), [&](int64_t item, int worker) {
      const auto i = static_cast<size_t>(item);
      state_->RunAlone(images[i], worker, predictions[i]);
    });
  }
  if (alone < images.size()) {
    state_->RunTogether(images.subspan(alone), std::span(predictions).subspan(alone));
  }
  return predictions;
}

int64_t Replica::WorkspaceBytes(int64_t height, int64_t width) const {
  const Span span{.offset = 0, .height = height, .width = width};
  return (state_->network.WorkspaceFloats({&span, 1}) + 3 * span.tokens()) *
         static_cast<int64_t>(sizeof(float));
}

const ModelSpec& Replica::spec() const { return state_->spec; }

}  // namespace spatialmamba
