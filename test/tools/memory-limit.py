# RUN: %python %s %t
"""A memory limit makes the arena smaller by recomputation and changes no bit of the gradients."""
import json
import os

import programs

folder = programs.work_folder()


def accumulate_bytes(arguments):
    report = json.loads(programs.call([programs.PGC, "check", *arguments, "--json"])[0])
    return max(entry["arena_bytes"] for entry in report["entries"] if entry["name"].startswith("accumulate"))


tokens = os.path.join(folder, "tokens.bin")
programs.write_shard(tokens, programs.random_tokens(301, 64))
for name in ("baseline", "narrow"):
    arguments = programs.PACKAGES[name]
    free = accumulate_bytes(arguments)
    limit = int(0.95 * free)
    limited = accumulate_bytes(arguments + ["--memory-limit", str(limit)])
    programs.expect(limited <= limit, f"{name}: arena {limited} under a limit of {limit}, {free} without")

    small = os.path.join(folder, name + ".pgx")
    programs.call([programs.PGC, "compile", *arguments, "--memory-limit", str(limit), "--programs", "accumulate",
                   "-o", small])
    weights = programs.weights(name, os.path.join(folder, name + ".safetensors"))
    # 300 targets in rows of 100: two calls of at most 256 tokens.
    for kind, path in (("free", programs.package(name)), ("limited", small)):
        programs.call([programs.PGRUN, "grad", path, "--weights", weights, "--tokens", tokens, "--row-length", "100",
                       "--threads", "2" if kind == "free" else "1", "--poison", "-o", f"{folder}/{name}-{kind}"])
    programs.same(f"{folder}/{name}-free", f"{folder}/{name}-limited", "gradients")
    gradients = programs.read_safetensors(f"{folder}/{name}-free")
    programs.expect(all(any(programs.floats(data)) for _, _, data in gradients.values()) or name != "baseline",
                    "every parameter of the baseline has a gradient")
