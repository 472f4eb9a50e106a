// Runs the threads of a CUDA grid as fibers of one host thread: one cluster at a time, every thread
// of its blocks a fiber that runs until it meets a barrier or a warp primitive. Wrong use ends the
// launch with a Fault. Under -fsanitize=address and -fsanitize=thread each fiber is announced to
// the sanitizer, so that out-of-bounds accesses and data races between CUDA threads are reported
// with their source lines.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_on_host/sanitizers.h"
#include "tests/cuda_on_host/stack_switch.h"

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

namespace cuda_on_host {

// A kernel or a launch broke a rule of CUDA.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Options {
  // 0: threads and blocks in order, round robin. Odd: every warp and lane keeps a random priority
  // (some run far ahead). Even: a random ready thread at every step. The order of the clusters is
  // random too.
  unsigned seed = 0;
  size_t max_shared_bytes = 227 * 1024;
  unsigned max_cluster = 8;
};
inline Options options;

constexpr size_t kGuardBytes = 1024;
constexpr unsigned char kGuardByte = 0xA5;
constexpr unsigned char kUninitialised = 0xFF;  // A NaN in fp32, bf16 and fp16; -1 as an integer.
constexpr int kSpinLimit = 1 << 20;

struct Site {
  const char* file;
  int line;
};

struct Wait {
  const char* what = nullptr;  // The primitive that a thread waits in; null: it does not wait.
  Site site{};
  unsigned mask = 0;
  void* data = nullptr;  // What the thread contributes to a warp primitive, and its result.
};

struct Barrier {
  unsigned arrived = 0;
  unsigned generation = 0;
  Wait first;
  char token[2];  // Alternate, so that a late leaver does not acquire what the next round has
                  // released.
};

struct AsyncCopy {
  void* to;
  const void* from;
  size_t bytes;
  size_t zeros;
  unsigned group;
};

struct Fiber;

struct Block {
  unsigned rank_in_cluster = 0;
  unsigned size = 0;
  unsigned live = 0;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  Fiber** threads = nullptr;
  Barrier barrier;
  char exit_token;
  char warp_token[32][2];
};

struct Fiber {
  dim3 thread_index, block_index, block_dim, grid_dim;
  unsigned rank = 0;  // In the block.
  Block* block = nullptr;
  Wait wait;
  bool done = false;
  bool saw_cluster_barrier = false;
  unsigned warp_syncs = 0;
  int spins = 0;
  unsigned copy_group = 0;
  std::vector<AsyncCopy> copies;
  uint64_t priority = 0;

  bool started = false;
  Context context;
  char* stack = nullptr;
  void* fake_stack = nullptr;
  void* tsan_fiber = nullptr;

  unsigned lane() const { return rank % 32; }
  Fiber** warp() const { return block->threads + (rank - lane()); }
};

inline std::string Text(const dim3& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}
inline std::string Text(const Fiber& f) {
  return "block " + Text(f.block_index) + " thread " + Text(f.thread_index);
}
inline std::string Text(const Wait& wait) {
  std::string text =
      std::string(wait.what) + " at " + wait.site.file + ":" + std::to_string(wait.site.line);
  if (wait.mask == 0) return text;
  char mask[32];
  snprintf(mask, sizeof(mask), " with mask 0x%08x", wait.mask);
  return text + mask;
}

class Machine {
 public:
  static Machine& Get() {
    static Machine* machine = new Machine;
    return *machine;
  }

  // The running CUDA thread. Read on every use of threadIdx, so unknown to the race detector.
  __attribute__((no_sanitize("thread"))) static Fiber& Current() { return *current_; }

