# RUN: %python %s %t
"""calibrate: one moment per quantised weight, symmetric, additive over batches, the same bits with any threads."""
import array
import math
import os

import programs

folder = programs.work_folder()
package = programs.package("adapted")
weights = programs.weights("adapted", folder + "/weights.safetensors")
ROWS, LENGTH = 5, 24


def moments(rows, name, *flags):
    tokens = [token for row in rows for token in row + [0]]  # the last of a row is not used
    source, output = f"{folder}/{name}.tokens", f"{folder}/{name}.moments"
    programs.write_safetensors(source, {"tokens": ("I32", [len(rows), LENGTH + 1], array.array("i", tokens).tobytes())})
    programs.call([programs.PGRUN, "calibrate", package, "--weights", weights, "--tokens", source, "-o", output, *flags])
    return {key: (shape, programs.floats(data)) for key, (_, shape, data) in programs.read_safetensors(output).items()}


rows = [programs.random_tokens(LENGTH, 64, seed=number) for number in range(ROWS)]
whole = moments(rows, "whole", "--batches", "1")
parameters = {item["name"]: item for item in programs.manifest(package)["parameters"]}
labelled = {name for name, item in parameters.items() if item["quant"]}
programs.expect(set(whole) == labelled, f"moments of {sorted(set(whole) ^ labelled)}")
for name, (shape, values) in whole.items():
    width = parameters[name]["shape"][1]
    programs.expect(shape == [width, width], f"{name}: {shape}")
    programs.expect(all(values[i * width + i] >= 0 for i in range(width)), f"{name}: a negative square")
    programs.expect(all(math.isclose(values[i * width + j], values[j * width + i], rel_tol=1e-5, abs_tol=1e-4)
                        for i in range(width) for j in range(i)), f"{name}: not symmetric")

# Weights of one input have one moment; what enters the head has its own.
for layer in range(4):
    names = [f"blocks.{layer}.attn.c_{part}.weight" for part in "qkv"]
    programs.expect(whole[names[0]] == whole[names[1]] == whole[names[2]], f"layer {layer}: q, k and v differ")
programs.expect(whole["tok_emb.weight"] != whole["blocks.3.mlp.fc.weight"], "the head has the moment of another input")

# Rows are independent, so moments add up; the sum is divided by the number of batches.
first, rest = moments(rows[:2], "first", "--batches", "1"), moments(rows[2:], "rest", "--batches", "1")
halved = moments(rows, "halved", "--batches", "2")
for name in whole:
    scale = max(abs(value) for value in whole[name][1])
    programs.expect(all(abs(a + b - c) <= 1e-5 * scale for a, b, c in zip(first[name][1], rest[name][1], whole[name][1])),
                    f"{name}: moments do not add up")
    programs.expect(all(a == b / 2 for a, b in zip(halved[name][1], whole[name][1])), f"{name}: not divided")

programs.expect(moments(rows, "one", "--batches", "1", "--threads", "1") == whole, "one thread gives other bits")
programs.expect(moments(rows, "five", "--batches", "1", "--threads", "5") == whole, "five threads give other bits")
_, said = programs.call([programs.PGRUN, "calibrate", package, "--weights", weights, "-o", folder + "/x"], code=2)
programs.expect_in("needs either --tokens or --data", said)
_, said = programs.call([programs.PGRUN, "calibrate", programs.package("pr1693"), "--weights",
                         programs.weights("pr1693", folder + "/plain.safetensors"), "--tokens",
                         folder + "/one.tokens", "-o", folder + "/x"], code=2)
programs.expect_in("has no program 'calibrate'; compile it with --programs calibrate", said)
