# Decides whether this is a build with CUDA (SPATIALMAMBA_HAS_CUDA) and enables the language if so. The compiler is the one
# that is named (CMAKE_CUDA_COMPILER, CUDACXX, CUDAToolkit_ROOT), or in PATH, or in the usual place, or the one
# that `deploy/setup/install.sh cuda` installed because there was none.
set(SPATIALMAMBA_HAS_CUDA OFF)
set(SPATIALMAMBA_CUDA_OLDEST 12.3)  # the first whose graphs keep programmatic dependent launches

# spatialmamba_find_nvcc(VARIABLE): the first of these that is new enough, or nothing.
function(spatialmamba_find_nvcc variable)
  set(dependencies "$ENV{SPATIALMAMBA_DEPS}")
  if(NOT dependencies)
    set(dependencies "$ENV{HOME}/.cache/spatial-mamba")
  endif()
  # Looked for before every build: it may be installed later.
  file(GLOB installed CONFIGURE_DEPENDS "${dependencies}/cuda/lib/python3*/site-packages/nvidia/cu13/bin/nvcc")
  find_program(in_path nvcc PATHS /usr/local/cuda/bin NO_CACHE)
  set(candidates "${CMAKE_CUDA_COMPILER}" "$ENV{CUDACXX}" "${CUDAToolkit_ROOT}/bin/nvcc" "${in_path}" ${installed})
  set(${variable} "" PARENT_SCOPE)
  foreach(candidate IN LISTS candidates)
    if(NOT EXISTS "${candidate}")
      continue()
    endif()
    execute_process(COMMAND "${candidate}" --version OUTPUT_VARIABLE text ERROR_QUIET)
    if(text MATCHES "release ([0-9.]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL SPATIALMAMBA_CUDA_OLDEST)
      set(${variable} "${candidate}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

if(NOT SPATIALMAMBA_CUDA STREQUAL OFF)
  spatialmamba_find_nvcc(nvcc)
  if(nvcc)
    set(SPATIALMAMBA_HAS_CUDA ON)
  elseif(SPATIALMAMBA_CUDA STREQUAL ON)
    message(FATAL_ERROR "SPATIALMAMBA_CUDA=ON, but no nvcc of CUDA ${SPATIALMAMBA_CUDA_OLDEST} or later was found: run "
            "`deploy/setup/install.sh cuda`, name one by -DCUDAToolkit_ROOT=/usr/local/cuda, or build with "
            "SPATIALMAMBA_CUDA=OFF")
  endif()
endif()

if(SPATIALMAMBA_HAS_CUDA)
  set(CMAKE_CUDA_COMPILER "${nvcc}")
  # A100, A10, L4 and L40, H100 and H200; later ones compile sm_90's intermediate code when they load it.
  set(CMAKE_CUDA_ARCHITECTURES "80-real;86-real;89-real;90" CACHE STRING "GPUs that kernels are compiled for")
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED QUIET)
  message(STATUS "CUDA: ${nvcc}, for ${CMAKE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA: none")
endif()
