#!/bin/bash
# make-descriptors.sh [FILE]: compiles the .proto files into the descriptor set from which the package builds its messages.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=${1:-$here/spatial_mamba_client/_descriptors.bin}

command -v protoc >/dev/null || { echo "make-descriptors.sh: protoc is missing; install Debian's protobuf-compiler" >&2; exit 1; }
protoc -I "$here/../../proto" --include_imports --descriptor_set_out="$output" \
  spatialmamba/v1/vision.proto google/rpc/status.proto google/rpc/error_details.proto grpc/health/v1/health.proto
