# RUN: %python %s %t
"""bench --profile: sums agree with each other and with the package, FLOPs follow the keys, the trace holds every launch."""
import json
import os

import programs

folder = programs.work_folder()
package = programs.package("trained")
manifest = programs.manifest(package)
launches = {entry["name"]: len(entry["launches"]) for entry in manifest["entries"]}


def bench(*flags, **more):
    out, err = programs.call([programs.PGRUN, "bench", package, "--device", "cpu", *flags], **more)
    return out, err


def read(name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def close(a, b, what):
    programs.expect(abs(a - b) <= 1e-9 * max(abs(a), abs(b)), f"{what}: {a} and {b}")


# A profile without an entry is one of whole steps.
out, table = bench("--profile", "--repeat", "2", "--threads", "2", "--json", f"{folder}/a.json", "--trace", f"{folder}/a.trace")
programs.expect(out == "", "the result went to the file")
result = read("a.json")
profile = result["profile"]
programs.expect(result["step"] and result["entry"].startswith("accumulate@"), str(result))
programs.expect(profile["runs"] == 2 and profile["threads"] == 2, str(profile["threads"]))
for name in ("programs", "categories", "kernels"):
    close(sum(row["seconds"] for row in profile[name]), profile["kernel_seconds"], name)
    close(sum(row["share"] for row in profile[name]), profile["kernel_seconds"] / profile["wall_seconds"], name)
    close(sum(row["flops"] for row in profile[name]), sum(row["flops"] for row in profile["kernels"]), name)
    programs.expect(sum(row["launches"] for row in profile[name]) == launches[result["entry"]] + launches["apply"], name)
close(sum(row["seconds"] for row in profile["host"]), profile["host_seconds"], "host")
close(profile["wall_seconds"], profile["kernel_seconds"] + profile["host_seconds"] + profile["between_seconds"], "wall")
programs.expect({row["name"] for row in profile["host"]} == {"zero gradients", "gradient norm", "clip gradients"}, "host parts")
programs.expect({row["name"] for row in profile["programs"]} == {result["entry"], "apply"}, "programs")
categories = {row["name"]: row for row in profile["categories"]}
programs.expect({"matmul", "attention", "row", "optimizer: row"} <= set(categories), str(list(categories)))
programs.expect(profile["peaks"]["flops_per_second"] > 0 and profile["peaks"]["bytes_per_second"] > 0, "peaks are measured")
close(result["gflops_per_second"] * result["median_seconds"] * 1e9, sum(row["flops"] for row in profile["kernels"]), "FLOPs of a run")
def at_peak(row):
    """Seconds of a kernel's FLOPs; products of bf16 pairs have a peak of their own on some CPUs."""
    peaks, pairs = profile["peaks"], row["pair_flops"] if profile["peaks"]["pair_flops_per_second"] else 0
    return (row["flops"] - pairs) / peaks["flops_per_second"] + (pairs / peaks["pair_flops_per_second"] if pairs else 0)


close(result["share_of_peak_flops"] * result["median_seconds"], sum(map(at_peak, profile["kernels"])), "share of the peak")
for row in profile["kernels"]:
    compute = at_peak(row)
    memory = row["bytes"] / profile["peaks"]["bytes_per_second"]
    programs.expect(row["limit"] == ("compute" if compute > memory else "memory"), f"limit of {row['name']}")
    close(row["share_of_limit"] * row["seconds"], max(compute, memory), f"share of the limit of {row['name']}")
    # Processor time is read inside the wall time of each piece.
    programs.expect(0 < row["threads_busy"] <= 2.001, f"{row['name']} keeps {row['threads_busy']} threads busy")
    close(row["share_of_limit_at_work"] * row["threads_busy"] / 2, row["share_of_limit"], f"share at work of {row['name']}")
for words in ("measured peaks", "program", "category", "optimizer: row", "between the kernels", "slowest kernels", "gradient norm"):
    programs.expect_in(words, table)

# Every launch of the last run is in the trace, and every thread's part lies in its launch.
events = [event for event in read("a.trace")["traceEvents"] if event["ph"] == "X"]
whole = [event for event in events if event["tid"] == 0 and event["cat"] != "host"]
programs.expect(len(whole) == launches[result["entry"]] + launches["apply"], f"{len(whole)} launches in the trace")
close(sum(event["args"]["flops"] for event in whole), sum(row["flops"] for row in profile["kernels"]), "FLOPs of the trace")
programs.expect({event["cat"] for event in whole} == set(categories), "categories of the trace")
programs.expect(all(event["ts"] >= 0 and event["dur"] >= 0 for event in events), "times are positive")
symbols = {row["name"] for row in profile["kernels"]}
programs.expect(all(event["name"].split(" ")[0] in symbols for event in whole), "names begin with the symbol")
ends = {}
for event in events:
    programs.expect(event["ts"] >= ends.get(event["tid"], 0) - 1e-3, f"{event['name']} overlaps what its thread did before")
    ends[event["tid"]] = event["ts"] + event["dur"]
    if event["tid"] == 0:
        launch = event
    else:
        programs.expect(launch["ts"] - 1e-3 <= event["ts"] and ends[event["tid"]] <= launch["ts"] + launch["dur"] + 1e-3 and
                        event["name"] == launch["name"], f"{event['name']} lies outside its launch")
programs.expect({1, 2} >= set(ends) - {0} and 1 in ends, f"threads {sorted(ends)}")

# Attention is counted with the keys there are: (row + 1) / 2 for a token; nothing else depends on the row.
flops = {}
for row in (64, 16):
    one = json.loads(bench("--entry", "score@looped", "--row-length", str(row), "--tokens", "128", "--profile", "--json",
                           "--repeat", "1")[0])
    flops[row] = {category["name"]: category["flops"] for category in one["profile"]["categories"]}
    programs.expect(not one["step"], "an entry that is named is run alone")
close(flops[64]["attention"] / 65, flops[16]["attention"] / 17, "FLOPs of attention")
close(flops[64]["matmul"], flops[16]["matmul"], "FLOPs of products")
close(flops[64]["head"], flops[16]["head"], "FLOPs of the head")

# More tokens than a call takes are several calls; without repeats the first run is the result.
many = json.loads(bench("--tokens", "300", "--row-length", "50", "--step", "--repeat", "0", "--json")[0])
programs.expect(many["tokens"] == 300 and many["calls"] == 3, str(many))
programs.expect(many["median_seconds"] == many["first_seconds"] and "profile" not in many, str(many))
apply = json.loads(bench("--entry", "apply", "--profile", "--json", "--repeat", "1")[0])["profile"]
programs.expect([row["name"] for row in apply["programs"]] == ["apply"], "the optimizer alone")
programs.expect(all(row["name"].startswith("optimizer: ") for row in apply["categories"]), "categories of apply")

# What cannot be written or is not there is said.
programs.expect_in("absent", bench("--trace", f"{folder}/absent/x.json", "--repeat", "1", code=4)[1])
programs.expect_in("it has: ", bench("--entry", "nothing", code=2)[1])
