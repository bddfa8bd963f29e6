# RUN: %python %s %t
"""Training #1693 on the CUDA device without a GPU: the generated kernels, compiled by the host compiler against the
emulator, run through the real device code and the fake driver. Whole steps of both phases, with gradients clipped per
logical rank, Muon, AdamW and averaged weights, equal the CPU's within rounding, under hostile orders of threads and of
launches that may run side by side."""
import json
import os

import programs

folder = programs.work_folder()
source, package = folder + "/source.pgx", folder + "/emulated.pgx"
settings = ("dims.D=64 dims.H=2 dims.G=1 dims.V=1024 dims.L=3 options.rope_features=8 options.loop_start=1 "
            "options.loop_end=1 options.gate_width=6").split()
# Rounding the iteration to bf16 would turn differences of the last bit into ones of the eighth.
recipe = ("data.train=books_train_*.bin data.validation=books_val_*.bin batch.step_tokens=128 batch.logical_ranks=2 "
          "batch.micro_tokens=64 batch.row_length=64 batch.max_segment=32 eval.row_length=64 log.every=1 "
          "schedule.restored_warmup.steps=0 optimizer.groups.matrix.args.iteration=None "
          "optimizer.groups.matrix.args.buffers=None").split()
programs.call([programs.PGC, "compile", f"{programs.MODELS}/pr1693.model.yaml", "--recipe",
               f"{programs.MODELS}/recipes/pr1693.recipe.yaml",
               *programs.sets(settings + ["recipe." + item for item in recipe]),
               "--target", "cpu,cuda:source", "-o", source])
programs.call([os.path.join(programs.BUILD, "bin", "pg-emulate"), source, package])
driver = os.path.join(programs.BUILD, "test", "unit", "device", "PgFakeCudaDriver.so")


def train(name, device, order="0", steps="2"):
    run = os.path.join(folder, name)
    programs.call([programs.PGRUN, "train", package, "--data", programs.shards(), "--run", run, "--steps", steps, "-q",
                   "--device", device],
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
