#!/bin/bash
# cuda-compiler.sh: makes sure that there is a compiler for GPU code: that of an installed CUDA toolkit, or else one from PyPI, with
# which everything can be built, though on a machine without a GPU nothing of it runs. model/ops/Cuda.cmake looks in the same places.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messages.sh
. "$here/messages.sh"

oldest=12.3

is_new_enough() {
  local version
  version=$("$1" --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  [ -n "$version" ] && [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -1)" = "$oldest" ]
}

for nvcc in "${CUDACXX:-}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
  if [ -x "$nvcc" ] && is_new_enough "$nvcc"; then
    exit 0
  fi
done
"$here/python-environment.sh" cuda "$here/cuda-requirements.txt" --no-deps
# The wheels lack two names that nvcc and CMake look for.
for toolkit in "$deps"/cuda/lib/python3*/site-packages/nvidia/cu13; do
  ln -sfn lib "$toolkit/lib64"
  ln -sfn libcudart.so.13 "$toolkit/lib/libcudart.so"
done