  void Run(dim3 grid, dim3 block, unsigned cluster, size_t shared_bytes,
           const std::function<void()>& body) {
    const size_t threads = size_t{block.x} * block.y * block.z;
    const size_t blocks = size_t{grid.x} * grid.y * grid.z;
    auto check = [](bool good, const char* what) {
      if (!good) throw Fault(std::string("launch: ") + what);
    };
    check(current_ == nullptr, "a kernel launches a kernel");
    check(threads >= 1 && threads <= 1024 && block.z <= 64, "block size not in 1..1024");
    check(blocks >= 1 && grid.y <= 65535 && grid.z <= 65535, "grid empty, or y or z above 65535");
    check(shared_bytes <= options.max_shared_bytes, "too much shared memory");
    check(cluster >= 1 && cluster <= options.max_cluster && grid.x % cluster == 0,
          "cluster too large, or no divisor of grid.x");

    std::optional<Unchecked> unchecked(std::in_place);
    random_.seed(options.seed);
    body_ = &body;
    fault_.clear();
    Release(&launch_token_);
#ifdef __SANITIZE_THREAD__
    main_tsan_ = __tsan_get_current_fiber();
#endif
    std::vector<size_t> order(blocks / cluster);
    std::iota(order.begin(), order.end(), size_t{0});
    if (options.seed != 0) std::shuffle(order.begin(), order.end(), random_);
    for (size_t i = 0; i < order.size() && fault_.empty(); ++i) {
      RunCluster(grid, block, cluster, shared_bytes, order[i] * cluster);
    }
    Acquire(&finish_token_);
    for (void* memory : shared_) free(memory);
    shared_.clear();
    blocks_.clear();
    unchecked.reset();
    if (!fault_.empty()) throw Fault(fault_);
  }

  // Called by a CUDA thread: ends the launch. Never returns.
  [[noreturn]] void Fail(const std::string& message) {
    Unchecked unchecked;
    fault_ = Text(Current()) + ": " + message;
    ToMain();
    abort();
  }

  // Waits until every thread of the block (of the cluster) is here.
  void Meet(bool whole_cluster, const char* what, Site site) {
    Unchecked unchecked;
    Fiber& me = Current();
    Barrier& barrier = whole_cluster ? cluster_barrier_ : me.block->barrier;
    const size_t expected = whole_cluster ? fibers_in_use_ : me.block->size;
    me.wait = Wait{what, site};
    if (barrier.arrived == 0) {
      barrier.first = me.wait;
    } else if (barrier.first.site.line != site.line ||
               strcmp(barrier.first.site.file, site.file) != 0) {
      Fail("barrier divergence: waits in " + Text(me.wait) + ", others in " + Text(barrier.first));
    }
    char* token = &barrier.token[barrier.generation & 1];
    Release(token);
    if (++barrier.arrived < expected) {
      ToMain();
    } else {
      barrier.arrived = 0;
      ++barrier.generation;
      for (size_t i = 0; i < expected; ++i) {
        Fiber* other = whole_cluster ? fibers_[i].get() : me.block->threads[i];
        other->wait.what = nullptr;
        if (other != &me) MakeReady(other);
      }
    }
    Acquire(token);
    if (whole_cluster) me.saw_cluster_barrier = true;
  }

  // Waits until every lane of `mask` is here; the last one calls `resolve`, which reads and writes
  // the lanes' data. `orders_memory`: __syncwarp does, shuffles and votes do not.
  void MeetWarp(const char* what, Site site, unsigned mask, void* data, bool orders_memory,
                void (*resolve)(Fiber** warp, unsigned mask)) {
    Unchecked unchecked;
    Fiber& me = Current();
    me.wait = Wait{what, site, mask, data};
    if ((mask >> me.lane() & 1) == 0) Fail("calling lane not in the mask: " + Text(me.wait));
    Fiber** warp = me.warp();
    const unsigned lanes = std::min(32u, me.block->size - (me.rank - me.lane()));
    if (lanes < 32 && mask >> lanes != 0)
      Fail("mask names lanes that the block does not have: " + Text(me.wait));
    char* token = &me.block->warp_token[me.rank / 32][me.warp_syncs++ & 1];
    if (orders_memory) Release(token);
    if (AllWait(warp, mask, me.wait)) {
      if (resolve != nullptr) resolve(warp, mask);
      for (unsigned lane = 0; lane < lanes; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        warp[lane]->wait.what = nullptr;
        if (warp[lane] != &me) MakeReady(warp[lane]);
      }
    } else {
      ToMain();
    }
    if (orders_memory) Acquire(token);
  }

  // Lets the other threads run: what a spinning thread must call.
  void Yield() {
    Unchecked unchecked;
    Fiber& me = Current();
    if (++me.spins > kSpinLimit) Fail("spins for ever");
    ready_.push({++ticket_ + (uint64_t{1} << 63), &me});
    ToMain();
  }

