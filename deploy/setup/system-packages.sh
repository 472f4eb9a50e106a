#!/bin/bash
# system-packages.sh GROUP...: installs the packages of these groups of debian-packages.txt that dpkg does not know yet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messages.sh
. "$here/messages.sh"

read -ra packages < <(awk -v groups=" $* " '!/^#/ && NF == 2 && index(groups, " " $2 " ") {printf "%s ", $1}' "$here/debian-packages.txt") || true

# A virtual package that a real one provides counts as installed.
missing=()
if command -v dpkg-query >/dev/null; then
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' | sed -n 's/^installed //p' | tr ' ,' '\n')
  for package in "${packages[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && exit 0
fi

id=unknown version=unknown
if [ -r /etc/os-release ]; then
  # shellcheck source=/dev/null
  id=$(. /etc/os-release && printf '%s' "${ID:-unknown}") version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-unknown}")
fi
if [ "$id $version" != "debian 12" ]; then
  fail "this is $id $version; the set-up installs system packages on Debian 12 only" \
    "On Debian and its kin install these yourself (the versions of Debian 12 are the tested ones), then run again:" \
    "  ${missing[*]:-${packages[*]}}" \
    "Elsewhere install their equivalents and use CMake directly: cmake --preset release && cmake --build --preset release"
fi

install=(apt-get install -y --no-install-recommends "${missing[@]}")
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # Without a terminal nobody can type a password, so only a sudo that asks for none will do.
  if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=(sudo)
  else
    fail "these system packages are missing and only root may install them: ${missing[*]}" \
      "As root run:  apt-get update && ${install[*]}" "Then run the same command again."
  fi
fi

say "installing Debian packages: ${missing[*]}"
run() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@" </dev/null; }
run apt-get update -q || say "apt-get update failed; trying with the package lists that are here"
run "${install[@]}" -q ||
  fail "apt-get could not install: ${missing[*]}" \
    "No network, or no mirror in /etc/apt/sources.list: mend that, then run the same command again." \
    "To see what apt says:  ${as_root[*]} ${install[*]}"
