#!/usr/bin/env bash
# Builds everything and runs every test. Ends with ctest's summary.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh
ctest --test-dir build --output-on-failure -j "$(nproc)" "$@"
