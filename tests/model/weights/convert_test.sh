#!/bin/bash
# convert_test.sh PROGRAM CHECKPOINTS: what a user of spatial-mamba-convert sees.
set -euo pipefail
program=$1 checkpoints=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

check() {
  local what=$1
  shift
  "$@" || { echo "FAILED: $what" && exit 1; }
}

# Fails with status 1 and one line on standard error, which holds the text.
refuses() {
  local text=$1 status=0
  shift
  "$program" "$@" >out 2>err || status=$?
  [ "$status" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -qF -- "$text" err
}

"$program" "$checkpoints/classification.pth" ema.safetensors --key model_ema --dtype fp16 \
  --metadata task=classify --metadata note=a=b >out
"$program" --inspect ema.safetensors >inspection
check "the copy is half precision" grep -qE '^  head.bias +float16 +\[10\]$' inspection
check "metadata is stored" grep -qx 'metadata:    note = a=b' inspection
check "the digest is right" grep -qx "sha256:      $(sha256sum <ema.safetensors | cut -d' ' -f1)" inspection
check "all tensors are there" grep -q '^total:       175 tensors, 132130 elements' inspection

"$program" ema.safetensors again.safetensors >out
check "a copy of a copy keeps everything" cmp ema.safetensors again.safetensors

"$program" --inspect "$checkpoints/classification.pth" >inspection
check "state dicts are listed" grep -qx 'state dicts: model model_ema' inspection

check "an unknown key is refused" refuses '"none"' "$checkpoints/classification.pth" x.safetensors --key none
check "a missing file is refused" refuses missing.pth --inspect missing.pth
check "another kind of file is refused" refuses neither --inspect "$checkpoints/checkpoints.json"
check "an unknown dtype is refused" refuses fp8 ema.safetensors x.safetensors --dtype fp8
check "metadata without a value is refused" refuses key=value ema.safetensors x.safetensors --metadata task
check "a missing output is refused" refuses --inspect ema.safetensors
check "a hostile file runs nothing" "$program" --inspect "$checkpoints/hostile.pth" >out
check "nothing else was written" [ "$(ls -A | sort | tr '\n' ' ')" = "again.safetensors ema.safetensors err inspection out " ]
