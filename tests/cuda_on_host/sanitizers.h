// What the scheduler tells AddressSanitizer and ThreadSanitizer; nothing, where there is none.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
extern "C" {
void __tsan_write_range(void* address, unsigned long size);
void AnnotateIgnoreWritesBegin(const char* file, int line);  // reads too
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace cuda_on_host {

#ifdef __SANITIZE_THREAD__
inline void Acquire(void* token) { __tsan_acquire(token); }
inline void Release(void* token) { __tsan_release(token); }
// The scheduler's own bookkeeping is no business of the race detector.
struct Unchecked {
  Unchecked() { AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
  ~Unchecked() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__); }
};
#else
inline void Acquire(void*) {}
inline void Release(void*) {}
struct Unchecked {
  Unchecked() {}
  ~Unchecked() {}
};
#endif

inline void Poison([[maybe_unused]] void* address, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(address, bytes);
#endif
}

inline void Unpoison([[maybe_unused]] void* address, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(address, bytes);
#endif
}

}  // namespace cuda_on_host
