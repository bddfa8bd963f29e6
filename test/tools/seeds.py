# RUN: %python %s %t
"""pgrun train --seeds: a run for each seed, scored, summarised and tested against a baseline; event file, bytes, report."""
import glob
import json
import math
import statistics
import struct

import programs

folder = programs.work_folder()
package = programs.package("trained")
data = programs.shards()
train = [programs.PGRUN, "train", package, "--data", data, "--steps", "2", "-q"]


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


out = programs.call([*train, "--run", f"{folder}/runs", "--seeds", "2", "--seed", "7", "--tokenizer", programs.TOKENIZER,
                     "--tensorboard", "--baseline", "5,5.5,5.25", "--json"])[0]
summary = json.loads(out)
programs.expect(summary == read(f"{folder}/runs/seeds.json"), "the result is the file")
programs.expect([(run["seed"], run["folder"]) for run in summary["runs"]] == [(7, "seed-7"), (8, "seed-8")], out)
values = [run["value"] for run in summary["runs"]]
programs.expect(summary["metric"] == "bpb" and values[0] != values[1], out)
programs.expect(math.isclose(summary["mean"], statistics.mean(values)), out)
programs.expect(math.isclose(summary["standard_deviation"], statistics.stdev(values)), out)
programs.expect(summary["welch"]["p"] < 0.05 and summary["baseline"]["mean"] == 5.25, out)
# The same weights score the same in another process.
for run in summary["runs"]:
    at = f"{folder}/runs/{run['folder']}"
    again = json.loads(programs.call([programs.PGRUN, "eval", package, "--weights", f"{at}/weights.safetensors", "--data", data,
                                      "--tokenizer", programs.TOKENIZER, "--json", "-q"])[0])
    programs.expect(again["bpb"] == run["bpb"] == read(f"{at}/evaluation.json")["bpb"], f"{again['bpb']} and {run}")
    config, ledger = read(f"{at}/config.json"), read(f"{at}/bytes.json")
    programs.expect(config["recipe"]["seed"] == {"value": run["seed"], "origin": "--seed"}, str(config["recipe"]["seed"]))
    programs.expect(len(config["package"]["sha256"]) == 64 and config["shards"]["train"]["tokens"] > 0, "provenance")
    names = {item["name"] for item in programs.manifest(package)["parameters"]}
    programs.expect({tensor["name"] for tensor in ledger["tensors"]} == names, "every tensor has its bytes")
    programs.expect(ledger["coded"] == sum(tensor["coded"] for tensor in ledger["tensors"]), "bytes add up")
    programs.expect(ledger["artifact"] == ledger["coded"] + ledger["spec"] == run["artifact_bytes"], "the artifact")
    # Time: the ledger of the last event is the wall clock.
    with open(f"{at}/metrics.jsonl", encoding="utf-8") as file:
        end = json.loads(file.readlines()[-1])
    programs.expect(abs(sum(end["seconds"].values()) - end["wall"]) < 0.1, str(end))
    # The event file is whole records up to its end.
    (events,) = glob.glob(f"{at}/events.out.tfevents.*")
    with open(events, "rb") as file:
        records = file.read()
    at_byte = count = 0
    while at_byte < len(records):
        at_byte += 16 + struct.unpack_from("<Q", records, at_byte)[0]
        count += 1
    programs.expect(at_byte == len(records) and count == 3 and b"train/loss" in records and b"lr/matrix" in records,
                    f"{count} records")

# The same seed alone gives the same weights; its folder is no place for seeds; seeds are a baseline of others.
programs.call([*train, "--run", f"{folder}/alone", "--seed", "7"])
programs.same(f"{folder}/alone/weights.safetensors", f"{folder}/runs/seed-7/weights.safetensors", "weights")
programs.expect_in("holds a single run", programs.call([*train, "--run", f"{folder}/alone", "--seeds", "2"], code=2)[1])
text = programs.call([*train, "--run", f"{folder}/others", "--seeds", "9,10", "--tokenizer", programs.TOKENIZER,
                      "--baseline", f"{folder}/runs"])[0]
programs.expect_in(f"baseline {folder}/runs: mean {summary['mean']:.6f}", text)
programs.expect_in("one-sided Welch test", text)
for flags, message in ((["--seeds", "0"], "expected how many"), (["--seeds", "2", "--baseline", "1.5"], "at least two values"),
                       (["--seeds", "1", "--baseline", "1,2"], "at least two --seeds"), (["--baseline", "1,2"], "--seeds")):
    programs.expect_in(message, programs.call([*train, "--run", f"{folder}/none", *flags], code=2)[1])

page = programs.call([programs.PGRUN, "report", f"{folder}/runs", "-o", "-"])[0]
for part in ("2 seeds of 2 steps", "seed 7", "seed 8", f"{summary['mean']:.5f}", "One-sided Welch test"):
    programs.expect_in(part, page)
