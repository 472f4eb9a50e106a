# shellcheck shell=bash
# Sourced by the scripts beside it.

say() { printf '==> %s\n' "$*"; }

# fail WHAT REMEDY...: one line that says what went wrong, then one line for each thing to do.
fail() {
  printf '\nset-up failed: %s\n' "$1" >&2
  shift
  printf '  %s\n' "$@" >&2
  exit 1
}

# Where everything lives that is not a system package.
deps="${SPATIALMAMBA_DEPS:-$HOME/.cache/spatial-mamba}"

# take_lock NAME: two set-ups at the same time wait for each other instead of spoiling each other's files.
take_lock() {
  mkdir -p "$deps" || fail "cannot make the folder $deps" "Set SPATIALMAMBA_DEPS to a folder that you may write."
  exec 9>"$deps/.$1.lock"
  flock -n 9 && return
  say "another set-up is installing $1; waiting for it"
  flock -w 1800 9 || fail "another set-up has been installing $1 for half an hour" "Stop it, then run the command again."
}
