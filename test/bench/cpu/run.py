#!/usr/bin/env python3
"""pgrun and PyTorch on the same CPU, alternating in one go: forward and backward, whole steps, evaluation, memory, cold start.

    run.py BUILD OUT --python PYTHON-WITH-TORCH [--quick] [--threads N] [--workloads a,b] [--ways eager,compile,onednn]
           [--precisions f32,bf16] [--rounds N] [--all] [--check-only]

Same architecture, same weights (pgrun init, zeros replaced), same tokens, same number of threads; every side is a process of its
own. First the PyTorch models are checked: recorded golden cases, then losses and gradients of each workload against ours. OUT gets
table.md, results.json and chart.svg. Exit code 1 when a check failed: times of different models are not compared.
"""
import argparse
import array
import json
import os
import random
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(HERE, "..", "torch"))
import output  # noqa: E402
from sides import Ours, Theirs, environment, run_program  # noqa: E402
from tensors import fill_zeros, write_safetensors  # noqa: E402

WAYS = ["eager", "compile", "onednn"]
LEFT_BEHIND = 1.5  # times the time of the fastest PyTorch mode of a precision
CALL_TOKENS = 2048  # of one accumulation or one scoring, on both sides
START = time.monotonic()

_PR1693 = {"heads": 8, "rope_features": 16, "rope_bf16": True, "loop": [3, 5], "loops": 2, "lanes_from": None}
_QUICK = {"heads": 4, "rope_features": 16, "rope_bf16": True, "loop": [1, 2], "loops": 1, "lanes_from": 4}
# name, model, recipe, phase, row lengths, tokens of a step, what the PyTorch model is told
WORKLOADS = [
    ("quickstart", "tiny/quickstart", "tiny/quickstart", "looped", (1024,), 2048, dict(_QUICK, model="pr1693", looped=True)),
    ("baseline", "baseline", "recipes/baseline", "", (1024, 2048), 16384,
     {"model": "baseline", "heads": 8, "rope_features": 64, "rope_bf16": False}),
    ("pr1693-plain", "pr1693", "recipes/pr1693", "plain", (1024, 2048), 16384, dict(_PR1693, model="pr1693", looped=False)),
    ("pr1693-looped", "pr1693", "recipes/pr1693", "looped", (1024, 2048), 16384, dict(_PR1693, model="pr1693", looped=True)),
]


def say(text):
    print(f"[{time.monotonic() - START:6.1f} s] {text}", file=sys.stderr, flush=True)


def batch_file(path, tokens, row, vocabulary):
    draw = random.Random(7)
    count = tokens // row
    values = array.array("i", [draw.randrange(2, vocabulary) for _ in range(count * (row + 1))])
    write_safetensors(path, {"tokens": ("I32", [count, row + 1], values)})