  Block& BlockOfCluster(unsigned rank) {
    if (rank >= cluster_) Fail("no block of rank " + std::to_string(rank) + " in the cluster");
    if (!Current().saw_cluster_barrier)
      Fail("remote shared memory before the first cluster barrier");
    return *blocks_[blocks_.size() - cluster_ + rank];
  }
  unsigned cluster() const { return cluster_; }

 private:
  static bool AllWait(Fiber** warp, unsigned mask, const Wait& wait) {
    for (int lane = 31; lane >= 0; --lane) {
      if ((mask >> lane & 1) == 0) continue;
      const Wait& other = warp[lane]->wait;
      if (other.what != wait.what || other.mask != mask || other.site.line != wait.site.line)
        return false;
    }
    return true;
  }

  void MakeReady(Fiber* fiber) {
    const uint64_t key = options.seed == 0       ? ++ticket_
                         : options.seed % 2 != 0 ? fiber->priority
                                                 : random_() >> 1;
    ready_.push({key, fiber});
  }

  void RunCluster(dim3 grid, dim3 block, unsigned cluster, size_t shared_bytes,
                  size_t first_block) {
    const unsigned threads = block.x * block.y * block.z;
    cluster_ = cluster;
    cluster_barrier_ = Barrier();
    fibers_in_use_ = size_t{cluster} * threads;
    Reserve(fibers_in_use_);
    ready_ = {};
    for (unsigned rank = 0; rank < cluster; ++rank) {
      blocks_.emplace_back(new Block);
      Block* b = blocks_.back().get();
      b->rank_in_cluster = rank;
      b->size = b->live = threads;
      b->shared = NewShared(shared_bytes);
      b->shared_bytes = shared_bytes;
      b->threads = &fiber_pointers_[size_t{rank} * threads];
      const size_t index = first_block + rank;
      uint64_t warp_priority = 0;
      for (unsigned i = 0; i < threads; ++i) {
        Fiber& f = *b->threads[i];
        f.thread_index = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
        f.block_index = dim3(static_cast<unsigned>(index % grid.x),
                             static_cast<unsigned>(index / grid.x % grid.y),
                             static_cast<unsigned>(index / (size_t{grid.x} * grid.y)));
        f.block_dim = block;
        f.grid_dim = grid;
        f.rank = i;
        f.block = b;
        f.wait = Wait();
        f.done = f.saw_cluster_barrier = false;
        f.warp_syncs = f.copy_group = 0;
        f.spins = 0;
        f.copies.clear();
        if (i % 32 == 0) warp_priority = random_() >> 1 & ~uint64_t{0xFFFFFFFF};
        f.priority = warp_priority | (random_() & 0xFFFFFFFF);
        MakeReady(&f);
      }
    }
    while (!ready_.empty() && fault_.empty()) {
      Fiber* next = ready_.top().second;
      ready_.pop();
      Resume(next);
    }
    if (fault_.empty()) CheckDeadlock();
    for (size_t i = blocks_.size() - cluster; i < blocks_.size() && fault_.empty(); ++i)
      CheckGuards(*blocks_[i]);
    if (!fault_.empty()) Abandon();
  }

