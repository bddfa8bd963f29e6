# RUN: %python %s %t
"""Training gives the same bits every time, with one thread and with two; a signal saves the weights."""
import json
import math
import os
import signal
import subprocess
import time

import programs

folder = programs.work_folder()
package, data = programs.package("trained"), programs.shards()


def train(run, threads):
    path = os.path.join(folder, run)
    result = programs.call([programs.PGRUN, "train", package, "--data", data, "--run", path, "--steps", "6",
                            "--threads", str(threads), "--json", "-q"])[0]
    programs.expect(json.loads(result)["steps"] == 6, result)
    return path


first, again, threaded = train("first", 1), train("again", 1), train("threaded", 2)
for other in (again, threaded):
    programs.same(first + "/weights.safetensors", other + "/weights.safetensors", "weights")

# metrics.jsonl: six training lines with falling tokens to go, both phases, an end event.
with open(first + "/metrics.jsonl", encoding="utf-8") as file:
    lines = [json.loads(line) for line in file]
steps = [line for line in lines if line["stage"] == "train"]
programs.expect([line["step"] for line in steps] == [1, 2, 3, 4, 5, 6], f"steps {steps}")
programs.expect([line["tokens"] for line in steps] == [256 * n for n in range(1, 7)], f"tokens {steps}")
programs.expect(abs(steps[0]["loss"] - math.log(1024)) < 0.3, f"the first loss {steps[0]['loss']} is about ln V")
programs.expect(all(line["grad_norm"] > 0 and line["tokens_per_second"] > 0 for line in steps), f"{steps}")
events = [(line["event"], line.get("phase")) for line in lines if line["stage"] == "event"]
programs.expect(events == [("start", None), ("phase", "plain"), ("phase", "looped"), ("checkpoint", None), ("end", None)],
                f"events {events}")
programs.expect(all("\n" not in json.dumps(line) and line["t"] >= 0 for line in lines), "lines carry a time")
with open(first + "/config.json", encoding="utf-8") as file:
    config = json.load(file)
programs.expect(config["model"] == "quickstart" and config["recipe"]["schedule.steps"]["value"] == 6, "config.json")

# Weights of a run start another one; the same start gives the same bits.
for run in ("resumed", "resumed-again"):
    programs.call([programs.PGRUN, "train", package, "--data", data, "--run", f"{folder}/{run}", "--steps", "2",
                   "--weights", first + "/weights.safetensors", "-q"])
programs.same(f"{folder}/resumed/weights.safetensors", f"{folder}/resumed-again/weights.safetensors", "weights")

# SIGTERM abandons the step, saves, and exits with 128 + 15; a second run in the folder is refused; --resume goes on.
run = os.path.join(folder, "stopped")
process = subprocess.Popen([programs.PGRUN, "train", package, "--data", data, "--run", run, "--steps", "1000000", "-q"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
metrics = run + "/metrics.jsonl"
for attempt in range(1000):
    if os.path.exists(metrics) and os.path.getsize(metrics) > 300:
        break
    time.sleep(0.02)
refused = programs.call([programs.PGRUN, "train", package, "--data", data, "--run", run, "--steps", "1"], code=4)[1]
programs.expect_in("is in use by another process", refused)
process.send_signal(signal.SIGTERM)
out, err = process.communicate(timeout=60)
programs.expect(process.returncode == 143, f"exit code {process.returncode}, expected 143: {err}")
programs.expect_in("ended by signal 15", err)
saved = programs.read_safetensors(run + "/weights.safetensors")
programs.expect(set(saved) == {item["name"] for item in programs.manifest(package)["parameters"]}, "saved names")
with open(metrics, encoding="utf-8") as file:
    programs.expect(json.loads(file.readlines()[-1])["event"] == "interrupted", "the last line tells of the signal")

# A run that is longer than the one that was stopped ends with the bits of one that never was.
def continued(run):
    return json.loads(programs.call([programs.PGRUN, "train", package, "--data", data, "--run", run, "--resume", "--json",
                                     "-q", "--steps", "6"])[0])


half = os.path.join(folder, "half")
programs.call([programs.PGRUN, "train", package, "--data", data, "--run", half, "--steps", "6", "--set",
               "checkpoint.every=2", "-q"])
for suffix in (".json", ".safetensors"):
    os.remove(f"{half}/checkpoints/step-00000006{suffix}")
os.remove(half + "/weights.safetensors")
programs.expect(continued(half)["resumed_from"] == 4, "the checkpoint of step 4")
programs.same(first + "/weights.safetensors", half + "/weights.safetensors", "weights")
programs.expect(continued(half)["resumed_from"] == 6, "a finished run has nothing to do")
