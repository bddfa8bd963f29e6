#!/usr/bin/env bash
# Every published system in full size, with the recipe of its record runs: lines of YAML, parameters, time to compile for this
# CPU, and one optimizer step (one logical rank, rows of 1,024 tokens) of every phase.
#   test/bench/systems.sh [build directory]          prints Markdown on stdout; takes a few minutes on two cores
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${1:-build}/bin
text=models/tiny/data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/pgrun" data "$text/books_train.jsonl" "$text/books_val.jsonl" --tokenizer "$text/sp1024.model" --name books --out "$work/data" >/dev/null 2>&1
printf '| system | model, recipe (lines of YAML) | parameters | compile | loss of step 1 | gradient norm |\n|---|---|---|---|---|---|\n'
for system in baseline pr0761 pr1232 pr1693 pr1855 pr1934; do
  model=models/$system.model.yaml recipe=models/recipes/$system.recipe.yaml
  small=(batch.logical_ranks=1 batch.rank_tokens=0 batch.step_tokens=1024 batch.micro_tokens=1024 batch.row_length=1024 eval.row_length=1024
         schedule.steps=1 schedule.restored_warmup.steps=1 "data.train=books_train_*.bin" "data.validation=books_val_*.bin"
         eval.every=0)
  sets=()
  for value in "${small[@]}"; do sets+=(--set "recipe.$value"); done
  begin=$(date +%s.%N)
  "$bin/pgc" compile "$model" --recipe "$recipe" "${sets[@]}" --no-cache --max-tokens 1024 -o "$work/$system.pgx" 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
  seconds=$(python3 -c "print(f'{$(date +%s.%N) - $begin:.1f} s')")
  "$bin/pgrun" train "$work/$system.pgx" --data "$work/data" --run "$work/$system" -q >/dev/null
  step=$(python3 -c '
import json, sys
for line in open(sys.argv[1]):
    record = json.loads(line)
    if "loss" in record: print("%.4f | %.4f" % (record["loss"], record["grad_norm"]))' "$work/$system/metrics.jsonl" | head -1)
  parameters=$("$bin/pgc" check "$model" --json | python3 -c 'import json, sys; print("{:,}".format(json.load(sys.stdin)["parameters"]))')
  printf '| %s | %s + %s | %s | %s | %s |\n' "$system" "$(wc -l <"$model")" "$(wc -l <"$recipe")" "$parameters" "$seconds" "$step"
done
