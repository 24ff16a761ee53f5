#!/bin/sh
# Runs the native engine's tests under the address and undefined-behaviour sanitizers, then under the thread sanitizer.
# Needs gcc and the extra `native`: scripts/sanitize.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
tests="tests/engine/native_smoke.py"
PATH="$(cd "$(dirname "$python")" && pwd):$PATH"  # cmake and ninja are there

build() { # build NAME SANITIZERS
    cmake -G Ninja -S . -B "build/$1" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DFIRSTSPIKE_SANITIZE="$2" \
        -DPython_EXECUTABLE="$(command -v "$python")" -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" >/dev/null
    cmake --build "build/$1" | tail -n 1
}

# The interpreter is not instrumented: the sanitizers' libraries are loaded first, and its own leaks are not reported.
build asan address,undefined
echo "address and undefined-behaviour sanitizers:"
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    OPENBLAS_NUM_THREADS=1 "$python" $tests build/asan

build tsan thread
echo "thread sanitizer:"
LD_PRELOAD="$(gcc -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1:exitcode=66 \
    OPENBLAS_NUM_THREADS=1 "$python" $tests build/tsan
