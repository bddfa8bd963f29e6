#!/usr/bin/env bash
# From a bare machine to a trained model: build, compile a small model with every gate of PR #1693 from YAML, train it on
# the books in models/tiny/data, print its bits per byte and a sample of its own text. About ten minutes on two cores, of
# which training at most four. Everything lands in build/quickstart; safe to run again (only the run folder is replaced).
set -euo pipefail
cd "$(dirname "$0")/.."

tools/build.sh pgc pgrun

bin=build/bin
text=models/tiny/data
out=build/quickstart
say() { printf '\n== %s\n' "$*"; }
mkdir -p "$out"

say "1/5 compiling models/tiny/quickstart.model.yaml through MLIR to native code"
"$bin/pgc" compile models/tiny/quickstart.model.yaml --recipe models/tiny/quickstart.recipe.yaml -o "$out/model.pgx"
"$bin/pgrun" info "$out/model.pgx"

say "2/5 turning the books into token shards"
"$bin/pgrun" data "$text/books_train.jsonl" "$text/books_val.jsonl" --tokenizer "$text/sp1024.model" --name books --out "$out/data"

say "3/5 training"
rm -rf "$out/run"
"$bin/pgrun" train "$out/model.pgx" --data "$out/data" --run "$out/run"
printf 'the run as a page: %s\n' "$("$bin/pgrun" report "$out/run")"

say "4/5 validation: this model, a bigram count model of the same training tokens, this model with attention cut off"
evaluate=("$bin/pgrun" eval "$out/model.pgx" --weights "$out/run/weights.safetensors" --data "$out/data" --tokenizer "$text/sp1024.model")
"${evaluate[@]}" --bigram
printf '\nwith attention cut off (every token its own segment):\n'
"${evaluate[@]}" --max-segment 1

say "5/5 a sample of its own text"
"$bin/pgrun" generate "$out/model.pgx" --weights "$out/run/weights.safetensors" --tokenizer "$text/sp1024.model" \
  --prompt "The old man looked at the sea and" --tokens 120 --temperature 0.8 --top-k 40 --seed 7
