#!/usr/bin/env bash
# Trains a small PR #1693 twice from the same initial weights on the same tokens, with pgrun and with a PyTorch program
# written from the model's description (reference.py), and compares loss, gradient norm and bits per byte.
#   test/bench/parity/run.sh [-d DATA -t TOKENIZER -n NAME] [-s STEPS] [-j THREADS] [-o OUT]
# DATA holds NAME_train_*.bin and NAME_val_*.bin made with TOKENIZER; without -d the quickstart's books are used.
# Ends with exit code 1 when a bound is broken: |loss difference| <= 1e-3 over the first 100 steps, |bits per byte| <= 0.005.
# PyTorch comes from $PYTHON if that has it, else from PyPI into OUT/venv (some gigabytes; delete it afterwards).
set -euo pipefail
cd "$(dirname "$0")/../../.."

data= tokenizer=models/tiny/data/sp1024.model name=books steps=1200 threads=$(nproc) out=build/parity
while getopts d:t:n:s:j:o: flag; do
  case $flag in
    d) data=$OPTARG; name=fineweb ;; t) tokenizer=$OPTARG ;; n) name=$OPTARG ;; s) steps=$OPTARG ;;
    j) threads=$OPTARG ;; o) out=$OPTARG ;; *) sed -n 2,8p "$0" >&2; exit 2 ;;
  esac
done
say() { printf '\n== %s\n' "$*"; }
bin=build/bin
here=test/bench/parity
mkdir -p "$out"

if [ -z "$data" ]; then
  data=$out/data
  "$bin/pgrun" data models/tiny/data/books_train.jsonl models/tiny/data/books_val.jsonl --tokenizer "$tokenizer" \
    --name books --out "$data"
fi

python=${PYTHON:-}
[ -n "$python" ] || { [ -x "$out/venv/bin/python" ] && python=$out/venv/bin/python; } || python=python3
if ! "$python" -c 'import torch, sentencepiece' 2>/dev/null; then
  say "installing PyTorch into $out/venv"
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install -q torch sentencepiece
  python=$out/venv/bin/python
fi

say "compiling models/tiny/quickstart.model.yaml with models/tiny/fineweb.recipe.yaml"
"$bin/pgc" compile models/tiny/quickstart.model.yaml --recipe models/tiny/fineweb.recipe.yaml -o "$out/model.pgx" \
  --set "recipe.data.train='${name}_train_*.bin'" --set "recipe.data.validation='${name}_val_*.bin'" \
  --set "recipe.schedule.steps=$steps"
"$bin/pgrun" init "$out/model.pgx" -o "$out/initial.safetensors"

say "training with pgrun, $threads threads"
rm -rf "$out/run"
"$bin/pgrun" train "$out/model.pgx" --data "$data" --run "$out/run" --weights "$out/initial.safetensors" --threads "$threads"
weights=$out/run/weights.safetensors
[ ! -f "$out/run/ema.safetensors" ] || weights=$out/run/ema.safetensors
"$bin/pgrun" eval "$out/model.pgx" --weights "$weights" --data "$data" --tokenizer "$tokenizer" --threads "$threads" \
  --json >"$out/eval.json"
"$bin/pgrun" report "$out/run" -o "$out/report.html"

say "training with PyTorch, $threads threads"
"$python" -W ignore "$here/reference.py" --config "$out/run/config.json" --weights "$out/initial.safetensors" --data "$data" \
  --tokenizer "$tokenizer" --output "$out/pytorch.jsonl" --threads "$threads"

say "comparison"
python3 "$here/compare.py" "$out/run/metrics.jsonl" "$out/eval.json" "$out/pytorch.jsonl" -o "$out/parity"
