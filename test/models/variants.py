# RUN: %python %s %t
"""Every file of models/variants compiles small in f64, has a finite loss, and its gradients are those of central
differences: random directions over a few kinds of parameters each, all layers together. Squares of rectified values have jumps in
their second derivative, hence the short step and the absolute part of the bound."""
import array
import glob
import math
import os
import random
import re

import programs

SIZES = "dims.V=96 dims.D=64 dims.L=4 dims.H=4 dims.G=2".split()
TOKENS = 300  # longer than any window of the variants
STEP = 1e-4
DIRECTIONS = 5
RELATIVE, ABSOLUTE = 1e-4, 1e-7


def doubles(data):
    return array.array("d", data)


class Model:
    def __init__(self, path, folder):
        self.folder = folder
        self.package = os.path.join(folder, "model.pgx")
        programs.call([programs.PGC, "compile", path, "--precision", "f64", "--max-tokens", str(TOKENS),
                       *programs.sets(SIZES), "-o", self.package])
        numbers = random.Random(os.path.basename(path))
        self.weights = {}
        for parameter in programs.manifest(self.package)["parameters"]:
            shape = parameter["shape"]
            # Near 1 for scales, of unit gain for maps: every branch of the model carries signal.
            around, spread = (0.0, 1 / math.sqrt(shape[-1])) if len(shape) > 1 else (1.0, 0.2)
            self.weights[parameter["name"]] = (shape, doubles(
                [numbers.gauss(around, spread) for _ in range(math.prod(shape))]))
        ids = array.array("i", programs.random_tokens(TOKENS + 1, 96))
        self.tokens = os.path.join(folder, "tokens.safetensors")
        programs.write_safetensors(self.tokens, {"tokens": ("I32", [TOKENS + 1], ids.tobytes())})

    def run(self, verb, changed=None):
        given = os.path.join(self.folder, "weights.safetensors")
        result = os.path.join(self.folder, verb + ".safetensors")
        programs.write_safetensors(given, {
            name: ("F64", shape, (changed or {}).get(name, values).tobytes())
            for name, (shape, values) in self.weights.items()})
        programs.call([programs.PGRUN, verb, self.package, "--weights", given, "--tokens", self.tokens,
                       "-o", result, "--poison", "--threads", "1"])
        tensors = programs.read_safetensors(result)
        programs.expect(all(item[0] == "F64" for item in tensors.values()), "results of an f64 package are F64")
        return {name: doubles(item[2]) for name, item in tensors.items()}

    def loss(self, direction=None, step=0.0):
        changed = {name: doubles([w + step * d for w, d in zip(self.weights[name][1], part)])
                   for name, part in (direction or {}).items()}
        nll = self.run("score", changed)["nll"]
        return math.fsum(nll) / len(nll)

    def check(self, label):
        loss = self.loss()
        programs.expect(math.isfinite(loss) and loss > 0, f"{label}: loss {loss}")
        gradients = self.run("grad")
        kinds = {}
        for name in self.weights:
            kinds.setdefault(re.sub(r"\.\d+\.", ".*.", name), []).append(name)
        numbers = random.Random(1)
        for group in range(DIRECTIONS):
            kind = ", ".join(sorted(kinds)[group::DIRECTIONS])
            names = [name for each in sorted(kinds)[group::DIRECTIONS] for name in kinds[each]]
            direction = {name: [numbers.gauss(0, 1) for _ in self.weights[name][1]] for name in names}
            length = math.sqrt(math.fsum(d * d for part in direction.values() for d in part))
            direction = {name: [d / length for d in part] for name, part in direction.items()}
            numeric = (self.loss(direction, STEP) - self.loss(direction, -STEP)) / (2 * STEP)
            exact = math.fsum(g * d for name in names for g, d in zip(gradients[name], direction[name]))
            programs.expect(abs(exact - numeric) <= RELATIVE * abs(exact) + ABSOLUTE,
                            f"{label}: gradient of {kind} is {exact}, differences give {numeric}")


paths = sorted(glob.glob(os.path.join(programs.MODELS, "variants", "*.model.yaml")))
programs.expect(len(paths) >= 6, f"six variants, found {len(paths)}")
root = programs.work_folder()
for path in paths:
    folder = os.path.join(root, os.path.basename(path).split(".")[0])
    os.makedirs(folder)
    Model(path, folder).check(os.path.basename(path))
