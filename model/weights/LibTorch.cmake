# The CPU part of LibTorch as imported target LibTorch::cpu, taken from torch's Python package. find_package(Torch) is
# not used: it wants a CUDA toolkit at configure time, and the server calls no CUDA code of LibTorch.
if(NOT SPATIALMAMBA_LIBTORCH)
  set(dependencies "$ENV{SPATIALMAMBA_DEPS}")
  if(NOT dependencies)
    set(dependencies "$ENV{HOME}/.cache/spatial-mamba")
  endif()
  file(GLOB found "${dependencies}/libtorch/lib/python3*/site-packages/torch")
  list(POP_FRONT found first)
  set(SPATIALMAMBA_LIBTORCH "${first}" CACHE PATH "Folder of torch's Python package" FORCE)
endif()
if(NOT EXISTS "${SPATIALMAMBA_LIBTORCH}/lib/libtorch_cpu.so")
  set(missing "${SPATIALMAMBA_LIBTORCH}")
  if(NOT missing)
    set(missing "${dependencies}/libtorch")
  endif()
  unset(SPATIALMAMBA_LIBTORCH CACHE)  # or the next configure would not look again
  message(FATAL_ERROR "LibTorch is missing: no lib/libtorch_cpu.so under \"${missing}\". Run `make build`, which installs "
          "it, or pass -DSPATIALMAMBA_LIBTORCH=<site-packages>/torch of an installed torch 2.11.0.")
endif()

# The CUDA libraries that libtorch_cpu.so itself is linked to: the profiler (CUPTI) and the run time. It
# finds them itself when it is loaded; the linker has to be told.
cmake_path(GET SPATIALMAMBA_LIBTORCH PARENT_PATH site_packages)
set(libtorch_cuda_libraries "${site_packages}/nvidia/cu13/lib")

add_library(LibTorch::c10 SHARED IMPORTED GLOBAL)
set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION "${SPATIALMAMBA_LIBTORCH}/lib/libc10.so")

add_library(LibTorch::cpu SHARED IMPORTED GLOBAL)
set_target_properties(LibTorch::cpu PROPERTIES IMPORTED_LOCATION "${SPATIALMAMBA_LIBTORCH}/lib/libtorch_cpu.so")
target_include_directories(LibTorch::cpu SYSTEM INTERFACE "${SPATIALMAMBA_LIBTORCH}/include"
                           "${SPATIALMAMBA_LIBTORCH}/include/torch/csrc/api/include")
target_link_options(LibTorch::cpu INTERFACE "LINKER:-rpath-link,${libtorch_cuda_libraries}")
target_link_libraries(LibTorch::cpu INTERFACE LibTorch::c10)
