# RUN: %python %s %t
"""Broken packages, weights and tokens, and a full disk: exit code and message through the tool."""
import os
import resource
import signal

import programs

folder = programs.work_folder()
package = programs.package("baseline")
weights = programs.weights("baseline", os.path.join(folder, "w.safetensors"))
tokens = os.path.join(folder, "t.bin")
programs.write_shard(tokens, programs.random_tokens(100, 64))


def spill(name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def slurp(path):
    with open(path, "rb") as file:
        return file.read()


def score(code, message, package=package, weights=weights, tokens=tokens, extra=(), before=None, verb="score"):
    output = os.path.join(folder, "out.safetensors")
    err = programs.call([programs.PGRUN, verb, package, "--weights", weights, "--tokens", tokens, "-o", output,
                         *extra], code=code, before=before)[1]
    programs.expect_in(message, err)


score(0, "")

# Packages: cut short, one bit wrong in every section, another version, something else.
data = slurp(package)
for length in (0, 7, 100, len(data) // 2, len(data) - 1):
    score(5, "cut.pgx", package=spill("cut.pgx", data[:length]))
for position in (9, 30, 70, 300, 5000, len(data) // 2, len(data) - 8):
    flipped = bytearray(data)
    flipped[position] ^= 4
    path = spill("flipped.pgx", bytes(flipped))
    message = programs.call([programs.PGRUN, "info", path], code=None)[1]
    if flipped[position] != 4 or "error" in message:  # padding between sections is zero and belongs to none
        score(5, "flipped.pgx", package=path)
score(5, "recompile", package=spill("version.pgx", data[:8] + b"\x09" + data[9:]))
score(5, "w.safetensors", package=weights)
score(4, "absent.pgx", package=folder + "/absent.pgx")

# Shards and safetensors.
shard = slurp(tokens)
score(5, "needs", tokens=spill("cut.bin", shard[:-3]))
score(5, "magic", tokens=spill("magic.bin", b"\0" + shard[1:]))
score(5, "version 2", tokens=spill("version.bin", shard[:4] + b"\x02" + shard[5:]))
tensors = slurp(weights)
score(5, "cut.safetensors", weights=spill("cut.safetensors", tensors[:-1]))
score(5, "header.safetensors", weights=spill("header.safetensors", tensors[:7] + b"\x7f" + tensors[8:]))

# Weights that do not fit: every fault is listed.
good = programs.read_safetensors(weights)
wrong = dict(good)
wrong.pop("skip_weights")
wrong["extra"] = ("F32", [2], bytes(8))
dtype, shape, values = wrong["tok_emb.weight"]
wrong["tok_emb.weight"] = (dtype, [shape[1], shape[0]], values)
path = os.path.join(folder, "wrong.safetensors")
programs.write_safetensors(path, wrong)
for message in ("'skip_weights' is missing (expected [1, 96])", "'extra' [2] is no parameter of the model",
                "'tok_emb.weight' has shape [96, 64], expected [64, 96]"):
    score(1, message, weights=path)

# Tokens that do not fit.
beyond = os.path.join(folder, "beyond.bin")
programs.write_shard(beyond, [1, 2, 64, 3])
score(1, "token 64 at position 2 is outside the vocabulary of 64", tokens=beyond)
long = os.path.join(folder, "long.bin")
programs.write_shard(long, programs.random_tokens(500, 64))
for verb in ("score", "grad"):
    score(2, "compiled for at most 256 tokens, this run needs 400; recompile with --max-tokens 400", tokens=long,
          extra=("--row-length", "400"), verb=verb)
score(2, "no phase 'late'", extra=("--phase", "late"))
score(2, "--logits-rows: '99' is no target", extra=("--logits-rows", "99"))

# A folder without shards, a package without an optimizer.
trained = programs.package("trained")
err = programs.call([programs.PGRUN, "train", trained, "--data", folder, "--run", folder + "/run"], code=1)[1]
programs.expect_in("holds no token shard named books_train_*.bin", err)
err = programs.call([programs.PGRUN, "train", package, "--data", folder, "--run", folder + "/run"], code=2)[1]
programs.expect_in("compile it with --recipe", err)

err = programs.call([programs.PGRUN, "bench", package, "--tokens", "64", "--row-length", "64"], code=2,
                    environment={"PG_THREADS": "many"})[1]
programs.expect_in("PG_THREADS is 'many', expected a number from 1 to 1024", err)


# No room: writes beyond a limit fail, as they do on a full disk; standard output that takes nothing. The limit
# leaves room for the code, which is put into a file in memory, and none for the weights.
limit = os.path.getsize(trained)


def no_room():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


err = programs.call([programs.PGRUN, "train", trained, "--data", programs.shards(), "--run", folder + "/full",
                     "--steps", "2", "-q"], code=4, before=no_room)[1]
programs.expect_in("cannot write", err)
programs.expect(not [name for name in os.listdir(folder) if ".tmp" in name], "a failed write leaves nothing behind")
err = programs.call(["sh", "-c", f"'{programs.PGRUN}' info '{package}' >/dev/full"], code=4)[1]
programs.expect_in("cannot write to standard output", err)
