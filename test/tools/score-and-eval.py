# RUN: %python %s %t
"""score of a shard and eval of its folder are the same sum; bytes are those of the text; cutting attention is felt."""
import json
import os

import programs

folder = programs.work_folder()
package, data = programs.package("trained"), programs.shards()
run = os.path.join(folder, "run")
programs.call([programs.PGRUN, "train", package, "--data", data, "--run", run, "--steps", "20", "-q"])
weights = run + "/weights.safetensors"


def evaluate(*flags):
    return json.loads(programs.call([programs.PGRUN, "eval", package, "--weights", weights, "--data", data,
                                     "--tokenizer", programs.TOKENIZER, "--json", "-q", *flags])[0])


result = evaluate("--bigram")
scores = os.path.join(folder, "scores.safetensors")
programs.call([programs.PGRUN, "score", package, "--weights", weights, "--tokens", f"{data}/books_val_000000.bin",
               "--bos-id", "1", "--max-segment", "32", "-o", scores])
nll = programs.floats(programs.read_safetensors(scores)["nll"][2])
# score keeps the tail that fills no row; eval, like the field's own, leaves it out.
programs.expect(len(nll) // 64 * 64 == result["tokens"], f"{len(nll)} targets, eval has {result['tokens']}")
nll = nll[:result["tokens"]]
programs.expect(abs(sum(nll) - result["nll_sum"]) < 1e-6 * result["nll_sum"], f"{sum(nll)} and {result['nll_sum']}")
programs.expect(abs(result["loss"] - result["nll_sum"] / result["tokens"]) < 1e-9, f"{result}")
bits = result["nll_sum"] / 0.6931471805599453 / result["bytes"]
programs.expect(abs(result["bpb"] - bits) < 1e-9, f"bits per byte {result['bpb']}, expected {bits}")

# The targets stand for the bytes of the text, but for the tail.
with open(os.path.join(data, "val.jsonl"), encoding="utf-8") as file:
    size = len(json.loads(file.readline())["text"].encode())
programs.expect(0.95 * size < result["bytes"] <= size, f"{result['bytes']} bytes, the text has {size}")
programs.expect(result["bigram"]["bpb"] > 0, "the bigram model is printed beside it")

# Trained weights are better than none, and other segments are other scores.
alone = evaluate("--max-segment", "1")
programs.expect(alone["tokens"] == result["tokens"] and alone["nll_sum"] != result["nll_sum"], "segments matter")
with open(run + "/metrics.jsonl", encoding="utf-8") as file:
    first = next(record["loss"] for record in map(json.loads, file) if "loss" in record)
programs.expect(result["loss"] < first - 0.3, f"loss {result['loss']} after training from {first}")

# Row length and batching are of no matter to the first row; the number of threads never is.
for threads in ("1", "2"):
    programs.call([programs.PGRUN, "score", package, "--weights", weights, "--tokens", f"{data}/books_val_000000.bin",
                   "--bos-id", "1", "--max-segment", "32", "-o", f"{folder}/threads-{threads}", "--threads", threads])
programs.same(f"{folder}/threads-1", f"{folder}/threads-2", "scores")
