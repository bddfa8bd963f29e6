# RUN: %python %s %t
"""A training whose loss is no number stops at that step and names the first value that is not finite, with its YAML line."""
import json
import os
import shutil

import programs

folder = programs.work_folder()
# Files of another project are not read: the model gets its own copy of the blocks.
os.makedirs(f"{folder}/models")
shutil.copytree(f"{programs.MODELS}/blocks", f"{folder}/models/blocks")
shutil.copy(f"{programs.MODELS}/baseline.model.yaml", f"{folder}/models")
model = f"{folder}/overflow.model.yaml"
TEXT = f"""model: overflow
extends: models/baseline.model.yaml
blocks:
  overflowing_mlp:
    inputs: {{n: [T, D]}}
    args: {{hidden: required}}
    params:
      fc.weight: {{shape: [hidden, D], init: {{normal: {{std: 0.1}}}}, group: matrix, quant: mlp}}
      proj.weight: {{shape: [D, hidden], init: {{normal: {{std: 0.1}}}}, group: matrix, quant: mlp}}
    body: |
      h = linear(n, fc.weight)
      g = exp(400 * h)
      return linear(g, proj.weight)
layers:
  blocks: {{args: {{mlp_block: overflowing_mlp}}}}
"""
with open(model, "w", encoding="utf-8") as file:
    file.write(TEXT)
# The exponential is the epilogue of the product before it, whose line the kernel has.
line = TEXT[:TEXT.index("linear(n")].count("\n") + 1
sizes = "dims.V=1024 dims.D=96 dims.H=2 dims.G=1 dims.L=2 recipe.batch.step_tokens=256 recipe.batch.micro_tokens=128 " \
        "recipe.batch.row_length=64 recipe.batch.max_segment=32 recipe.eval.row_length=64"
package = f"{folder}/overflow.pgx"
programs.call([programs.PGC, "compile", model, "--recipe", f"{programs.MODELS}/tiny/quickstart-adamw.recipe.yaml",
               *programs.sets(sizes.split()), "-o", package])
run = [programs.PGRUN, "train", package, "--data", programs.shards(), "--steps", "3", "-q"]
_, errors = programs.call([*run, "--run", f"{folder}/run"], code=6)
programs.expect_in("at step 1; the first tensor that is not finite is the result of ", errors)
programs.expect_in(f"exp (overflow.model.yaml:{line}:", errors)
programs.expect_in(" in accumulate@", errors)
# The same place, whatever the number of threads.
_, again = programs.call([*run, "--run", f"{folder}/again", "--threads", "1"], code=6)
programs.expect(errors.replace("/run'", "/again'") == again, f"{errors}\n{again}")
with open(f"{folder}/run/metrics.jsonl", encoding="utf-8") as file:
    programs.expect(json.loads(file.readlines()[-1])["event"] == "failed", "metrics end with the failure")
