#!/bin/bash
# run.sh BUILD [--python PYTHON] [FOLDER...]: runs the tests of the build folder BUILD (all, or those of these folders
# of tests/), and with --python those of the Python client. Leaves one JUnit file a run in BUILD/results.
# The last line is "N passed, N failed[, N skipped]"; the exit status is 0 only when nothing failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

build=$(realpath "$1") python=
shift
if [ "${1:-}" = --python ]; then
  python=$2
  shift 2
fi
[ $# -gt 0 ] || set -- .

results="$build/results"
rm -rf "$results"
mkdir -p "$results"
broken=0

# A run that leaves no result file counts as one failure.
for folder in "$@"; do
  file="$results/${folder//[^a-z0-9]/-}-cpp.xml"
  ctest --test-dir "$build/tests/$folder" -LE '^bench$' -j "${TEST_JOBS:-2}" --no-tests=error --output-on-failure \
    --output-junit "$file"
  [ -s "$file" ] || broken=$((broken + 1))
done
if [ -n "$python" ]; then
  file="$results/python.xml"
  PYTHONPATH=clients/python "$python" -m pytest -q -p no:cacheprovider --junitxml="$file" tests/clients
  [ -s "$file" ] || broken=$((broken + 1))
fi
shopt -s nullglob
exec /usr/bin/python3 tests/sum_results.py --broken "$broken" "$results"/*.xml
