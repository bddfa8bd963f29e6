# RUN: %python %s %t
"""The CUDA target from outside, on a machine without GPU, driver or NVRTC: texts, packages, messages, exit codes."""
import json
import os

import programs

folder = programs.work_folder()
bare = {"PG_NVRTC": "/nowhere/libnvrtc.so.13", "PG_CUDA_DRIVER": "/nowhere/libcuda.so.1"}
model = programs.PACKAGES["baseline"]


def pgc(code, verb, *flags):
    return programs.call([programs.PGC, verb, *model, *flags], code=code, environment=bare)


# What --target takes.
for target, message in (("gpu", "unknown target 'gpu': expected a comma list of cpu"),
                        ("cpu,cuda:sm_9", "unknown CUDA architecture 'sm_9'"),
                        ("cuda:source,sm_80", "leave out the architectures"),
                        ("cuda,cuda", "target cuda is given twice"),
                        ("cpu:x86-64-v9", "unknown CPU level 'x86-64-v9'")):
    programs.expect_in(message, pgc(2, "compile", "--target", target, "-o", folder + "/x.pgx")[1])
programs.expect_in("--emit needs --target cuda", pgc(2, "compile", "--emit=cuda")[1])

# Machine code needs NVRTC and says so; the text does not.
err = pgc(3, "compile", "--target", "cuda", "-o", folder + "/x.pgx")[1]
for part in ("CUDA code needs NVRTC", "/nowhere/libnvrtc.so.13", "install", "CUDA_HOME", "--target cpu works without"):
    programs.expect_in(part, err)
text = pgc(0, "compile", "--target", "cuda:source", "--emit=cuda")[0]
for part in ("#include <pg_prelude.cuh>", "__global__", "baseline.model.yaml:", "pg_sum_lanes"):
    programs.expect_in(part, text)
programs.expect("asm" not in text, "PTX stands in the prelude alone")

both, only = folder + "/both.pgx", folder + "/only.pgx"
pgc(0, "compile", "--target", "cpu,cuda:source", "-o", both)
pgc(0, "compile", "--target", "cuda:source", "-o", only, "--emit=cuda")
with open(folder + "/only.cu", encoding="utf-8") as file:
    programs.expect(text == file.read(), "the text beside the package is that on standard output")
info = json.loads(programs.call([programs.PGRUN, "info", only, "--json"])[0])
programs.expect([target["target"] for target in info["targets"]] == ["cuda"], f"{info['targets']}")

# No driver: auto goes to the CPU with one line, cuda insists.
weights = programs.weights("baseline", folder + "/w.safetensors")
tokens = folder + "/t.bin"
programs.write_shard(tokens, programs.random_tokens(100, 64))


def score(code, package, *flags):
    return programs.call([programs.PGRUN, "score", package, "--weights", weights, "--tokens", tokens, "-o",
                          folder + "/nll.safetensors", *flags], code=code, environment=bare)[1]


err = score(0, both)
programs.expect_in("no CUDA driver (/nowhere/libcuda.so.1", err)
programs.expect_in("using the CPU", err)
programs.expect(err.count("\n") == 1, err)
programs.expect(score(0, both, "--device", "cpu") == "", "the CPU says nothing")
programs.expect_in("no CUDA driver", score(3, both, "--device", "cuda"))
programs.expect_in("no CUDA driver", score(3, only))
programs.expect_in("holds no CPU code; recompile it with --target cpu", score(3, only, "--device", "cpu"))
programs.expect_in("is no device, expected auto, cpu, cuda or cuda:N", score(2, both, "--device", "gpu"))
programs.call([programs.PGRUN, "bench", programs.package("baseline"), "--device", "cuda", "--tokens", "8"], code=3,
              environment=bare)

# The doctor.
out = programs.call([programs.PGRUN, "doctor", both], environment=bare)[0]
for part in ("CUDA driver", "install NVIDIA's driver", "package on the CPU runs", "package on the GPU"):
    programs.expect_in(part, out)
programs.call([programs.PGRUN, "doctor", only], code=3, environment=bare)
programs.call([programs.PGRUN, "doctor", "--device", "cuda"], code=3, environment=bare)
found = json.loads(programs.call([programs.PGRUN, "doctor", "--json"], environment=bare)[0])
programs.expect(any(item["what"] == "CPU" and item["present"] for item in found), "the doctor finds a CPU")

# The estimate of pgc check, of programs and of an optimizer step: two calls of 128 tokens, then the update.
report = json.loads(programs.call([programs.PGC, "check", *programs.PACKAGES["trained"], "--target", "cuda", "--json"],
                                  environment=bare)[0])
entries = {entry["entry"]: entry for entry in report["cuda"]}
for entry in entries.values():
    programs.expect(entry["kernels"] >= entry["launches"] > 0, f"{entry}")
    programs.expect(0 < entry["seconds"]["H200"] <= entry["seconds"]["H100"] < entry["seconds"]["A100"], f"{entry}")
    if entry["tokens"]:
        programs.expect(abs(entry["bytes_per_token"] * entry["tokens"] - entry["bytes"]) < 1e-9 * entry["bytes"], f"{entry}")
for phase in ("plain", "looped"):
    step, part, last = entries["step@" + phase], entries["accumulate@" + phase], entries["apply"]
    programs.expect((step["tokens"], part["tokens"], last["tokens"]) == (256, 128, 0), f"{step}")
    for what in ("launches", "kernels", "flops", "bytes"):
        programs.expect(step[what] == 2 * part[what] + last[what], f"{what} of {step}")
    for gpu, seconds in step["seconds"].items():
        programs.expect(abs(seconds - 2 * part["seconds"][gpu] - last["seconds"][gpu]) < 1e-9 * seconds, f"{gpu} of {step}")
    # No GPU is as fast as its memory alone would allow: bytes over the bandwidth of the data sheet is a lower bound.
    programs.expect(step["seconds"]["H100"] >= step["bytes"] / 3.35e12, f"{step}")
out = pgc(0, "check", "--target", "cuda")[0]
for part in ("tok/s", "bytes/token", "launches"):
    programs.expect_in(part, out)
