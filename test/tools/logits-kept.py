# RUN: %python %s %t
"""Kept logits: the same loss and gradients but for rounding, bits that do not depend on threads, one place in memory."""
import os

import programs

folder = programs.work_folder()
TOKENS, VOCABULARY = 100, 1031
arguments = programs.PACKAGES["baseline"] + programs.sets([f"dims.V={VOCABULARY}", "dims.L=1"])
arguments[arguments.index("--max-tokens") + 1] = str(TOKENS)
packages = {}
for rule in ("keep", "rebuild"):
    packages[rule] = os.path.join(folder, rule + ".pgx")
    programs.call([programs.PGC, "compile", *arguments, "--logits", rule, "--programs", "score,accumulate",
                   "-o", packages[rule]])

# The logits' gradient lies where the logits were: of the values of one run they are one.
for rule, times in (("keep", 1), ("rebuild", 0)):
    entries = {entry["name"]: entry for entry in programs.manifest(packages[rule])["entries"]}
    logits = [value for value in entries["accumulate@main"]["largest"] if value["bytes"] == 4 * TOKENS * VOCABULARY]
    programs.expect(len(logits) == times, f"{rule}: {entries['accumulate@main']['largest']}")

tokens = os.path.join(folder, "tokens.bin")
programs.write_shard(tokens, programs.random_tokens(301, VOCABULARY))
weights = os.path.join(folder, "weights.safetensors")
programs.call([programs.PGRUN, "init", packages["keep"], "-o", weights, "--seed", "3"])
for name, rule, threads in (("keep", "keep", 2), ("one", "keep", 1), ("rebuild", "rebuild", 2)):
    programs.call([programs.PGRUN, "grad", packages[rule], "--weights", weights, "--tokens", tokens, "--row-length", "50",
                   "--threads", str(threads), "--poison", "-o", f"{folder}/{name}"])
programs.same(f"{folder}/keep", f"{folder}/one", "gradients")
kept, rebuilt = (programs.read_safetensors(f"{folder}/{name}") for name in ("keep", "rebuild"))
programs.expect(kept.keys() == rebuilt.keys() and len(kept) > 5, f"gradients of {sorted(kept)}")
differs = 0
for name in kept:
    a, b = (programs.floats(gradients[name][2]) for gradients in (kept, rebuilt))
    norm = sum(x * x for x in b) ** 0.5
    error = sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5
    programs.expect(error <= 1e-5 * norm, f"{name}: {error} of {norm}")
    differs += error > 0
programs.expect(differs > 0, "two forms of the loss round alike")