class Benchmark:
    def __init__(self, options):
        self.options = options
        self.out = os.path.abspath(options.out)
        self.bin = os.path.join(os.path.abspath(options.build), "bin")
        self.results = {"machine": machine(options.threads), "call_tokens": CALL_TOKENS, "rounds": options.rounds,
                        "workloads": [], "checks": []}
        self.packages = {}

    def path(self, name):
        return os.path.join(self.out, name)

    def compile(self, model, recipe, precision, step_tokens):
        """Path of the package and seconds of pgc."""
        key = (model, precision)
        if key not in self.packages:
            path = self.path(f"{os.path.basename(model)}-{precision}.pgx")
            sets = {"batch.step_tokens": step_tokens, "batch.logical_ranks": 1, "batch.micro_tokens": CALL_TOKENS,
                    "batch.row_length": 1024, "eval.row_length": 1024}
            flags = [flag for name, value in sets.items() for flag in ("--set", f"recipe.{name}={value}")]
            begin = time.monotonic()
            run_program([os.path.join(self.bin, "pgc"), "compile", f"{SOURCE}/models/{model}.model.yaml", "--recipe",
                         f"{SOURCE}/models/{recipe}.recipe.yaml", *flags, "--no-cache", "--max-tokens", str(CALL_TOKENS), "--precision",
                         precision, "-o", path])
            self.packages[key] = path, time.monotonic() - begin
        return self.packages[key]

    def check_goldens(self):
        done = run_program([self.options.python, os.path.join(HERE, "check_goldens.py"),
                            os.path.join(SOURCE, "test", "golden", "cases")], environment(), check=False)
        for line in done.stdout.splitlines():
            self.results["checks"].append(json.loads(line))
        if done.returncode:
            self.results["checks"].append({"what": "golden cases", "ok": False, "why": done.stderr[-500:]})

    def workload(self, name, model, recipe, phase, row, step_tokens, told, precisions):
        options = self.options
        entry = {"name": name, "row": row, "step_tokens": step_tokens, "sides": {}}
        self.results["workloads"].append(entry)
        calls = step_tokens // CALL_TOKENS
        sides = []
        for precision in precisions:
            package, seconds = self.compile(model, recipe, precision, step_tokens)
            sides.append(Ours(self.bin, package, precision, phase, row, options.threads, seconds))
        manifest = json.loads(run_program([os.path.join(self.bin, "pgc"), "dump", sides[0].package]).stdout)
        weights = self.path(os.path.basename(model) + ".safetensors")
        if not os.path.exists(weights):
            run_program([os.path.join(self.bin, "pgrun"), "init", sides[0].package, "-o", weights + ".initial", "--device", "cpu"])
            fill_zeros(weights + ".initial", weights)
            os.remove(weights + ".initial")
        batch, step_batch = self.path(f"{name}-{row}.safetensors"), self.path(f"{name}-{row}-step.safetensors")
        batch_file(batch, CALL_TOKENS, row, manifest["vocabulary"])
        batch_file(step_batch, step_tokens, row, manifest["vocabulary"])
        about = dict(told, threads=options.threads, weights=weights, batch=batch, bf16_instructions=self.results["machine"]["bf16"],
                     groups={item["name"]: item["group"] for item in manifest["parameters"]},
                     recipe={path: item["value"] if isinstance(item, dict) else item
                             for path, item in manifest["recipe"].items()})
        for side in sides:
            side.prepare(weights, batch, step_batch)
        for precision in precisions:
            for way in options.ways:
                if way == "onednn" and precision != "f32":
                    if options.ways == ["onednn"]:
                        say(f"{name}, rows of {row}: no PyTorch in {precision}: bf16 products are oneDNN's in every way, --ways compile runs it")
                    continue
                cache = self.path(f"inductor-{model.replace('/', '-')}-{phase or 'main'}-{precision}-{way}")
                say(f"{name}, rows of {row}: starting PyTorch, {way}, {precision}")
                sides.append(Theirs(options.python, os.path.join(HERE, "worker.py"), about, precision, way, cache,
                                    self.path(f"{name}-{row}-{way}-{precision}.log")))
        try:
            for side in sides:
                side.cold_start()
            if self.check(name, row, sides) and not options.check_only:
                self.measure(name, row, sides, calls)
        finally:
            for side in sides:
                side.close()
                entry["sides"][side.name] = side.result
        self.write()

    def check(self, name, row, sides):
        """Losses of every token, and every gradient in f32, against ours."""
        ours = next(side for side in sides if isinstance(side, Ours))
        expected = ours.outputs(self.path("ours"), with_gradients=True)
        good = True
        for side in sides:
            if side is ours or not side.is_alive():
                continue
            exact = side.precision == ours.precision
            found = side.outputs(self.path("theirs"), with_gradients=exact)
            for check in output.compare(expected, found, exact):
                check["what"] = f"{name}, rows of {row}: {check['what']}, {side.name} against {ours.name}"
                self.results["checks"].append(check)
                good &= check["ok"]
                say(f"{'ok' if check['ok'] else 'FAILED'}  {check['what']}: {check['numbers']}")
        return good

    def measure(self, name, row, sides, calls):
        alive = [side for side in sides if side.is_alive()]
        for side in alive:
            side.warm_up()
        for what in ("accumulate", "score"):
            alternate(alive, what, self.options.rounds, lambda side: side.measure(what))
            tell(name, row, alive, what, CALL_TOKENS)
        for side in alive:
            side.begin_steps(calls, self.options.step_limit)
        alternate(alive, "step", self.options.step_rounds, lambda side: side.step())
        for side in alive:
            side.end_steps()
        tell(name, row, alive, "step", calls * CALL_TOKENS)
        for side in alive:
            if isinstance(side, Ours):
                side.profile(self.path(f"{name}-{row}-{side.precision}-profile.json"))

    def write(self):
        with open(self.path("results.json"), "w", encoding="utf-8") as file:
            json.dump(self.results, file, indent=1)
        with open(self.path("table.md"), "w", encoding="utf-8") as file:
            file.write(output.table(self.results))
        with open(self.path("chart.svg"), "w", encoding="utf-8") as file:
            file.write(output.chart(self.results))


