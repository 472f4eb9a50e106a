#!/bin/bash
# install.sh build|python|test|image|cuda|lint|tidy...: installs what is missing for these, on a bare Debian 12 with git and
# make. It asks for nothing when everything is there, so the Makefile runs it first every time.
#   build  compilers and libraries from Debian, LibTorch's CPU part: all that compiling takes
#   python the Python environment of the client and the demonstration
#   test   programs that tests run beside the server: prometheus, promtool, haproxy, helm; what checks a Helm chart
#   image  what replays the Dockerfile
#   cuda   a compiler for GPU code, where no CUDA toolkit is installed
#   lint   formatters and checkers
#   tidy   clang-tidy
# Everything that is not a system package goes to $SPATIALMAMBA_DEPS, by default ~/.cache/spatial-mamba.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ $# -eq 0 ]; then
  set -- build python test
fi
"$here/system-packages.sh" "$@"
for part in "$@"; do
  case $part in
    build) "$here/python-environment.sh" libtorch "$here/libtorch-requirements.txt" --no-deps ;;
    python) "$here/python-environment.sh" python "$here/python-requirements.txt" ;;
    test)
      "$here/test-tools.sh"
      "$here/python-environment.sh" chart "$here/chart-requirements.txt"
      ;;
    image) ;;
    cuda) "$here/cuda-compiler.sh" ;;
    lint) "$here/python-environment.sh" lint "$here/lint-requirements.txt" ;;
    tidy) ;;
    *)
      printf 'install.sh: "%s" is none of build, python, test, image, cuda, lint, tidy\n' "$part" >&2
      exit 2
      ;;
  esac
done
