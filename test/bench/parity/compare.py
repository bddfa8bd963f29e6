"""Two trainings of the same model beside each other: a table (Markdown), a picture (SVG), and whether the bounds hold.

    compare.py METRICS.jsonl EVAL.json PYTORCH.jsonl -o PREFIX      writes PREFIX.md and PREFIX.svg
"""
import argparse
import json
import math
import sys

FIRST, LOSS_BOUND, BPB_BOUND = 100, 1e-3, 0.005


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def curve(path, key):
    return {line["step"]: line[key] for line in lines(path) if line["stage"] == "train"}


def picture(ours, theirs):
    """Both losses on one frame, their absolute difference on a log scale under it."""
    width, left, right, top, high, gap, low = 860, 54, 20, 34, 250, 56, 130
    steps = sorted(ours)
    x = lambda step: left + (step - steps[0]) / max(1, steps[-1] - steps[0]) * (width - left - right)
    cut = ours[steps[len(steps) // 12]] + 0.3
    bottom = min(min(ours.values()), min(theirs.values())) - 0.1
    y = lambda value: top + (cut - value) / (cut - bottom) * high
    second = top + high + gap
    gaps = {step: max(abs(ours[step] - theirs[step]), 1e-9) for step in steps}
    ceiling = max(-2, math.ceil(math.log10(max(gaps.values()))))
    floor = math.floor(math.log10(min(gaps.values())))
    z = lambda value: second + (ceiling - math.log10(value)) / (ceiling - floor) * low
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {second + low + 40}" '
           'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#444">',
           f'<rect width="{width}" height="{second + low + 40}" fill="#fff"/>']
    text = lambda at, down, words, anchor="start", more="": out.append(
        f'<text x="{at:.1f}" y="{down:.1f}" text-anchor="{anchor}"{more}>{words}</text>')
    rule = lambda a, b, c, d, colour="#dfe2e6", more="": out.append(
        f'<path d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" stroke="{colour}" fill="none"{more}/>')
    text(left, 18, "training loss, nats per token", more=' font-weight="bold" fill="#111"')
    for tick in range(math.ceil(bottom * 2), math.floor(cut * 2) + 1):
        rule(left, y(tick / 2), width - right, y(tick / 2))
        text(left - 8, y(tick / 2) + 4, f"{tick / 2:g}", "end")
    path = lambda values, down: "".join(
        f"{'L' if i else 'M'}{x(step):.1f} {down(value):.1f}"
        for i, (step, value) in enumerate((s, values[s]) for s in steps if down(values[s]) >= top))
    out.append(f'<path d="{path(theirs, y)}" stroke="#e08a3c" stroke-width="3" fill="none" opacity="0.75"/>')
    out.append(f'<path d="{path(ours, y)}" stroke="#2a5a9c" stroke-width="1" fill="none"/>')
    for i, (words, colour, thick) in enumerate((("PyTorch", "#e08a3c", 3), ("pgrun", "#2a5a9c", 1))):
        rule(width - 210 + 100 * i, 14, width - 186 + 100 * i, 14, colour, f' stroke-width="{thick}"')
        text(width - 180 + 100 * i, 18, words)
    text(left, second - 12, "absolute difference of the losses", more=' font-weight="bold" fill="#111"')
    for power in range(floor, ceiling + 1):
        rule(left, z(10 ** power), width - right, z(10 ** power))
        text(left - 8, z(10 ** power) + 4, f"1e{power}", "end")
    rule(left, z(LOSS_BOUND), x(min(FIRST, steps[-1])), z(LOSS_BOUND), "#a8322a", ' stroke-width="1.5"')
    text(left + 6, z(LOSS_BOUND) - 5, f"bound of the first {FIRST} steps", more=' fill="#a8322a"')
    out.append(f'<path d="{path(gaps, z)}" stroke="#2a5a9c" stroke-width="1" fill="none"/>')
    for part in range(5):
        step = round(steps[0] + part / 4 * (steps[-1] - steps[0]))
        text(x(step), second + low + 22, f"step {step}" if part == 0 else str(step), "middle" if part else "start")
    return "\n".join(out) + "\n</svg>\n"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("metrics")
parser.add_argument("evaluation")
parser.add_argument("pytorch")
parser.add_argument("-o", "--output", required=True)
args = parser.parse_args()
ours, theirs = curve(args.metrics, "loss"), curve(args.pytorch, "loss")
if sorted(ours) != sorted(theirs) or not ours:
    sys.exit(f"the runs logged different steps: {len(ours)} and {len(theirs)}")
norms, other_norms = curve(args.metrics, "grad_norm"), curve(args.pytorch, "grad_norm")
with open(args.evaluation, encoding="utf-8") as file:
    scored = json.load(file)
final = [line for line in lines(args.pytorch) if line["stage"] == "validate"][-1]
if (scored["tokens"], scored["bytes"]) != (final["val_tokens"], final["val_bytes"]):
    sys.exit(f"different validation targets: {scored['tokens']} tokens of {scored['bytes']} bytes here, "
             f"{final['val_tokens']} of {final['val_bytes']} there")
steps = sorted(ours)
worst_first = max(abs(ours[s] - theirs[s]) for s in steps[:FIRST])
worst = max(abs(ours[s] - theirs[s]) for s in steps)
norm = max(abs(norms[s] - other_norms[s]) / other_norms[s] for s in steps[:FIRST])
bpb = abs(scored["bpb"] - final["val_bpb"])
tail = steps[-max(1, len(steps) // 20):]
mean = lambda values: sum(values[s] for s in tail) / len(tail)
table = [
    "| | pgrun | PyTorch | difference | bound |", "|---|---|---|---|---|",
    f"| loss of step 1 | {ours[steps[0]]:.6f} | {theirs[steps[0]]:.6f} | {abs(ours[steps[0]] - theirs[steps[0]]):.1e} | |",
    f"| loss, first {min(FIRST, len(steps))} steps, largest difference | | | {worst_first:.1e} | {LOSS_BOUND:.0e} |",
    f"| gradient norm, the same steps, largest relative difference | | | {norm:.1e} | |",
    f"| loss, all {len(steps):,} steps, largest difference | | | {worst:.1e} | |",
    f"| loss, mean of the last {len(tail)} steps | {mean(ours):.6f} | {mean(theirs):.6f} | {abs(mean(ours) - mean(theirs)):.1e} | |",
    f"| validation loss | {scored['loss']:.6f} | {final['val_loss']:.6f} | {abs(scored['loss'] - final['val_loss']):.1e} | |",
    f"| bits per byte, {scored['tokens']:,} targets, {scored['bytes']:,} bytes | {scored['bpb']:.6f} | {final['val_bpb']:.6f} "
    f"| {bpb:.1e} | {BPB_BOUND} |",
]
with open(args.output + ".md", "w", encoding="utf-8") as file:
    file.write("\n".join(table) + "\n")
with open(args.output + ".svg", "w", encoding="utf-8") as file:
    file.write(picture(ours, theirs))
print("\n".join(table))
if not (worst_first <= LOSS_BOUND and bpb <= BPB_BOUND):
    sys.exit("a bound is broken")
