#!/usr/bin/env bash
# Builds everything and runs every test. Ends with ctest's summary.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh
# Tests share compiled kernels, and leave those of the user alone.
export PG_CACHE_DIR="${PG_CACHE_DIR:-$PWD/build/kernel-cache}"
ctest --test-dir build --output-on-failure -j "$(nproc)" "$@"
