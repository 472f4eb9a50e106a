#include "model/runtime/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace spatialmamba {
namespace {

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Between two ops of a forward pass there are microseconds: a thread that slept in between would
// cost more than the op. About 50 us, after which an idle server costs nothing.
constexpr int kSpins = 2000;

}  // namespace

struct ThreadPool::State {
  explicit State(int count) : threads(count) {}

  // Takes items of the current loop until none is left.
  void Work(int worker) {
    for (;;) {
      const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
      if (item >= items) return;
      try {
        (*body)(item, worker);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
  }

  void Loop(const std::stop_token& stop, int worker) {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen; ++i)
        Pause();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        started.wait(lock, [&] {
          return stop.stop_requested() || generation.load(std::memory_order_acquire) != seen;
        });
        if (stop.stop_requested()) return;
      }
      seen = generation.load(std::memory_order_acquire);
      active.fetch_add(1);
      if (open.load()) Work(worker);
      active.fetch_sub(1);
    }
  }

  void Run(int64_t count, absl::FunctionRef<void(int64_t, int)> loop_body) {
    const std::lock_guard turn(callers);
    items = count;
    body.emplace(loop_body);
    next.store(0);
    {
      const std::lock_guard lock(mutex);
      open.store(true);
      generation.fetch_add(1);
    }
    started.notify_all();
    Work(0);
    // Only threads that have joined are waited for: one that the system has not scheduled yet has
    // nothing left to do.
    open.store(false);
    while (active.load() != 0) Pause();
    std::exception_ptr thrown;
    {
      const std::lock_guard lock(error_mutex);
      thrown = std::exchange(error, nullptr);
    }
    if (thrown) std::rethrow_exception(thrown);
  }

  const int threads;
  std::mutex callers;  // one loop at a time

  // The current loop. Written while `open` is false and no thread is active, so that whoever joins
  // afterwards (active rises, then open is read) sees the new values or leaves.
  int64_t items = 0;
  std::optional<absl::FunctionRef<void(int64_t, int)>> body;
  std::atomic<int64_t> next{0};
  std::atomic<bool> open{false};
  std::atomic<int> active{0};  // pool threads that look at the loop

  std::mutex mutex;  // orders `generation` with a thread that goes to sleep
  std::condition_variable started;
  std::atomic<uint64_t> generation{0};

  std::mutex error_mutex;  // guards error
  std::exception_ptr error;

  std::vector<std::jthread> pool;  // last: joined first
};

ThreadPool::ThreadPool(int threads) {
  if (threads < 1)
    throw std::invalid_argument("ThreadPool: " + std::to_string(threads) + " threads");
  state_ = std::make_unique<State>(threads);
  for (int worker = 1; worker < threads; ++worker) {
    state_->pool.emplace_back(
        [state = state_.get(), worker](const std::stop_token& stop) { state->Loop(stop, worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    for (std::jthread& thread : state_->pool) thread.request_stop();
  }
  state_->started.notify_all();
}

int ThreadPool::threads() const { return state_->threads; }

void ThreadPool::ParallelFor(int64_t items,
                             absl::FunctionRef<void(int64_t item, int worker)> body) {
  if (items <= 0) return;
  if (state_->threads == 1 || items == 1) {
    const std::lock_guard turn(state_->callers);
    for (int64_t item = 0; item < items; ++item) body(item, 0);
    return;
  }
  state_->Run(items, body);
}

}  // namespace spatialmamba
