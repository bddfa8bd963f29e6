# RUN: %python %s %t
"""Training on the CUDA device without a GPU: the generated kernels, compiled by the host compiler against the emulator,
run through the real device code and the fake driver. Whole steps equal the CPU's within rounding, under hostile orders."""
import json
import os

import programs

folder = programs.work_folder()
source, package = folder + "/source.pgx", folder + "/emulated.pgx"
programs.call([programs.PGC, "compile", *programs.PACKAGES["trained"], "--target", "cpu,cuda:source", "-o", source])
programs.call([os.path.join(programs.BUILD, "bin", "pg-emulate"), source, package])
driver = os.path.join(programs.BUILD, "test", "unit", "device", "PgFakeCudaDriver.so")


def train(name, device, order="0", steps="2"):
    run = os.path.join(folder, name)
    programs.call([programs.PGRUN, "train", package, "--data", programs.shards(), "--run", run, "--steps", steps, "-q",
                   "--set", "batch.step_tokens=128", "--device", device],
                  environment={"PG_CUDA_DRIVER": driver, "FAKE_CUDA_ORDER": order})
    with open(run + "/metrics.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    figures = [(line["loss"], line["grad_norm"]) for line in lines if line["stage"] == "train" and "loss" in line]
    return figures, programs.read_safetensors(run + "/weights.safetensors")


def distance(a, b):
    norm = sum(x * x for x in b) ** 0.5
    return sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5 / (norm if norm > 0 else 1)


steps, weights = train("cpu", "cpu")
own_steps, own_weights = train("forward", "cuda")
programs.expect(len(steps) == len(own_steps) == 2, f"{steps} {own_steps}")
for (loss, norm), (own_loss, own_norm) in zip(steps, own_steps):
    programs.expect(abs(loss - own_loss) < 1e-5, f"loss {own_loss}, on the CPU {loss}")
    programs.expect(abs(norm - own_norm) < 1e-4 * norm, f"norm {own_norm}, on the CPU {norm}")
# The optimizer divides by the gradient's size: a first step doubles the digits that rounding has taken.
for name, (_, _, values) in weights.items():
    far = distance(programs.floats(own_weights[name][2]), programs.floats(values))
    programs.expect(far < 1e-3, f"{name} differs by {far}")
# Greedy warps and copies that land late: the same bits.
programs.expect(train("greedy", "cuda", "9", "1")[0][0] == own_steps[0], "the order of threads changes bits")
