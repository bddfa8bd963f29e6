"""Comparison of what two sides compute, the table and the chart of the CPU benchmark."""
import math

LOSS_BOUND = 1e-4         # f32: nats of a token, as for the golden cases
# Relative L2 of a gradient. Compiled PyTorch's rounding grows in the loop: 1.0e-3 for blocks.4.attn.q_gain of the full-size model beside
# an f64 program of ours, from which ours in f32 is 1.7e-5 away.
GRADIENT_BOUND = 3e-3
BF16_CORRELATION, BF16_LOSS = 0.98, 0.3      # rounding differs; what varies over tokens must vary alike


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan


def correlation(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    own = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return both / math.sqrt(own) if own > 0 else 0.0


def compare(expected, found, exact):
    """Checks {what, ok, numbers} of (losses, gradients) against ours; `exact`: the same precision."""
    (losses, gradients), (other, other_gradients) = expected, found
    worst = max(abs(a - b) if b == b else math.inf for a, b in zip(losses, other))
    alike = correlation(losses, other)
    good = worst <= LOSS_BOUND if exact else alike >= BF16_CORRELATION and worst <= BF16_LOSS
    yield {"what": "losses", "ok": len(losses) == len(other) and good and alike >= BF16_CORRELATION,
           "numbers": f"largest difference {worst:.1e}, correlation {alike:.6f}"}
    if not exact:
        return
    errors = {}
    for name, values in gradients.items():
        difference = math.sqrt(sum((a - b) ** 2 for a, b in zip(values, other_gradients[name])))
        norm = math.sqrt(sum(a * a for a in values))
        errors[name] = difference / norm if norm else (0.0 if difference == 0 else math.inf)
    name = max(errors, key=lambda key: errors[key] if errors[key] == errors[key] else math.inf)
    yield {"what": "gradients", "ok": errors[name] <= GRADIENT_BOUND and len(errors) == len(other_gradients),
           "numbers": f"largest relative L2 {errors[name]:.1e} ({name})"}


def speeds(entry, call_tokens):
    """{what: {side: tokens/s}} of a workload."""
    result = {}
    for what, tokens in (("accumulate", call_tokens), ("step", entry["step_tokens"]), ("score", call_tokens)):
        result[what] = {name: tokens / median(side[what]) for name, side in entry["sides"].items() if side.get(what)}
    return result


def best_of(rates, precision=None):
    """Fastest PyTorch mode, of one precision or of all."""
    theirs = {name: rate for name, rate in rates.items()
              if name.startswith("PyTorch") and (precision is None or name.endswith(precision))}
    return max(theirs.items(), key=lambda item: item[1], default=(None, math.nan))


def processor_ratio(entry, ours, what):
    """Processor time of the best PyTorch mode of one precision over ours: nearly untouched by other work on the machine, but
    threads that spin while they wait count."""
    used = {name: median(side[what + "_processor"]) for name, side in entry["sides"].items() if side.get(what + "_processor")}
    theirs = [seconds for name, seconds in used.items() if name.startswith("PyTorch") and name.endswith(ours.split()[-1])]
    return ratio(min(theirs), used[ours]) if theirs and ours in used else ""


def ratio(a, b):
    return f"{a / b:.2f}" if b == b and b > 0 else "-"


WHAT = {"accumulate": "forward + backward", "step": "whole step", "score": "evaluation"}


def table(results):
    machine = results["machine"]
    lines = [f"{machine['cpu']}, {machine['threads']} threads, "
             f"{'with' if machine['bf16'] else 'WITHOUT'} bf16 instructions{'' if machine['bf16'] else ': bf16 is emulated on both sides'}. "
             f"Calls of {results['call_tokens']} tokens; medians of alternating runs; tokens/s. Load when it began: {machine['load']:.1f}.", "",
             "| workload | row | what | side | tokens/s | : best PyTorch of its precision | : best PyTorch of all | processor time, the same | of measured peak |",
             "|---|---|---|---|---|---|---|---|---|"]
    for entry in results["workloads"]:
        for what, rates in speeds(entry, results["call_tokens"]).items():
            for name, rate in rates.items():
                side = entry["sides"][name]
                cells = ["", "", "", ""]
                if name.startswith("pgrun"):
                    precision = name.split()[-1]
                    equal, overall = best_of(rates, precision), best_of(rates)
                    cells[0] = f"**{ratio(rate, equal[1])}** ({equal[0] or 'none'})"
                    cells[1] = f"{ratio(rate, overall[1])} ({overall[0] or 'none'})"
                    cells[2] = processor_ratio(entry, name, what)
                    if side.get(what + "_of_peak"):
                        cells[3] = f"{100 * median(side[what + '_of_peak']):.1f} %"
                    of_peak = side.get("of_peak", {})
                    if what == "step" and of_peak.get("apply") is not None:
                        cells[3] += f" (apply {100 * of_peak['apply']:.0f} %, its products " + \
                                    f"{100 * (of_peak.get('optimizer: matmul') or 0):.0f} %)"
                mark = " (composed)" if what == "step" and side.get("step_is") == "composed" else ""
                lines.append(f"| {entry['name']} | {entry['row']} | {WHAT[what]}{mark} | {name} | {rate:,.0f} | {' | '.join(cells)} |")
    lines += ["", "Processor time counts every thread and leaves out other work on the machine; threads that spin while they wait count.",
              "A composed step is as many accumulations as it has calls, and the optimizer, measured apart: too slow to wait for.",
              "", "| workload | row | side | peak resident MiB | pgrun : side | first step from YAML or script, s | from a package, s | first kernel, s |",
              "|---|---|---|---|---|---|---|---|"]
    number = lambda value: f"{value:.1f}" if value is not None else ""
    for entry in results["workloads"]:
        for name, side in entry["sides"].items():
            ours = next((other for key, other in entry["sides"].items()
                         if key.startswith("pgrun") and key.endswith(name.split()[-1])), {})
            shown = ratio(ours["peak_bytes"], side["peak_bytes"]) if side.get("peak_bytes") and ours.get("peak_bytes") else "-"
            lines.append(f"| {entry['name']} | {entry['row']} | {name} | {side.get('peak_bytes', 0) / 2 ** 20:,.0f} | {shown} | "
                         f"{number(side.get('cold_yaml'))} | {number(side.get('cold_package'))} | {number(side.get('first_kernel'))} |")
            if side.get("failed"):
                lines.append(f"| | | {name} failed | | | {side['failed'].strip().splitlines()[-1][:100]} | | |")
    lines += ["", "Peak of the steps, of PyTorch without what importing and compiling took before. First step: process start to the end of the "
              "first step of one call, nothing cached; PyTorch's includes import and, for compile and onednn, torch.compile.", "", "| checked | | |", "|---|---|---|"]
    for check in results["checks"]:
        lines.append(f"| {check['what']} | {check.get('numbers', check.get('why', ''))} | {'ok' if check['ok'] else 'FAILED'} |")
    return "\n".join(lines) + "\n"


COLOURS = {"pgrun f32": "#1f5fa8", "pgrun bf16": "#7fb0e0", "PyTorch eager f32": "#d9822b", "PyTorch compile f32": "#a85a12",
           "PyTorch onednn f32": "#7a3d06", "PyTorch eager bf16": "#f0c08a", "PyTorch compile bf16": "#d6a46a"}


def chart(results):
    """Bars of tokens/s relative to the fastest PyTorch mode of all, a group for every workload and measurement."""
    width, left, right, bar, gap, top = 900, 250, 70, 12, 16, 60
    groups = [(entry, what, rates) for entry in results["workloads"]
              for what, rates in speeds(entry, results["call_tokens"]).items() if best_of(rates)[0]]
    longest = max((rate / best_of(rates)[1] for _, _, rates in groups for rate in rates.values()), default=1)
    longest = max(1.0, longest)
    height = top + sum(len(rates) * bar + gap for _, _, rates in groups) + 24
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" '
           f'font-size="11" fill="#333"><rect width="{width}" height="{height}" fill="#fff"/>',
           f'<text x="12" y="20" font-size="14" font-weight="bold">Tokens/s relative to the fastest PyTorch mode, '
           f'{results["machine"]["threads"]} threads</text>']
    x = lambda share: left + share / longest * (width - left - right)
    shown = [name for name in COLOURS if any(name in rates for _, _, rates in groups)]
    for i, name in enumerate(shown):
        out.append(f'<rect x="{12 + 145 * i}" y="32" width="10" height="10" fill="{COLOURS[name]}"/>'
                   f'<text x="{26 + 145 * i}" y="41">{name}</text>')
    y = top
    for entry, what, rates in groups:
        best = best_of(rates)[1]
        out.append(f'<text x="{left - 10}" y="{y + len(rates) * bar / 2 + 4:.1f}" text-anchor="end">{entry["name"]}, rows '
                   f'{entry["row"]}: {WHAT[what]}</text>')
        for name in [key for key in COLOURS if key in rates]:
            share = rates[name] / best
            out.append(f'<rect x="{left}" y="{y}" width="{x(share) - left:.1f}" height="{bar - 2}" fill="{COLOURS[name]}"/>'
                       f'<text x="{x(share) + 5:.1f}" y="{y + bar - 3}">{share:.2f}</text>')
            y += bar
        y += gap
    out.append(f'<path d="M{x(1):.1f} {top - 6}V{height - 20}" stroke="#888" stroke-dasharray="3 3"/></svg>')
    return "\n".join(out) + "\n"
