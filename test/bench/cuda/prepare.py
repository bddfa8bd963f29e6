#!/usr/bin/env python3
"""Makes the bundle that run.py carries to a machine with a GPU: pgrun, its libraries, compiled packages, recorded cases.

    python3 test/bench/cuda/prepare.py BUILD OUT [--goldens DIR] [--arch sm_90a] [--small]

Needs pgc with NVRTC, no GPU. `--small` makes tiny stand-ins of the full-size workloads, to try the script itself.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CASES = ("model-baseline-b", "model-1693-c")


def call(*command):
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command)
    return done.returncode == 0


def golden(build, out, root, arch, case):
    """Packages of one recorded case, made by pg-golden, which knows how a case becomes a model."""
    folder = os.path.join(out, "golden", case)
    os.makedirs(folder, exist_ok=True)
    for name in ("case.json", "weights.safetensors", "io.safetensors", "grads.safetensors"):
        shutil.copy(os.path.join(root, case, name), folder)
    whole = True
    for precision in ("f32", "bf16"):
        keep = os.path.join(folder, "keep-" + precision)
        # The comparison itself is run.py's: the CPU's answer here only says that the package is whole.
        call(os.path.join(build, "bin", "pg-golden"), os.path.join(root, case), "--keep", keep, "--target",
             "cpu,cuda:" + arch, "--precision", precision)
        package = os.path.join(keep, case, "model.pgx")
        whole &= os.path.exists(package)
        if os.path.exists(package):
            shutil.copy(package, os.path.join(folder, f"model-{precision}.pgx"))
        shutil.rmtree(keep, ignore_errors=True)
    with open(os.path.join(folder, "case.json")) as file:
        spec = json.load(file)
    phase = {True: "looped", False: "plain"}.get(spec.get("case", {}).get("loops_on"), "") if "1693" in case else ""
    with open(os.path.join(folder, "run.json"), "w") as file:
        json.dump({"phase": phase}, file)
    return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("out")
    parser.add_argument("--goldens", default=os.path.join(SOURCE, "test/golden/cases"))
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--precision", default="bf16", help="of the full-size packages")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    build, out = os.path.abspath(options.build), os.path.abspath(options.out)
    os.makedirs(os.path.join(out, "lib"), exist_ok=True)
    shutil.copy(os.path.join(build, "bin", "pgrun"), out)
    listed = subprocess.run(["ldd", os.path.join(out, "pgrun")], capture_output=True, text=True).stdout
    for line in listed.splitlines():
        if "libsentencepiece" in line and "=>" in line:
            shutil.copy(os.path.realpath(line.split("=>")[1].split()[0]),
                        os.path.join(out, "lib", line.split("=>")[0].strip()))
    whole = True
    for case in CASES:
        whole &= golden(build, out, options.goldens, options.arch, case)

    pgc = os.path.join(build, "bin", "pgc")
    models = os.path.join(SOURCE, "models")
    small = ["--set", "dims.V=256"] if options.small else []
    baseline = {"tokens": 512, "rows": 4} if options.small else {"tokens": 65536, "rows": 64}
    packed = 1024 if options.small else 98304
    vocabulary = {"baseline": 256 if options.small else 1024, "pr1693": 256 if options.small else 8192}
    for model, recipe, tokens in (("baseline", "baseline-adamw", baseline["tokens"]), ("pr1693", "pr1693-adamw", packed)):
        row = tokens // baseline["rows"] if model == "baseline" else tokens
        whole &= call(pgc, "compile", f"{models}/{model}.model.yaml", "--recipe", f"{models}/recipes/{recipe}.recipe.yaml", *small,
             "--set", f"recipe.batch.micro_tokens={tokens}", "--set", f"recipe.batch.step_tokens={tokens}",
             "--set", f"recipe.batch.row_length={row}", "--set", f"recipe.eval.row_length={row}",
             "--max-tokens", str(tokens), "--precision", options.precision, "--target", "cuda:" + options.arch,
             # Measured as it is: a few kernels still spill some bytes, which -v shows.
             "-v", "--timing", "-o", os.path.join(out, model + ".pgx"))
    workloads = [
        {"name": "baseline", "package": "baseline.pgx", "model": "baseline", "entry": "accumulate@main", "phase_flag": [],
         "documents": False, "heads": 8, "rope_features": 64, "vocabulary": vocabulary["baseline"], **baseline}]
    for phase in ("plain", "looped"):
        workloads.append(
            {"name": "pr1693-" + phase, "package": "pr1693.pgx", "model": "pr1693", "entry": "accumulate@" + phase,
             "phase_flag": ["--phase", phase], "looped": phase == "looped", "documents": True, "max_segment": 2048,
             "rows": 1, "tokens": packed, "heads": 8, "rope_features": 16, "vocabulary": vocabulary["pr1693"]})
    with open(os.path.join(out, "workloads.json"), "w") as file:
        json.dump(workloads, file, indent=1)
    total = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(out) for name in names)
    print(f"{out}: {total / 2 ** 20:.1f} MiB{'' if whole else ', NOT COMPLETE: see above'}")
    return 0 if whole and total < 64 * 2 ** 20 else 1


if __name__ == "__main__":
    sys.exit(main())
