#!/bin/sh
# Fuzzes plan building and the native engine under the address and undefined-behaviour sanitizers (libFuzzer).
# Needs clang with its runtime: scripts/fuzz.sh [SECONDS] [JOBS]; JOBS 0: one process without forks. Its limit of 60 s for an
# input counts by the clock, other work of the machine included. New inputs go to build/fuzz/corpus, failures to build/fuzz/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
jobs=${2:-1}
clang=${CLANG:-$(command -v clang++ || ls /usr/bin/clang++-* | sort -V | tail -n 1)}
generator=$(command -v ninja >/dev/null && echo Ninja || echo "Unix Makefiles")

cmake -G "$generator" -S . -B build/fuzz -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DFIRSTSPIKE_FUZZ=ON -DFIRSTSPIKE_SANITIZE=address,undefined,fuzzer-no-link >/dev/null
cmake --build build/fuzz | tail -n 1
mkdir -p build/fuzz/corpus
cd build/fuzz
exec ./engine_fuzz -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 -max_len=512 -fork="$jobs" -print_final_stats=1 \
    corpus ../../src/native/fuzz/corpus
