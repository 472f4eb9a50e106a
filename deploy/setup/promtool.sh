#!/bin/bash
# Provides promtool, with which the tests check the metrics, in $SPATIALMAMBA_DEPS/promtool. It comes out of Debian's
# package "prometheus", which is unpacked and not installed: installing it would start a monitoring daemon.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messages.sh
. "$here/messages.sh"

folder="$deps/promtool"
command -v promtool >/dev/null && exit 0
[ -x "$folder/promtool" ] && exit 0
take_lock promtool
[ -x "$folder/promtool" ] && exit 0

say "fetching promtool out of the Debian package prometheus"
rm -rf "$folder"
mkdir -p "$folder/package"
(cd "$folder" && apt-get download -q prometheus) ||
  fail "apt-get could not download the package prometheus" "As root run:  apt-get update" "Then run the same command again."
dpkg-deb -x "$folder"/prometheus_*.deb "$folder/package"
mv "$folder/package/usr/bin/promtool" "$folder/promtool"
rm -rf "$folder/package" "$folder"/prometheus_*.deb