  // Fresh memory for every block, kept until the launch ends: stale pointers and races between
  // blocks show.
  unsigned char* NewShared(size_t bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 1024, bytes + 2 * kGuardBytes) != 0) throw std::bad_alloc();
    shared_.push_back(memory);
    unsigned char* shared = static_cast<unsigned char*>(memory) + kGuardBytes;
    memset(memory, kGuardByte, bytes + 2 * kGuardBytes);
    memset(shared, kUninitialised, bytes);
    Poison(memory, kGuardBytes);
    Poison(shared + bytes, kGuardBytes);
    return shared;
  }

  void CheckGuards([[maybe_unused]] const Block& block) {
#ifndef __SANITIZE_ADDRESS__  // It has seen every access.
    for (size_t i = 0; i < kGuardBytes; ++i) {
      for (ptrdiff_t at :
           {-1 - static_cast<ptrdiff_t>(i), static_cast<ptrdiff_t>(block.shared_bytes + i)}) {
        if (block.shared[at] == kGuardByte) continue;
        fault_ = "block " + Text(block.threads[0]->block_index) +
                 ": write out of bounds of shared memory, at byte " + std::to_string(at) + " of " +
                 std::to_string(block.shared_bytes);
        return;
      }
    }
#endif
  }

  void CheckDeadlock() {
    std::map<std::string, std::pair<int, const Fiber*>> groups;
    bool stuck = false;
    for (size_t i = 0; i < fibers_in_use_; ++i) {
      const Fiber& f = *fibers_[i];
      stuck |= !f.done;
      auto& group = groups[f.done ? "have exited" : "wait in " + Text(f.wait)];
      if (group.first++ == 0) group.second = &f;
    }
    if (!stuck) return;
    fault_ = "divergence: some threads wait for ever:";
    for (const auto& [what, group] : groups) {
      fault_ += "\n  " + std::to_string(group.first) + " threads " + what +
                " (first: " + Text(*group.second) + ")";
    }
  }

  void Reserve(size_t count) {
    while (fibers_.size() < count) {
      constexpr size_t kPage = 4096;
      void* memory = mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED) throw std::bad_alloc();
      mprotect(memory, kPage, PROT_NONE);  // A stack overflow faults.
      fibers_.emplace_back(new Fiber);
      fibers_.back()->stack = static_cast<char*>(memory) + kPage;
      fiber_pointers_.push_back(fibers_.back().get());
    }
  }

  void Resume(Fiber* fiber) {
    if (!fiber->started) {
      fiber->started = true;
      Unpoison(fiber->stack, kStackBytes);
      fiber->context.Start(fiber->stack, &FiberMain);
#ifdef __SANITIZE_THREAD__
      fiber->tsan_fiber = __tsan_create_fiber(0);
#endif
    }
    current_ = fiber;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&main_fake_stack_, fiber->stack, kStackBytes);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(fiber->tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
    main_.SwitchTo(&fiber->context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(main_fake_stack_, nullptr, nullptr);
#endif
    current_ = nullptr;
  }

  void ToMain() {
    Fiber& me = Current();
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&me.fake_stack, main_stack_, main_stack_bytes_);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(main_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
    me.context.SwitchTo(&main_);
#ifdef __SANITIZE_ADDRESS__
    // Another thread of the host may have come back.
    __sanitizer_finish_switch_fiber(me.fake_stack, &main_stack_, &main_stack_bytes_);
#endif
  }

  static void FiberMain() {
    Machine& machine = Get();
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &machine.main_stack_, &machine.main_stack_bytes_);
#endif
    for (;;) {  // One round per block that this fiber takes part in.
      Acquire(&machine.launch_token_);
      (*machine.body_)();
      machine.Exit();
    }
  }

  void Exit() {
    std::optional<Unchecked> unchecked(std::in_place);
    Fiber& me = Current();
    Block* block = me.block;
    if (!me.copies.empty()) Fail("exits with asynchronous copies under way");
    me.done = true;
    Release(&block->exit_token);
    if (--block->live == 0) {
      // The block's shared memory ends here: remote accesses must be ordered before.
      Acquire(&block->exit_token);
      Poison(block->shared, block->shared_bytes);
#ifdef __SANITIZE_THREAD__
      unchecked.reset();
      __tsan_write_range(block->shared, block->shared_bytes);
      unchecked.emplace();
#endif
    }
    Release(&finish_token_);
    ToMain();
  }

  // Leaves the fibers where they are: what their stacks own leaks.
  void Abandon() {
    for (auto& fiber : fibers_) {
#ifdef __SANITIZE_THREAD__
      if (fiber->started) {
        __tsan_switch_to_fiber(fiber->tsan_fiber, 0);
        __tsan_switch_to_fiber(main_tsan_, 0);
      }
#endif
      fiber->started = false;
    }
  }

  using Ready = std::pair<uint64_t, Fiber*>;
  static inline Fiber* current_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::string fault_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> fiber_pointers_;
  size_t fibers_in_use_ = 0;
  unsigned cluster_ = 1;
  Barrier cluster_barrier_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<void*> shared_;
  std::priority_queue<Ready, std::vector<Ready>, std::greater<Ready>> ready_;
  uint64_t ticket_ = 0;
  Context main_;
  [[maybe_unused]] void* main_fake_stack_ = nullptr;
  [[maybe_unused]] const void* main_stack_ = nullptr;
  [[maybe_unused]] size_t main_stack_bytes_ = 0;
  [[maybe_unused]] void* main_tsan_ = nullptr;
  char launch_token_ = 0;
  char finish_token_ = 0;
};

}  // namespace cuda_on_host
