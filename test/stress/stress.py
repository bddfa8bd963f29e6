#!/usr/bin/env python3
"""Random small models through the real tools: what must hold for every model, batch and machine.

    stress.py BIN MODELS [--cases N] [--seed S] [--levels]      default: 1 case, as in the test suite
    PG_STRESS_CASES=200 ctest --test-dir build -R stress        a long run

A case is a shipped model with random sizes, options, rows and segments. Checked of each: the same bits from two
runs, from one and two threads, with poisoned memory and under a memory limit; f32 and bf16 near f64; the gradient against
central differences in f64; with --levels also x86-64-v2 and -v3 near the machine's own level. The first wrong case
is printed as the commands that show it again.
"""
import argparse
import array
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

BASELINE = {"options.tied": ["true", "false"], "options.mlp_mult": ["1", "2", "3"], "options.rope_bf16": ["true", "false"]}
GATED = {
    "options.tied": ["true", "false"],
    "options.mlp_mult": ["1.0", "2.5", "4.0"],
    "options.xsa_last_n": ["-1", "0", "1"],
    "options.smear_gate": ["true", "false"],
    "options.skip_gates": ["true", "false"],
    "options.num_loops": ["0", "1", "2"],
    "options.loop_start": ["0", "1"],
    "options.loop_end": ["1", "2"],
    "options.parallel_start_layer": ["-1", "0", "2"],
    "options.parallel_final_lane": ["mean", "attn", "mlp"],
    "options.ln_scale": ["true", "false"],
}
HASHED = {
    "options.tied": ["true", "false"],
    "options.bigram_buckets": ["0", "7", "64"],
    "options.bigram_width": ["5", "16"],
    "options.value_residual": ["true", "false"],
    "options.xsa_last_n": ["-1", "0", "1"],
}
MODELS = [
    ("baseline", BASELINE),
    ("pr1693", {**GATED, "options.head_gate": ["none", "attn_out_gate"]}),
    ("pr0761", HASHED),
    ("pr1232", {**HASHED, "options.flow_refiner": ["true", "false"]}),
    ("pr1855", GATED),
    ("pr1934", GATED),
]


# A wrong program is off by as much as the values themselves; roundings of 2^-9 pass up to five layers of random
# weights, and a gradient may nearly cancel.
NARROW = {"score": 0.2, "grad": 0.6}


class Failed(Exception):
    pass


