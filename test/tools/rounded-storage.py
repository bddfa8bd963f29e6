# RUN: %python %s %t
"""What an update rounds to bf16 itself is stored as bf16 where CUDA or a CPU that multiplies bf16 numbers is among the targets:
its products multiply bf16, and training on other CPUs has the bits it has without (where both keep no logits: without CUDA they
would)."""
import os
import re

import programs

folder = programs.work_folder()
settings = ("dims.D=64 dims.H=2 dims.G=1 dims.V=1024 dims.L=3 options.rope_features=8 options.loop_start=1 "
            "options.loop_end=1 options.gate_width=6").split()
recipe = ("data.train=books_train_*.bin data.validation=books_val_*.bin batch.step_tokens=64 batch.logical_ranks=1 "
          "batch.micro_tokens=64 batch.row_length=64 batch.max_segment=32 eval.row_length=64 log.every=1 "
          "schedule.restored_warmup.steps=0").split()
model = [f"{programs.MODELS}/pr1693.model.yaml", "--recipe", f"{programs.MODELS}/recipes/pr1693.recipe.yaml",
         *programs.sets(settings + ["recipe." + item for item in recipe])]


def planned(target):
    """Products of the program `apply`: types of their factors, and how many are of a matrix with its own transpose."""
    text = programs.call([programs.PGC, "compile", *model, "--stop-after", "fused", "--target", target])[0]
    body = text.split("func.func @apply")[1].split("func.func")[0]
    products = re.findall(r"pg.matmul (%\S+), (%\S+) (?:\{[^}]*\} )?: tensor<\w+x(\w+)>, tensor<\w+x(\w+)>", body)
    return {kind for *_, a, b in products for kind in (a, b)}, sum(a == b for a, b, *_ in products), len(products)


def train(name, target):
    package, run = f"{folder}/{name}.pgx", os.path.join(folder, name)
    programs.call([programs.PGC, "compile", *model, "--target", target, "--logits", "rebuild", "-o", package])
    programs.call([programs.PGRUN, "train", package, "--data", programs.shards(), "--run", run, "--steps", "2", "-q",
                   "--device", "cpu"])
    return run + "/weights.safetensors"


LEVEL = "cpu:x86-64-v3" # without instructions for bf16
wide, narrow = planned(LEVEL), planned(LEVEL + ",cuda:source")
programs.expect(wide[0] == {"f32"} and narrow[0] == {"bf16"}, f"factors {wide} {narrow}")
programs.expect(wide[1:] == narrow[1:] and 0 < wide[1] < wide[2], f"symmetric products {wide} {narrow}")
programs.expect(planned("cpu:x86-64-v4-bf16") == narrow, "a CPU with such instructions wants what CUDA wants")
programs.same(train("wide", LEVEL), train("narrow", LEVEL + ",cuda:source"), "weights after two steps")
