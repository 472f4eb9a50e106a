#!/bin/bash
# run.sh build: builds the programs that need a GPU and packs them into build/gpu-bundle, for a machine that has a driver
#     and Python but neither compiler nor libraries. Take that folder along with the tree. Built for this machine's GPU, or
#     for ARCHITECTURES, or for H100 and H200.
# run.sh test [FILTER] | sanitize [FILTER] | bench [OPTION...] | profile [OPTION...]: runs there what was packed, each for
#     LIMIT seconds at most, a short table last. Details go to build/gpu-results, and packed into the folder that OUT names.
#     bench wants PyTorch and timm, profile ncu, sanitize compute-sanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bundle=build/gpu-bundle
results=build/gpu-results
python=${PYTHON:-python3}
export SPATIALMAMBA_GOLDEN_INPUTS=$bundle/inputs

# Libraries of the C library's family and the driver are the other machine's own.
pack_libraries() {
  local library
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libcuda)\.so' | while read -r library; do
    if [[ $library =~ (torch|c10|opencv|libcu) ]]; then
      echo "run.sh: $library is needed, which is too large to take along" >&2
      return 1
    fi
    install -m 755 -s "$library" "$bundle/lib/"
  done
}

build() {
  local folder=build/gpu programs=(gpu_test gpu_bench cuda_runtime_test gpu_replica_test) program here=90-real
  if nvidia-smi -L >/dev/null 2>&1; then here=native; fi
  cmake -S . -B $folder -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPATIALMAMBA_SERVER=OFF -DSPATIALMAMBA_CUDA=ON \
    -DCMAKE_CUDA_ARCHITECTURES="${ARCHITECTURES:-$here}" >/dev/null
  nice ninja -C $folder -j "${JOBS:-$(make -s jobs)}" "${programs[@]}" golden_inputs
  rm -rf $bundle
  mkdir -p $bundle/bin $bundle/lib $bundle/inputs
  for program in "${programs[@]}"; do install -s $folder/bin/"$program" $bundle/bin/; done
  pack_libraries $bundle/bin/*
  cp $folder/tests/gpu/inputs/* $bundle/inputs/
  du -sh $bundle
}

# run_program NAME RESULT ARGUMENT...: what it says goes to RESULT.log and RESULT.xml.
run_program() {
  LD_LIBRARY_PATH=$bundle/lib timeout "${LIMIT:-150}" $bundle/bin/"$1" --gtest_output=xml:"$2.xml" "${@:3}" >"$2.log" 2>&1
}

# The cases in as many processes as pay: most of their time is spent on the CPU.
run_tests() {
  local filter=${1:-*} shards=8 shard program pids=() status=0
  rm -rf "$results/tests"
  mkdir -p "$results/tests"
  for ((shard = 0; shard < shards; ++shard)); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard run_program gpu_test "$results/tests/$shard" --gtest_filter="$filter" &
    pids+=($!)
  done
  if [ "$filter" = "*" ]; then
    for program in cuda_runtime_test gpu_replica_test; do
      run_program "$program" "$results/tests/${#pids[@]}" &
      pids+=($!)
    done
  fi
  for shard in "${!pids[@]}"; do
    wait "${pids[shard]}" || status=1
    [ -s "$results/tests/$shard.xml" ] || printf 'process %s ended within: %s\n' "$shard" \
      "$(grep -a 'RUN' "$results/tests/$shard.log" | tail -1)"
  done
  cat "$results"/tests/*.log | grep -avE '^(Note: |Running main|\[[- =]{10}\]|\[ +(RUN|OK|PASSED|SKIPPED) +\]|no GPU: |.*: Skipped$|$)' |
    head -"${LINES_OF_LOG:-100}" || true
  "$python" tests/gpu/summarise.py "$results"/tests/*.xml || status=1
  return $status
}

# Small cases of every kernel: the tools make a launch a thousand times slower.
network='ClassifierBits.RaggedBatchEqualsOneByOne/micro_*:ClassifierBits.CapacityDoesNotMatter/*'
network+=':Gemm.EqualsASumInDoublePrecision/129x64x256_*:Gemm.EqualsASumInDoublePrecision/7x32x6_*'
heads='*Golden.Answers*/detection_micro_thumbnail:*Golden.Answers*/segmentation_micro_portrait'

# sanitize [FILTER]: each tool on each group of cases, all beside each other.
sanitize() {
  local groups=("${1:-$network}") tool group name names=() pids=() status=0 code seconds
  if [ $# -eq 0 ]; then groups+=("$heads"); fi
  rm -rf "$results/sanitize"
  mkdir -p "$results/sanitize"
  for tool in memcheck racecheck synccheck; do
    for group in "${!groups[@]}"; do
      name=$tool-$group
      names+=("$name")
      { SECONDS=0 code=0
        timeout "${LIMIT:-150}" compute-sanitizer --tool "$tool" --error-exitcode 9 $bundle/bin/gpu_test \
          --gtest_filter="${groups[group]}" >"$results/sanitize/$name.log" 2>&1 || code=$?
        echo "$code $SECONDS" >"$results/sanitize/$name.rc"
        exit $code; } &
      pids+=($!)
    done
  done
  for name in "${pids[@]}"; do wait "$name" || status=1; done
  for name in "${names[@]}"; do
    read -r code _ <"$results/sanitize/$name.rc"
    grep -aqE '\[  PASSED  \] [1-9]' "$results/sanitize/$name.log" || {
      printf '%s: no case ran to its end\n' "$name"
      status=1
    }
    case $code in
      0) ;;
      124) printf '%s was stopped within: %s\n' "$name" "$(grep -a 'RUN' "$results/sanitize/$name.log" | tail -1)" ;;
      *) grep -am 25 -E '=========|FAILED|error' "$results/sanitize/$name.log" || true ;;
    esac
  done
  printf '\n%-12s %6s %8s  %s\n' tool status seconds summary
  for name in "${names[@]}"; do
    read -r code seconds <"$results/sanitize/$name.rc"
    printf '%-12s %6s %8s  %s\n' "$name" "$code" "$seconds" \
      "$(grep -aE 'SUMMARY|PASSED|FAILED  ' "$results/sanitize/$name.log" | sed 's/=* *//' | tail -2 | paste -sd' ')"
  done
  return $status
}

# measure SCRIPT SECONDS OPTION...
measure() {
  timeout "${LIMIT:-$2}" "$python" tests/bench/"$1" --program $bundle/bin/gpu_bench --out "$results" "${@:3}"
}

mkdir -p "$results"
if [ -n "${OUT:-}" ]; then
  trap 'tar -C "$results" -czf "$OUT/${1:-none}.tar.gz" .' EXIT
fi
case ${1:-} in
  build) build ;;
  test) run_tests "${@:2}" ;;
  sanitize) sanitize "${@:2}" ;;
  bench) measure gpu.py 240 "${@:2}" ;;
  profile) measure gpu_profile.py 120 "${@:2}" ;;
  *) sed -n '2,9s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
