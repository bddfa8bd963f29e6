#!/usr/bin/env python3
"""Correctness and speed on a GPU, from a bundle made by prepare.py on any machine.

    python3 test/bench/cuda/run.py BUNDLE OUT [--only doctor,parity,speed] [--seconds 300]

1. doctor: what the machine is.
2. parity: recorded cases, f32 and bf16, `pgrun score` and `pgrun grad` on the GPU against the recorded numbers.
3. speed: whole-model training steps at the original batch of one GPU, against the same architecture in compiled PyTorch on
   the same GPU in the same run: same weights, same tokens, same documents; the losses of both must agree before times count.
   Per-kernel tables of our side go to OUT.
A short table at the end; everything else in OUT. Needs python3; PyTorch for the comparison only. Exit 1 when a check failed.
"""
import argparse
import array
import json
import math
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
from tensors import fill_zeros, read_safetensors, write_safetensors  # noqa: E402

START = time.monotonic()


def seconds():
    return time.monotonic() - START


def say(text):
    print(f"[{seconds():6.1f} s] {text}", flush=True)


class Runner:
    def __init__(self, bundle, out):
        self.bundle, self.out, self.failed = bundle, out, []
        self.environment = dict(os.environ)
        libraries = os.path.join(bundle, "lib")
        self.environment["LD_LIBRARY_PATH"] = libraries + ":" + self.environment.get("LD_LIBRARY_PATH", "")

    def pgrun(self, *arguments, name, timeout=120):
        """Standard output; both streams are kept in OUT under `name`. None when it fails, after saying why."""
        command = [os.path.join(self.bundle, "pgrun"), *map(str, arguments)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=self.environment)
            code, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, out, err = -1, "", f"no answer after {timeout} s"
        with open(os.path.join(self.out, name + ".txt"), "w") as file:
            file.write(" ".join(command) + f"\nexit {code}\n--- out\n{out}\n--- err\n{err}")
        if code != 0:
            say(f"FAILED {name}: {err.strip()[-400:]}")
            self.failed.append(name)
            return None
        return out


# ---- parity ----------------------------------------------------------------------------------------------------------

def relative_l2(a, b):
    difference = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)))
    norm = math.sqrt(sum(y * y for y in b))
    return difference / norm if norm > 0 else (0.0 if difference == 0 else math.inf)


def check_case(runner, folder, precision):
    """[what, error, limit] of one recorded case."""
    name = os.path.basename(folder)
    with open(os.path.join(folder, "case.json")) as file:
        case = json.load(file)
    with open(os.path.join(folder, "run.json")) as file:
        phase = json.load(file)["phase"]
    package = os.path.join(folder, f"model-{precision}.pgx")
    if not os.path.exists(package):
        return []
    output = os.path.join(runner.out, f"{name}-{precision}")
    common = [package, "--weights", os.path.join(folder, "weights.safetensors"), "--tokens",
              os.path.join(folder, "io.safetensors"), "--device", "cuda"] + (["--phase", phase] if phase else [])
    label = f"{name} {precision}"
    rows = []
    scored = runner.pgrun("score", *common, "-o", output + "-nll.safetensors", name=f"{name}-{precision}-score")
    if scored is None:
        rows.append([label + " nll", math.inf, 0])
    else:
        expected = read_safetensors(os.path.join(folder, "io.safetensors"))["nll"][2]
        nll = read_safetensors(output + "-nll.safetensors")["nll"][2]
        error = max((abs(a - b) if a == a else math.inf) for a, b in zip(nll, expected))
        # bf16: the same order as the original's own bf16 model differs from its f32 one.
        limit = case["tolerance"]["nll_abs"] if precision == "f32" else \
            4 * case["measured"]["bfloat16_model"]["max_abs_nll_difference"]
        rows.append([label + " nll", error, limit])
    graded = runner.pgrun("grad", *common, "-o", output + "-grad.safetensors", name=f"{name}-{precision}-grad")
    if graded is None:
        rows.append([label + " gradients", math.inf, 0])
    else:
        expected = read_safetensors(os.path.join(folder, "grads.safetensors"))
        computed = read_safetensors(output + "-grad.safetensors")
        zeros = set(case.get("zero_grad_tensors", []))
        errors = {key: (max(map(abs, computed[key][2])) if key in zeros else
                        relative_l2(computed[key][2], expected[key][2])) for key in expected}
        worst = max(errors, key=lambda key: errors[key] if errors[key] == errors[key] else math.inf)
        limit = case["tolerance"]["grad_rel_l2_per_tensor"] if precision == "f32" else 0.1
        rows.append([f"{label} gradients ({worst})", errors[worst], limit])
    return rows


