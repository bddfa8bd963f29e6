# RUN: %python %s
"""Layers differ in numbers and in rows of stacked parameters, never in code: depth adds no kernel.

What the layers keep decides whether logits are kept as well, so that choice is fixed here.
"""
import json

import programs


def kernels(model, layers, *options, recipe=None):
    arguments = [programs.PGC, "check", f"{programs.MODELS}/{model}", "--json", "--logits", LOGITS,
                 *(["--recipe", f"{programs.MODELS}/{recipe}"] if recipe else []),
                 *programs.sets([f"dims.L={layers}", *options])]
    return json.loads(programs.call(arguments)[0])["distinct_kernels"]


def same(model, depths, *options, recipe=None):
    counts = [kernels(model, layers, *options, recipe=recipe) for layers in depths]
    programs.expect(len(set(counts)) == 1, f"{model} {options}: {depths} layers have {counts} distinct kernels")


LOGITS = "keep"
same("baseline.model.yaml", (4, 8, 12, 20))
same("pr1693.model.yaml", (4, 8, 12, 20), "options.parallel_start_layer=0", "options.num_loops=0")
# Lanes and recurrence on: one layer in two lanes and a recurrence of two fit in four layers as well as in twelve.
counts = [kernels("pr1693.model.yaml", depth, f"options.parallel_start_layer={depth - 1}", "options.loop_start=1",
                  "options.loop_end=2") for depth in (4, 12)]
programs.expect(counts[0] == counts[1], f"with lanes and recurrence 4 and 12 layers have {counts} distinct kernels")
# With the defaults (three lane layers, layers 3 to 5 recur), 10 layers are the first that have one of every kind of step.
same("pr1693.model.yaml", (10, 12))
# The optimizer's step as well: matrices of one shape share all their products.
same("baseline.model.yaml", (6, 8), "batch.micro_tokens=2048", "batch.logical_ranks=1", recipe="recipes/baseline.recipe.yaml")
LOGITS = "rebuild"
same("pr1693.model.yaml", (4, 8), "options.parallel_start_layer=0", "options.num_loops=0")
