# RUN: %python %s %t
"""A weights file of codes: read as values by any package, as codes by one compiled for it, with equal scores; what does
not fit is named."""
import array
import os
import struct

import programs

folder = programs.work_folder()
model = [f"{programs.MODELS}/pr1934.model.yaml", "--recipe", f"{programs.MODELS}/recipes/pr1934.recipe.yaml",
         "--programs", "score,logits", "--max-tokens", "64"]
sizes = programs.sets("dims.D=48 dims.H=3 dims.G=1 dims.V=64 dims.L=4 options.rope_features=4 options.loop_start=1 "
                      "options.loop_end=2 recipe.batch.micro_tokens=64 recipe.batch.step_tokens=512 "
                      "recipe.batch.row_length=64 recipe.eval.row_length=64".split())
plain, fused = f"{folder}/plain.pgx", f"{folder}/fused.pgx"
programs.call([programs.PGC, "compile", *model, *sizes, "-o", plain])
programs.call([programs.PGC, "compile", *model, *sizes, "--set", "recipe.quantise.weights=fused", "-o", fused])

# No weight is beside its codes, and codes are a quarter of its bytes.
held = {parameter["name"]: parameter for parameter in programs.manifest(fused)["parameters"]}
quantised = {parameter["name"]: parameter for parameter in programs.manifest(plain)["parameters"] if parameter["quant"]}
programs.expect(len(quantised) > 20, f"{len(quantised)} weights have a label")
for name, parameter in quantised.items():
    programs.expect(name not in held and held[name + ".codes"]["dtype"] == "I8", f"{name} has no codes")
    programs.expect(held[name + ".codes"]["bits"] == (7 if parameter["quant"] == "embed" else 6), f"bits of {name}")

# Rounded row by row, the scale in half precision; the table and one other weight with a correction of rank 4, whose left
# factor is codes with one scale and whose right factor is floats. Other weights have none, and the package has room.
weights = f"{folder}/weights.safetensors"
programs.call([programs.PGRUN, "init", plain, "--seed", "3", "-o", weights])


def rounded(values, rows, limit):
    columns, codes, scales = len(values) // rows, array.array("b"), b""
    for row in range(rows):
        part = values[row * columns:(row + 1) * columns]
        scale = struct.unpack("<e", struct.pack("<e", max(max(map(abs, part)) / limit, 1e-4)))[0]
        scales += struct.pack("<e", scale)
        codes.extend(max(-limit, min(limit, round(value / scale))) for value in part)
    return codes.tobytes(), scales


tensors = {}
for name, (dtype, shape, data) in programs.read_safetensors(weights).items():
    if name not in quantised:
        values = programs.floats(data)
        # Gates and scales that begin at zero are made active.
        data = array.array("f", (value + 0.1 * ((k * 7) % 11 - 5) for k, value in enumerate(values))).tobytes()
        tensors[name] = (dtype, shape, data)
        continue
    values = [value + 0.02 * ((k * 37) % 101 - 50) / 50 for k, value in enumerate(programs.floats(data))]
    rows, columns = shape
    codes, scales = rounded(values, rows, 63 if quantised[name]["quant"] == "embed" else 31)
    tensors[name + ".codes"] = ("I8", shape, codes)
    tensors[name + ".scale"] = ("F16", [rows], scales)
    if name in ("tok_emb.weight", "blocks.1.mlp.fc.weight"):
        factor = array.array("b", ((k * 5) % 4 - 2 for k in range(rows * 4))).tobytes()
        tensors[name + ".left.codes"] = ("I8", [rows, 4], factor)
        tensors[name + ".left.scale"] = ("F16", [1], struct.pack("<e", 0.01))
        right = array.array("f", (((k * 29) % 41 - 20) / 20 for k in range(4 * columns))).tobytes()
        tensors[name + ".right"] = ("F32", [4, columns], right)
coded = f"{folder}/codes.safetensors"
programs.write_safetensors(coded, tensors)

tokens = f"{folder}/tokens.bin"
programs.write_shard(tokens, programs.random_tokens(193, 64))


def score(package, source, *flags):
    out = f"{folder}/scores.safetensors"
    programs.call([programs.PGRUN, "score", package, "--weights", source, "--tokens", tokens, "-o", out,
                   "--logits-rows", "0,5,100", *flags])
    read = programs.read_safetensors(out)
    return programs.floats(read["nll"][2]), programs.floats(read["logits"][2])


