# RUN: %python %s
"""Layers differ in numbers and in rows of stacked parameters, never in code: depth adds no kernel."""
import json

import programs


def kernels(model, layers, *options, recipe=None):
    arguments = [programs.PGC, "check", f"{programs.MODELS}/{model}", "--json",
                 *(["--recipe", f"{programs.MODELS}/{recipe}"] if recipe else []),
                 *programs.sets([f"dims.L={layers}", *options])]
    return json.loads(programs.call(arguments)[0])["distinct_kernels"]


def same(model, depths, *options, recipe=None):
    counts = [kernels(model, layers, *options, recipe=recipe) for layers in depths]
    programs.expect(len(set(counts)) == 1, f"{model} {options}: {depths} layers have {counts} distinct kernels")


same("baseline.model.yaml", (4, 8, 12, 20))
same("pr1693.model.yaml", (4, 8, 12, 20), "options.parallel_start_layer=0", "options.num_loops=0")
# With lanes and recurrence, 10 layers are the first that have one of every kind of step.
same("pr1693.model.yaml", (10, 12))
# The optimizer's step as well: matrices of one shape share all their products.
same("baseline.model.yaml", (6, 8), "batch.micro_tokens=2048", "batch.logical_ranks=1", recipe="recipes/baseline.recipe.yaml")