def parity(runner, results):
    root = os.path.join(runner.bundle, "golden")
    for precision in ("f32", "bf16"):
        for name in sorted(os.listdir(root)) if os.path.isdir(root) else []:
            for row in check_case(runner, os.path.join(root, name), precision):
                results["parity"].append(row)
                say(f"parity {row[0]}: {row[1]:.2e}, limit {row[2]:.2e} {'ok' if row[1] <= row[2] else 'FAILED'}")


# ---- speed -----------------------------------------------------------------------------------------------------------

def batch_file(path, workload):
    """Random tokens; documents of log-normal length (mean about 800), cut at the longest segment, unless rows are equal."""
    source = random.Random(7)
    count, rows = workload["tokens"], workload["rows"]
    tokens = array.array("i", [source.randrange(2, workload["vocabulary"]) for _ in range(count + rows)])
    tensors = {"tokens": ("I32", [rows, count // rows + 1], tokens)}
    if workload["documents"]:
        offsets, at = [0], 0
        while at < count:
            length = max(16, int(source.lognormvariate(6.2, 1.0)))
            while length > 0 and at < count:
                part = min(length, workload["max_segment"], count - at)
                at, length = at + part, length - part
                offsets.append(at)
        tensors["cu_seqlens"] = ("I32", [len(offsets)], array.array("i", offsets))
    write_safetensors(path, tensors)


def weights_file(runner, package, path):
    """Initial weights, with small random values where training starts at zero: zeros multiply faster than numbers."""
    plain = path + ".initial"
    if runner.pgrun("init", package, "-o", plain, "--device", "cuda", name="init-" + os.path.basename(path)) is None:
        return False
    fill_zeros(plain, path)
    os.remove(plain)
    return True


def ours(runner, workload, package, weights, batch, row):
    name = workload["name"]
    common = [package, "--entry", workload["entry"], "--batch", batch, "--weights", weights, "--device", "cuda"]
    scored = runner.pgrun("score", package, "--weights", weights, "--tokens", batch, "--device", "cuda", "-o",
                          os.path.join(runner.out, "speed-nll.safetensors"), *workload["phase_flag"],
                          name=name + "-score")
    if scored:
        row["our_loss"] = float(scored.split()[1])
    for key, extra in (("accumulate", []), ("step", ["--step"])):
        text = runner.pgrun("bench", *common, "--repeat", "10", "--json", *extra, name=f"{name}-{key}")
        if text:
            result = json.loads(text)
            row["our_" + key] = result["median_seconds"]
            row["our_planned_mib"] = result["planned_bytes"] / 2 ** 20
    runner.pgrun("bench", *common, "--repeat", "3", "--profile", "--json", "--kernels", "40", name=name + "-profile")
    runner.pgrun("bench", package, "--entry", "apply", "--repeat", "3", "--profile", "--json", "--device", "cuda",
                 "--kernels", "40", name=name + "-apply-profile")


def theirs(runner, workload, weights, batch, row):
    """In a process of its own, so that our memory is free again and a failure of theirs ends nothing."""
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_speed.py"),
               json.dumps(workload), weights, batch, os.path.join(runner.out, "speed-nll.safetensors")]
    log = os.path.join(runner.out, workload["name"] + "-torch.txt")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        out, err = done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        out, err = str(error.stdout or ""), "no answer after 150 s"
    with open(log, "w") as file:
        file.write(out + "\n--- err\n" + err)
    for line in out.splitlines():
        if line.startswith("RESULT "):
            row.update(json.loads(line[7:]))
    if "torch_accumulate" not in row:
        say(f"no figures from PyTorch for {workload['name']}: {err.strip()[-300:]}")


def speed(runner, results, limit):
    with open(os.path.join(runner.bundle, "workloads.json")) as file:
        workloads = json.load(file)
    made = {}
    for workload in workloads:
        package = os.path.join(runner.bundle, workload["package"])
        if not os.path.exists(package):
            continue
        row = {"name": workload["name"], "tokens": workload["tokens"]}
        results["speed"].append(row)
        batch = os.path.join(runner.out, workload["name"] + "-batch.safetensors")
        batch_file(batch, workload)
        weights = made.get(package)
        if weights is None:
            weights = os.path.join("/tmp", f"weights-{os.getpid()}-{len(made)}.safetensors")
            if not weights_file(runner, package, weights):
                continue
            made[package] = weights
        ours(runner, workload, package, weights, batch, row)
        say(f"ours {workload['name']}: {row}")
        if seconds() < limit - 60:
            theirs(runner, workload, weights, batch, row)
            say(f"both {workload['name']}: {row}")
        os.remove(batch)
    for path in made.values():
        os.remove(path)


# ---- the end ---------------------------------------------------------------------------------------------------------

def table(results):
    lines, failed = [], 0
    for what, error, limit in results["parity"]:
        ok = error <= limit
        failed += not ok
        lines.append(f"{'ok  ' if ok else 'FAIL'}  {what:58s} {error:9.2e}  limit {limit:8.1e}")
    for row in results["speed"]:
        tokens = row["tokens"]
        for part in ("accumulate", "step"):
            cells = []
            for who in ("our", "torch"):
                time_ = row.get(f"{who}_{part}")
                cells.append(f"{time_ * 1e3:8.2f} ms {tokens / time_:11,.0f} tok/s" if time_ else f"{'-':>29s}")
            ratio = row[f"torch_{part}"] / row[f"our_{part}"] if row.get(f"torch_{part}") and row.get(f"our_{part}") else 0
            lines.append(f"{row['name']:16s} {part:10s}  pgrun {cells[0]}   PyTorch {cells[1]}   {ratio:5.2f} x")
        if "our_loss" in row and row.get("correlation") is not None:
            # Untrained weights give every token nearly the same loss: what varies must vary alike.
            agree = abs(row["our_loss"] - row["torch_loss"]) < 0.02 and row["correlation"] > 0.98
            failed += not agree
            lines.append(f"{row['name']:16s} losses      {row['our_loss']:.4f} and {row['torch_loss']:.4f}, correlation "
                         f"{row['correlation']:.4f}{'' if agree else '  DISAGREE: the times compare different models'}")
    return lines, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("out")
    parser.add_argument("--only", default="doctor,parity,speed")
    parser.add_argument("--seconds", type=float, default=300, help="start nothing slow after this")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    runner = Runner(os.path.abspath(options.bundle), os.path.abspath(options.out))
    results = {"parity": [], "speed": []}
    wanted = options.only.split(",")
    for name, work in (("doctor", lambda: say(runner.pgrun("doctor", "--device", "cuda", name="doctor") or "no GPU")),
                       ("parity", lambda: parity(runner, results)),
                       ("speed", lambda: speed(runner, results, options.seconds))):
        if name in wanted:
            try:
                work()
            except Exception as error:  # one part must not cost the others
                say(f"FAILED {name}: {error!r}")
                results["parity"].append([f"{name} ended with {type(error).__name__}", math.inf, 0])
    lines, failed = table(results)
    lines += [f"FAIL  {name}" for name in runner.failed]
    failed += len(runner.failed)
    text = "\n".join(lines + [f"{failed} failed, {seconds():.0f} s"])
    with open(os.path.join(options.out, "table.txt"), "w") as file:
        file.write(text + "\n")
    with open(os.path.join(options.out, "results.json"), "w") as file:
        json.dump(results, file, indent=1)
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