def distance(first, second):
    return max(abs(a - b) for a, b in zip(first, second))


values, codes = score(plain, coded), score(fused, coded)
programs.expect(len(values[0]) == 192 and distance(values[0], [0] * 192) > 1, "scores are no zeros")
for what, bound, a, b in zip(("nll", "logits"), (5e-5, 5e-5), values, codes):
    programs.expect(0 < distance(a, b) < bound, f"{what} from values and from codes differ by {distance(a, b)}")
programs.expect(score(fused, coded, "--threads", "1") == score(fused, coded, "--threads", "2"), "threads change scores")
# The correction matters: without it the scores are others, in both.
without = {name: tensor for name, tensor in tensors.items() if ".left" not in name and ".right" not in name}
programs.write_safetensors(f"{folder}/bare.safetensors", without)
bare = score(fused, f"{folder}/bare.safetensors")
programs.expect(distance(bare[0], codes[0]) > 1e-3, "a correction is not felt")
programs.expect(distance(bare[0], score(plain, f"{folder}/bare.safetensors")[0]) < 5e-5, "without corrections")


# The CUDA text of it, run by the emulator through the real device code: the CPU's scores within rounding.
source, emulated = f"{folder}/source.pgx", f"{folder}/emulated.pgx"
programs.call([programs.PGC, "compile", *model[:3], "--programs", "score", *sizes, "--max-tokens", "64", "--set",
               "recipe.quantise.weights=fused", "--target", "cpu,cuda:source", "-o", source])
programs.call([os.path.join(programs.BUILD, "bin", "pg-emulate"), source, emulated])
out = f"{folder}/emulated.safetensors"
programs.call([programs.PGRUN, "score", emulated, "--weights", coded, "--tokens", tokens, "-o", out, "--device", "cuda"],
              environment={"PG_CUDA_DRIVER": os.path.join(programs.BUILD, "test", "unit", "device",
                                                          "PgFakeCudaDriver.so"), "FAKE_CUDA_ORDER": "9"})
own = programs.floats(programs.read_safetensors(out)["nll"][2])
programs.expect(0 < distance(own, codes[0]) < 5e-5, f"nll of the CUDA text is {distance(own, codes[0])} from the CPU's")


def refused(package, source, part):
    error = programs.call([programs.PGRUN, "score", package, "--weights", source, "--tokens", tokens, "-o",
                           f"{folder}/none"], 1)[1]
    programs.expect_in(part, error)


def variant(change):
    changed = dict(tensors)
    change(changed)
    path = f"{folder}/variant.safetensors"
    programs.write_safetensors(path, changed)
    return path


fc = "blocks.1.mlp.fc.weight"
refused(fused, weights, "the file holds 'tok_emb.weight' itself, this package reads its codes "
                        "(compile with quantise.weights: materialise)")
missing = variant(lambda t: t.pop(fc + ".scale"))
refused(plain, missing, f"'{fc}.codes' has no '{fc}.scale' beside it")
refused(fused, missing, f"'{fc}.scale' is missing")
wide = variant(lambda t: t.update({fc + ".codes": ("I8", t[fc + ".codes"][1], b"\x20" + t[fc + ".codes"][2][1:])}))
refused(fused, wide, f"'{fc}.codes' holds the code 32; codes of 6 bits lie in -32..31")
half = variant(lambda t: t.pop(fc + ".right"))
refused(plain, half, "belong together")
refused(fused, half, f"'{fc}.right' is missing beside '{fc}.left'")
twice = variant(lambda t: t.update({fc: programs.read_safetensors(weights)[fc]}))
refused(plain, twice, f"'{fc}' is there twice")

error = programs.call([programs.PGC, "check", *model[:3], "--programs", "score,accumulate",
                       "--set", "recipe.quantise.weights=fused"], 1)[1]
programs.expect_in("the program 'accumulate' needs the weights themselves", error)
error = programs.call([programs.PGRUN, "train", fused, "--data", programs.shards(), "--run", f"{folder}/run"], None)[1]
programs.expect(error and not os.path.exists(f"{folder}/run/weights.safetensors"), "codes are not trained")
