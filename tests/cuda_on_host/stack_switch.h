// A stack that can be left and returned to.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) || defined(CUDA_ON_HOST_UCONTEXT)
#include <ucontext.h>
#endif

namespace cuda_on_host {

constexpr size_t kStackBytes = 256 * 1024;

#if defined(__x86_64__) && !defined(CUDA_ON_HOST_UCONTEXT)  // else ucontext: portable, slower
// Saves the callee-saved registers and the stack pointer (in *from), continues at the stack pointer
// `to`.
extern "C" void CudaOnHostSwitch(void** from, void* to);
asm(R"(
  .pushsection .text
  .weak CudaOnHostSwitch
  .type CudaOnHostSwitch, @function
CudaOnHostSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .popsection
)");

struct Context {
  void* stack_pointer = nullptr;
  void Start(char* stack, void (*entry)()) {
    void** top = reinterpret_cast<void**>(stack + kStackBytes);
    // The return address of `entry`, which never returns; keeps its stack aligned.
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    stack_pointer = top;
  }
  void SwitchTo(Context* to) { CudaOnHostSwitch(&stack_pointer, to->stack_pointer); }
};
#else
struct Context {
  ucontext_t context;
  void Start(char* stack, void (*entry)()) {
    getcontext(&context);
    context.uc_stack = {stack, 0, kStackBytes};
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
  void SwitchTo(Context* to) { swapcontext(&context, &to->context); }
};
#endif

}  // namespace cuda_on_host
