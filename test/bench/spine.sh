#!/usr/bin/env bash
# Measures what docs/results.md reports: compile time by phase, first-step latency, training and evaluation speed on one and
# two threads, memory against the plan, and where the time goes, for the full-size baseline and PR #1693.
#   test/bench/spine.sh [build directory]          prints Markdown on stdout; takes about five minutes on two cores
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${1:-build}/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

field() { python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"d": d}))' "$1" "$2"; }

for model in baseline pr1693; do
  printf '\n## %s\n\n' "$model"
  recipe=models/recipes/$model-adamw.recipe.yaml
  "$bin/pgc" compile "models/$model.model.yaml" --recipe "$recipe" -o "$work/$model.pgx" --no-cache --timing 2>"$work/timing"
  printf 'Compile, share by phase:\n\n```\n'; cat "$work/timing"; printf '```\n\n'
  phase=$([ "$model" = baseline ] && echo main || echo plain)
  printf '| program | row | threads | tokens/s relative to one thread | GFLOP/s | matmul | attention | head | row-wise | first run / median | resident / planned |\n|---|---|---|---|---|---|---|---|---|---|---|\n'
  for entry in accumulate@$phase $([ "$model" = pr1693 ] && echo accumulate@looped) score@$phase; do
    for row in 1024 2048; do
      one=
      for threads in 1 2; do
        "$bin/pgrun" bench "$work/$model.pgx" --entry "$entry" --tokens 2048 --row-length $row --threads $threads \
          --repeat 3 --profile --json >"$work/bench.json" 2>/dev/null
        rate=$(field "$work/bench.json" 'd["tokens_per_second"]')
        one=${one:-$rate}
        share() { field "$work/bench.json" "'%.0f %%' % (100 * d['shares'].get('$1', 0))"; }
        printf '| %s | %s | %s | %.2f | %s | %s | %s | %s | %s | %s | %s |\n' "$entry" $row $threads \
          "$(python3 -c "print($rate / $one)")" "$(field "$work/bench.json" '"%.0f" % d["gflops_per_second"]')" \
          "$(share matmul)" "$(share attention)" "$(share head)" "$(share row)" \
          "$(field "$work/bench.json" '"%.2f" % (d["first_seconds"] / d["median_seconds"])')" \
          "$(field "$work/bench.json" '"%.2f" % (d["peak_resident_bytes"] / d["planned_bytes"])')"
      done
    done
  done
done
