#!/bin/bash
# python-environment.sh NAME REQUIREMENTS [PIP OPTION...]: makes the virtual environment $SPATIALMAMBA_DEPS/NAME hold exactly
# the pinned packages of the file REQUIREMENTS. A stamp makes the next run instant; an interrupted run starts afresh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messages.sh
. "$here/messages.sh"

name=$1 requirements=$2
shift 2
environment="$deps/$name"
stamp="$environment/.installed"

wanted() { { cat "$requirements"; printf '%s\n' "$environment" "$@"; /usr/bin/python3 --version; } | sha256sum | cut -d' ' -f1; }
is_current() { [ -x "$environment/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted "$@")" ]; }

[ -r "$requirements" ] || fail "$requirements is missing" "The checkout is incomplete: git status shows what is gone."
is_current "$@" && exit 0
take_lock "$name"
is_current "$@" && exit 0

say "installing $(grep -v '^[#[:space:]-]' "$requirements" | cut -d' ' -f1 | paste -sd' ') into $environment"
rm -rf "$environment"
/usr/bin/python3 -m venv "$environment" ||
  fail "cannot make the virtual environment $environment" "It needs the Debian package python3-venv and a folder that can be written; SPATIALMAMBA_DEPS names another folder."
"$environment/bin/python" -m pip install --disable-pip-version-check --only-binary=:all: "$@" -r "$requirements" ||
  fail "pip could not install $(basename "$requirements")" \
    "No network: connect, or point PIP_INDEX_URL at a package index that can be reached, then run the same command again." \
    "Disk full: $(df -h --output=avail "$deps" | tail -1 | tr -d ' ') are free in $deps; set SPATIALMAMBA_DEPS to a folder with 4 GB free." \
    "Another processor than x86-64: wheels of these versions may not exist for it."
wanted "$@" >"$stamp"
