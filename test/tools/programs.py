"""What the tests of the tools share: small compiled packages, weights, shards, tool calls.

A package is compiled once and kept in <build>/test/packages until pgc or a model file is newer; a lock
keeps tests that run at the same time from compiling it twice.
"""
import array
import contextlib
import fcntl
import glob
import json
import os
import random
import struct
import subprocess
import sys

SOURCE = os.environ["PG_SOURCE"]
BUILD = os.environ["PG_BUILD"]
MODELS = os.path.join(SOURCE, "models")
STORE = os.path.join(BUILD, "test", "packages")
PGC = os.path.join(BUILD, "bin", "pgc")
PGRUN = os.path.join(BUILD, "bin", "pgrun")
TEXT = os.path.join(MODELS, "tiny", "data")
TOKENIZER = os.path.join(TEXT, "sp1024.model")

_SMALL = "dims.D=96 dims.H=2 dims.G=1".split()
_LOOPED = _SMALL + "options.rope_features=8 dims.L=4 options.loop_start=1 options.loop_end=2".split()
_RECIPE = ("batch.step_tokens=256 batch.micro_tokens=128 batch.row_length=64 batch.max_segment=32 "
           "eval.row_length=64 log.every=1").split()


def sets(values):
    return [flag for value in values for flag in ("--set", value)]


# Arguments of `pgc compile`, by name.
PACKAGES = {
    "baseline": [f"{MODELS}/baseline.model.yaml", "--max-tokens", "256"]
    + sets(_SMALL + ["dims.V=64", "dims.L=2"]),
    "pr1693": [f"{MODELS}/pr1693.model.yaml", "--max-tokens", "256"] + sets(_LOOPED + ["dims.V=64"]),
    # Widths that are no multiple of a vector, and products small enough to be decomposed into sums.
    "narrow": [f"{MODELS}/pr1693.model.yaml", "--max-tokens", "256"]
    + sets("dims.D=32 dims.V=96 dims.L=6 dims.H=4 dims.G=2 options.rope_features=4".split()),
    # Other programs of one graph: moments of inputs, and adapters for three documents side by side.
    "adapted": [f"{MODELS}/pr1693.model.yaml", "--recipe", f"{MODELS}/recipes/pr1693-adapt.recipe.yaml",
                "--programs", "score,calibrate,adapt", "--max-tokens", "96"]
    + sets(_LOOPED + "dims.V=64 recipe.batch.micro_tokens=96 recipe.batch.step_tokens=96 recipe.batch.row_length=32 "
           "recipe.eval.row_length=32 recipe.adapt.rank=3 recipe.adapt.slots=3 recipe.adapt.chunk=8 "
           "recipe.adapt.window=32 recipe.adapt.optimizer.lr=0.02".split()),
    "trained": [f"{MODELS}/tiny/quickstart.model.yaml", "--recipe", f"{MODELS}/tiny/quickstart-adamw.recipe.yaml"]
    + sets(_LOOPED + [f"recipe.{item}" for item in _RECIPE]),
}


def call(arguments, code=0, cwd=None, environment=None, before=None):
    """Runs a program; (stdout, stderr) as text. A different exit code fails the test."""
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, errors="replace",
                          env={**os.environ, **(environment or {})}, preexec_fn=before)
    if code is not None and done.returncode != code:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit code {done.returncode}, expected {code}\n"
                 f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout, done.stderr


def expect(condition, message):
    if not condition:
        sys.exit(f"failed: {message}")


def expect_in(part, text):
    expect(part in text, f"{part!r} is not in {text!r}")


def same(first, second, what):
    with open(first, "rb") as a, open(second, "rb") as b:
        expect(a.read() == b.read(), f"{what}: {first} and {second} differ")


def _newest(patterns):
    return max(os.path.getmtime(path) for pattern in patterns for path in glob.glob(pattern, recursive=True))


@contextlib.contextmanager
def _locked(name):
    os.makedirs(STORE, exist_ok=True)
    with open(os.path.join(STORE, name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def package(name):
    """Path of a shared package, compiled when it is missing or out of date."""
    path = os.path.join(STORE, name + ".pgx")
    with _locked(name):
        made_from = _newest([PGC, os.path.join(MODELS, "**", "*.yaml"), __file__])
        if not os.path.exists(path) or os.path.getmtime(path) < made_from:
            call([PGC, "compile", *PACKAGES[name], "-o", path])
    return path


def shards():
    """A folder with token shards of a few books, made by pgrun data."""
    folder = os.path.join(STORE, "data")
    with _locked("data"):
        if not os.path.exists(os.path.join(folder, "done")):
            os.makedirs(folder, exist_ok=True)
            for split, lines in (("train", 4), ("val", 1)):
                with open(os.path.join(TEXT, f"books_{split}.jsonl"), encoding="utf-8") as source:
                    kept = [json.loads(next(source))["text"][:6000] for _ in range(lines)]
                with open(os.path.join(folder, f"{split}.jsonl"), "w", encoding="utf-8") as out:
                    out.writelines(json.dumps({"text": text}) + "\n" for text in kept)
            call([PGRUN, "data", f"{folder}/train.jsonl", f"{folder}/val.jsonl", "--tokenizer", TOKENIZER,
                  "--name", "books", "--out", folder])
            open(os.path.join(folder, "done"), "w").close()
    return folder


def manifest(path):
    return json.loads(call([PGC, "dump", path])[0])


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: (item["dtype"], item["shape"], body[item["data_offsets"][0]:item["data_offsets"][1]])
            for name, item in header.items()}


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def floats(data):
    return array.array("f", data)


def weights(name, path):
    """Random weights for every parameter of a shared package."""
    random_numbers = random.Random(name)
    tensors = {}
    for parameter in manifest(package(name))["parameters"]:
        count = 1
        for dim in parameter["shape"]:
            count *= dim
        values = array.array("f", (random_numbers.gauss(0, 0.2) for _ in range(count)))
        tensors[parameter["name"]] = ("F32", parameter["shape"], values.tobytes())
    write_safetensors(path, tensors)
    return path


def write_shard(path, tokens):
    with open(path, "wb") as file:
        file.write(struct.pack("<3i", 20240520, 1, len(tokens)).ljust(1024, b"\0"))
        file.write(array.array("H", tokens).tobytes())


def random_tokens(count, vocabulary, seed=1):
    random_numbers = random.Random(seed)
    return [random_numbers.randrange(vocabulary) for _ in range(count)]


def work_folder():
    """The test's own folder, empty."""
    folder = sys.argv[1]
    subprocess.run(["rm", "-rf", folder], check=True)
    os.makedirs(folder)
    return folder