class Case:
    """One random model, its weights and its tokens, in a folder of its own."""

    def __init__(self, tools, models, folder, seed):
        self.tools, self.folder, self.log = tools, folder, []
        self.random = rng = random.Random(seed)
        name, options = MODELS[seed % len(MODELS)]
        groups = rng.choice([1, 1, 2, 3])
        heads = groups * rng.choice([1, 2, 3])
        depth = 2 * rng.randint(1, 9)
        vocabulary = rng.choice([2, 17, 64, 65, 129])
        values = {"dims.V": vocabulary, "dims.D": heads * depth, "dims.H": heads, "dims.G": groups,
                  "dims.L": rng.randint(1, 5), "options.rope_features": 2 * rng.randint(1, depth // 2)}
        if name != "baseline" and heads * depth < 12:
            values.update({"dims.D": heads * 12})  # the gates read 12 channels
        values.update({path: rng.choice(choices) for path, choices in options.items()})
        if name in ("pr0761", "pr1232"):
            values["dims.L"] = rng.randint(2, 4)
            values["options.rope_features"] = 4 if values["dims.D"] // heads >= 4 else 2
            values["options.row_length"] = 64  # no stretched rotary base
        self.sets = [text for path, value in values.items() for text in ("--set", f"{path}={value}")]
        self.model = os.path.join(models, name + ".model.yaml")
        self.write_tokens(vocabulary)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *command):
        self.log.append(" ".join(command))
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise Failed(f"exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def compile(self, name, *flags):
        self.run(os.path.join(self.tools, "pgc"), "compile", self.model, *self.sets, "--max-tokens",
                 str(self.capacity), *flags, "-o", self.path(name))
        return self.path(name)

    def pgrun(self, verb, package, out, *flags, weights="weights.safetensors"):
        self.run(os.path.join(self.tools, "pgrun"), verb, package, "--weights", self.path(weights), "--tokens",
                 self.path("tokens.safetensors"), "-o", self.path(out), *flags)
        return self.path(out)

    def write_tokens(self, vocabulary):
        """Several equal rows, or one row cut into segments: of one token each, or of random lengths."""
        rng = self.random
        rows = rng.choice([1, 1, 2, 5])
        length = rng.choice([1, 2, 3, 17, 33, 64, 65])
        self.targets = rows * length
        self.capacity = rng.choice([self.targets, self.targets + 13, max(length, 64)])
        tokens = [rng.randrange(vocabulary) for _ in range(rows * (length + 1))]
        shape = [rows, length + 1] if rows > 1 else [length + 1]
        tensors = {"tokens": ("I32", shape, array.array("i", tokens).tobytes())}
        kind = rng.choice(["none", "single", "random"])
        if rows == 1 and kind != "none":
            inside = range(1, length)
            starts = inside if kind == "single" else sorted(rng.sample(inside, rng.randint(0, length - 1)))
            offsets = [0, *starts, length, length]  # the last one pads
            tensors["cu_seqlens"] = ("I32", [len(offsets)], array.array("i", offsets).tobytes())
        write(self.path("tokens.safetensors"), tensors)

    def write_weights(self, parameters):
        self.values = {}
        for parameter in parameters:
            count = math.prod(parameter["shape"])
            # Numbers that f32 holds exactly, so that both precisions start from the same model.
            values = array.array("f", (self.random.gauss(0, 0.3) for _ in range(count)))
            self.values[parameter["name"]] = (parameter["shape"], array.array("d", values))
        self.write_doubles("weights.safetensors", self.values)

    def write_doubles(self, name, values):
        write(self.path(name), {key: ("F64", shape, data.tobytes()) for key, (shape, data) in values.items()})


def write(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            code = "d" if entry["dtype"] == "F64" else "f"
            tensors[name] = array.array(code, data[8 + size + begin:8 + size + end])
    return tensors


def same(first, second, what):
    with open(first, "rb") as a, open(second, "rb") as b:
        if a.read() != b.read():
            raise Failed(f"{what}: {first} and {second} differ")


def near(first, second, bound, what):
    a, b = read(first), read(second)
    # A gradient that is zero but for rounding is measured against the others.
    floor = 1e-3 * max(abs(x) for values in b.values() for x in values)
    for name in b:
        size = max(map(abs, b[name]))
        worst = max(abs(x - y) if math.isfinite(x) else math.inf for x, y in zip(a[name], b[name]))
        if not worst <= bound * max(size, floor):
            raise Failed(f"{what}: '{name}' differs by {worst:.3g}, its largest value is {size:.3g}")


def check_directions(case, package, gradient):
    """The derivative along random directions of random parameters, f64."""
    gradients = read(gradient)
    for name in case.random.sample(sorted(gradients), min(3, len(gradients))):
        direction = [case.random.gauss(0, 1) for _ in gradients[name]]
        expected = sum(g * d for g, d in zip(gradients[name], direction))
        step = 1e-5
        means = []
        for sign in (1, -1):
            shape, values = case.values[name]
            moved = array.array("d", (v + sign * step * d for v, d in zip(values, direction)))
            case.write_doubles("moved.safetensors", {**case.values, name: (shape, moved)})
            nll = read(case.pgrun("score", package, "moved.out", weights="moved.safetensors"))["nll"]
            means.append(math.fsum(nll) / len(nll))
        found = (means[0] - means[1]) / (2 * step)
        if abs(found - expected) > 1e-5 * math.hypot(*gradients[name]) * math.hypot(*direction) + 1e-8:
            raise Failed(f"gradient of '{name}' along a direction is {expected:.9g}, central differences {found:.9g}")


def check(case, levels):
    base = case.compile("base.pgx")
    manifest = json.loads(case.run(os.path.join(case.tools, "pgc"), "dump", base))
    case.write_weights(manifest["parameters"])
    phases = [phase["name"] for phase in manifest["phases"]]
    phase = ["--phase", case.random.choice(phases)]
    arena = max(entry["arena_bytes"] for entry in manifest["entries"])
    limit = int(arena * case.random.choice([0.1, 0.6, 0.8, 0.95]))
    try:
        limited = case.compile("limited.pgx", "--memory-limit", str(limit))
    except Failed as failure:
        least = re.search(r"needs at least (\d+) arena bytes", str(failure))
        if not least:
            raise
        limit = int(least[1])
        limited = case.compile("limited.pgx", "--memory-limit", str(limit))
    double = case.compile("double.pgx", "--precision", "f64")
    narrow = case.compile("narrow.pgx", "--precision", "bf16")
    rows = ["--logits-rows", ",".join(str(case.random.randrange(case.targets)) for _ in range(3))]
    for verb, extra in (("score", rows), ("grad", [])):
        one = case.pgrun(verb, base, f"{verb}.one", "--threads", "1", *phase, *extra)
        same(one, case.pgrun(verb, base, f"{verb}.again", "--threads", "1", *phase, *extra), f"two runs of {verb}")
        same(one, case.pgrun(verb, base, f"{verb}.two", "--threads", "2", *phase, *extra), f"{verb} on two threads")
        same(one, case.pgrun(verb, base, f"{verb}.poisoned", "--poison", *phase, *extra), f"{verb} in poisoned memory")
        same(one, case.pgrun(verb, limited, f"{verb}.limited", "--poison", *phase, *extra), f"{verb} under {limit} bytes")
        exact = case.pgrun(verb, double, f"{verb}.double", *phase, *extra)
        near(one, exact, 5e-4, f"f32 against f64, {verb}")
        rounded = case.pgrun(verb, narrow, f"{verb}.narrow", "--threads", "1", *phase, *extra)
        same(rounded, case.pgrun(verb, narrow, f"{verb}.narrow2", "--threads", "2", "--poison", *phase, *extra),
             f"{verb} in bf16 on two threads in poisoned memory")
        near(rounded, exact, NARROW[verb], f"bf16 against f64, {verb}")
        for level in levels:
            other = case.compile(f"{level}.pgx", "--target", f"cpu:{level}") if verb == "score" else case.path(f"{level}.pgx")
            near(case.pgrun(verb, other, f"{verb}.{level}", "--poison", *phase, *extra), one, 5e-4, f"{verb} on {level}")
    # Differences of the phase's own loss: score runs in the last phase unless told.
    if phase[1] == phases[-1]:
        check_directions(case, double, case.path("grad.double"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", metavar="BIN", help="folder of pgc and pgrun")
    parser.add_argument("models", metavar="MODELS", help="folder of the model files")
    parser.add_argument("--cases", type=int, default=int(os.environ.get("PG_STRESS_CASES", "1")))
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case")
    parser.add_argument("--levels", action="store_true", help="also x86-64-v2 and x86-64-v3")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.cases):
        with tempfile.TemporaryDirectory(prefix="pg-stress-") as folder:
            case = Case(options.tools, options.models, folder, seed)
            shown = " ".join(case.sets[1::2])
            try:
                check(case, ["x86-64-v2", "x86-64-v3"] if options.levels else [])
            except Failed as failure:
                print(f"seed {seed} failed: {failure}\n" + "\n".join(case.log))
                return 1
            print(f"seed {seed} ok: {os.path.basename(case.model)}, {case.targets} targets, {shown}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
