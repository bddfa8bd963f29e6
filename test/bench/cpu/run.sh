#!/usr/bin/env bash
# pgrun beside PyTorch on this CPU, alternating in one go: speed of forward and backward, whole steps and evaluation, peak memory,
# cold start; full-size baseline and PR #1693, and the quickstart's model. See README.md.
#   test/bench/cpu/run.sh [-q] [-b BUILD] [-o OUT] [-- OPTIONS OF run.py]
# -q: f32, rows of 1,024, without the looped model: minutes. Prints the table; OUT gets table.md, results.json and chart.svg.
# PyTorch comes from $PYTHON if that has it, else from PyPI into OUT/venv (some gigabytes; delete it afterwards).
set -euo pipefail
cd "$(dirname "$0")/../../.."

build=build out=build/bench-cpu quick=
while getopts qb:o: flag; do
  case $flag in
    q) quick=--quick ;; b) build=$OPTARG ;; o) out=$OPTARG ;; *) sed -n 2,7p "$0" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
mkdir -p "$out"
[ -x "$build/bin/pgc" ] && [ -x "$build/bin/pgrun" ] || { echo "no pgc and pgrun in $build/bin; build them first" >&2; exit 3; }

python=${PYTHON:-}
[ -n "$python" ] || { [ -x "$out/venv/bin/python" ] && python=$out/venv/bin/python; } || python=python3
if ! "$python" -c 'import torch' 2>/dev/null; then
  echo "installing PyTorch into $out/venv" >&2
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install -q torch
  python=$out/venv/bin/python
fi
python3 test/bench/cpu/run.py "$build" "$out" --python "$python" $quick "$@"