def alternate(sides, what, rounds, ask):
    """Asks every side once a round. A PyTorch mode that another one of its precision has left behind is asked once: nothing is compared with it."""
    for i in range(rounds):
        for side in sides:
            if i and is_left_behind(side, sides, what):
                continue
            ask(side)


def is_left_behind(side, sides, what):
    rivals = [min(other.result[what]) for other in sides
              if isinstance(other, Theirs) and other.precision == side.precision and other.result.get(what)]
    return isinstance(side, Theirs) and (not side.result.get(what) or min(side.result[what]) > LEFT_BEHIND * min(rivals))


def tell(name, row, sides, what, tokens):
    say(f"{name}, rows of {row}: {what} " + "  ".join(
        f"{side.name} {tokens / output.median(side.result.get(what, [])):.0f}" for side in sides) + " tokens/s")


def machine(threads):
    info = {"threads": threads, "cpu": "unknown", "bf16": False, "load": os.getloadavg()[0]}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                info["cpu"] = value.strip()
            elif key.strip() == "flags":
                info["bf16"] = "avx512_bf16" in value.split() or "amx_bf16" in value.split()
                break
    return info


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("out")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--quick", action="store_true", help="rows of 1,024 and f32 only, without the looped model; minutes")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--workloads", default="", help="names, comma separated; with :ROW one row length")
    parser.add_argument("--ways", default=",".join(WAYS), help="how PyTorch runs (onednn: compiled, its f32 products by oneDNN; in f32 alone)")
    parser.add_argument("--precisions", default="", help="f32,bf16 (default: bf16 not everywhere on a CPU without bf16 instructions)")
    parser.add_argument("--all", action="store_true", help="bf16 everywhere whatever the CPU")
    parser.add_argument("--rounds", type=int, default=5, help="runs of every side, forward + backward and evaluation")
    parser.add_argument("--check-only", action="store_true")
    options = parser.parse_args()
    options.ways = options.ways.split(",")
    for way in options.ways:
        if way not in WAYS:
            parser.error(f"--ways: no way '{way}', there are {', '.join(WAYS)}")
    options.precisions = options.precisions.split(",") if options.precisions else []
    options.step_rounds, options.step_limit = (1, 20) if options.quick else (3, 60)
    os.makedirs(options.out, exist_ok=True)
    for name in os.listdir(options.out):
        if name.startswith("inductor-"):
            shutil.rmtree(os.path.join(options.out, name))
    benchmark = Benchmark(options)
    benchmark.check_goldens()
    wanted = [item.partition(":")[::2] for item in options.workloads.split(",") if item]
    for name, model, recipe, phase, rows, step_tokens, told in WORKLOADS:
        for row in rows:
            if wanted and not any(name == w and (not r or int(r) == row) for w, r in wanted):
                continue
            if not wanted and options.quick and (row != 1024 or name == "pr1693-looped"):
                continue
            # Emulated bf16 is slow and says little: where there are no instructions for it, once for every model.
            everywhere = options.all or benchmark.results["machine"]["bf16"]
            precisions = options.precisions or ["f32"] + ["bf16"] * (not options.quick and (
                everywhere or (row == 1024 and name != "pr1693-looped")))
            benchmark.workload(name, model, recipe, phase, row, step_tokens, told, precisions)
    benchmark.results["seconds"] = time.monotonic() - START
    benchmark.write()
    with open(benchmark.path("table.md"), encoding="utf-8") as file:
        print(file.read())
    failed = [check for check in benchmark.results["checks"] if not check["ok"]]
    for check in failed:
        print(f"FAILED  {check['what']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
