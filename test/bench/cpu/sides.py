"""The two sides of the CPU benchmark behind one face: pgrun, a process for every measurement, and a PyTorch worker that stays."""
import json
import os
import subprocess
import sys
import time

from output import median
from tensors import read_safetensors

_CLEARED = ("OMP_", "MKL_", "KMP_", "GOMP_", "PG_", "TORCHINDUCTOR_", "TORCH_")


def environment(**more):
    """Nobody's settings of threads or caches."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CLEARED)}
    return {**kept, **more}


def run_program(command, env=None, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env or environment())
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit code {done.returncode}\n{done.stderr[-2000:]}")
    return done


class Ours:
    def __init__(self, folder, package, precision, phase, row, threads, compile_seconds):
        self.pgrun, self.package, self.precision, self.row = os.path.join(folder, "pgrun"), package, precision, row
        self.phase, self.threads = phase, threads
        self.name = f"pgrun {precision}"
        self.result = {"compile_seconds": compile_seconds}

    def is_alive(self):
        return True

    def prepare(self, weights, batch, step_batch):
        self.weights, self.batch, self.step_batch = weights, batch, step_batch

    def _bench(self, what, *flags, batch=None):
        phase = self.phase or "main"
        done = run_program([self.pgrun, "bench", self.package, "--device", "cpu", "--threads", self.threads, "--entry",
                            f"{what}@{phase}", "--row-length", self.row, "--weights", self.weights, "--batch",
                            batch or self.batch, "--json", *flags])
        return json.loads(done.stdout)

    def cold_start(self):
        """From process start to the end of the first step of one call, from the package; compiling comes before it."""
        begin = time.monotonic()
        result = self._bench("accumulate", "--step", "--repeat", "0")
        seconds = time.monotonic() - begin
        self.result["cold_package"] = seconds
        self.result["cold_yaml"] = seconds + self.result["compile_seconds"]
        self.result["first_kernel"] = seconds - result["first_seconds"]

    def outputs(self, prefix, with_gradients):
        """(losses, gradients by name or None)"""
        common = [self.package, "--device", "cpu", "--threads", self.threads, "--weights", self.weights, "--tokens", self.batch]
        common += ["--phase", self.phase] if self.phase else []
        run_program([self.pgrun, "score", *common, "-o", prefix + "-nll"])
        gradients = None
        if with_gradients:
            run_program([self.pgrun, "grad", *common, "-o", prefix + "-grad"])
            gradients = {name: values for name, (_, _, values) in read_safetensors(prefix + "-grad").items()}
        return read_safetensors(prefix + "-nll")["nll"][2], gradients

    def warm_up(self):
        pass  # every measurement has its own first run

    def measure(self, what):
        result = self._bench(what, "--repeat", "1")
        self.result.setdefault(what, []).append(result["median_seconds"])
        self.result.setdefault(what + "_processor", []).append(result["processor_seconds"])
        self.result.setdefault(what + "_of_peak", []).append(result["share_of_peak_flops"])

    def begin_steps(self, calls, limit):
        """A step that takes longer than `limit` seconds is the first run of its process, pages and all; a short one is run again."""
        self.step_repeats = "0" if 2 * calls * min(self.result["accumulate"]) > limit else "1"

    def step(self):
        result = self._bench("accumulate", "--step", "--repeat", self.step_repeats, batch=self.step_batch)
        self.result.setdefault("step", []).append(result["median_seconds"])
        self.result.setdefault("step_of_peak", []).append(result["share_of_peak_flops"])
        self.result["peak_bytes"] = max(result["peak_resident_bytes"], self.result.get("peak_bytes", 0))

    def end_steps(self):
        self.result["step_is"] = "measured"

    def profile(self, path):
        """Of a whole step of one call: rates against the peaks measured in the same process."""
        with open(path, "w", encoding="utf-8") as file:
            profile = self._bench("accumulate", "--step", "--repeat", "5", "--profile")["profile"]
            json.dump(profile, file, indent=1)
        self.result["peaks"] = profile["peaks"]
        self.result["of_peak"] = {row["name"]: row["share_of_peak_flops"] for row in profile["programs"] + profile["categories"]}

    def close(self):
        pass


class Theirs:
    def __init__(self, python, script, about, precision, way, cache, log):
        self.precision, self.way = precision, way
        self.name = f"PyTorch {way} {precision}"
        self.result = {}
        self.command = [python, "-W", "ignore", script,
                        json.dumps(dict(about, precision=precision, way=way, **self.choices(about, precision, way)))]
        self.cache, self.log = cache, log
        self.process = None

    @staticmethod
    def choices(about, precision, way):
        """The faster of two ways to write a part, measured on a Xeon and an EPYC with AVX-512 (README)."""
        return {"head_chunk": 512 if way == "eager" else 0, "repeat_kv": False,
                "muon_dtype": "bfloat16" if about["bf16_instructions"] else "float32"}

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def _answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        with open(self.log, encoding="utf-8", errors="replace") as file:
            self.result["failed"] = file.read()[-1500:]
        self.process.wait()
        return None

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def cold_start(self):
        """From process start, with nothing compiled before unless another row length of the model was, to the end of the first
        step of one call."""
        is_cold = not os.path.exists(self.cache)
        with open(self.log, "w", encoding="utf-8") as log:
            begin = time.monotonic()
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                            env=environment(TORCHINDUCTOR_CACHE_DIR=self.cache))
        answer = self._answer()
        if answer and is_cold:
            self.result["cold_yaml"] = answer["first_step"] - begin
            self.result["import_seconds"] = answer["imported"] - begin
        if answer:
            self.result["torch"], self.result["imported_bytes"] = answer["torch"], answer["imported_bytes"]
            self.result["start_peak_bytes"] = self.ask("peak")["bytes"]

    def outputs(self, prefix, with_gradients):
        self.ask("nll", prefix + "-nll")
        gradients = None
        if with_gradients:
            self.ask("gradients", prefix + "-grad")
            gradients = {name: values for name, (_, _, values) in read_safetensors(prefix + "-grad").items()}
        return read_safetensors(prefix + "-nll")["nll"][2], gradients

    def warm_up(self):
        for what in ("accumulate", "score"):
            self.ask(what)

    def measure(self, what):
        answer = self.ask(what)
        if answer:
            self.result.setdefault(what, []).append(answer["seconds"])
            self.result.setdefault(what + "_processor", []).append(answer["processor"])

    def begin_steps(self, calls, limit):
        """A step longer than `limit` seconds is too slow to wait for: `calls` times the median accumulation, and the optimizer alone."""
        self.calls = calls
        self.is_composed = calls * min(self.result["accumulate"]) > limit
        self.ask("peak")

    def step(self):
        if not self.is_composed:
            self.result.setdefault("step", []).append(self.ask("step", self.calls)["seconds"])
        elif "step" not in self.result:
            self.ask("step", 1)  # for its memory
            self.result["peak_bytes"] = self.ask("peak")["bytes"]
            optimizer = min(self.ask("optimizer")["seconds"] for _ in range(2))
            self.result["step"] = [self.calls * median(self.result["accumulate"]) + optimizer]

    def end_steps(self):
        if not self.is_composed:
            self.result["peak_bytes"] = self.ask("peak")["bytes"]
        self.result["step_is"] = "composed" if self.is_composed else "measured"

    def close(self):
        if self.process is not None and self.process.poll() is None:
            try:
                self.process.stdin.write("\n")
                self.process.stdin.close()
                self.process.wait(timeout=20)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
