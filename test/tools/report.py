# RUN: %python %s %t
"""pgrun report: a run folder to one page that needs nothing, shows what is in the folder, and trusts none of it."""
import json
import math
import os
from html.parser import HTMLParser

import programs

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps text, attributes and tables."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.problems, self.attributes, self.words, self.rows = [], [], [], [], []
        self.feed(text)
        self.close()
        if self.open:
            self.problems.append(f"never closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]
        if len({name for name, _ in attributes}) != len(attributes):
            self.problems.append(f"<{tag}> has an attribute twice")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes something else")

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if self.rows and self.open and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data

    def text(self):
        return "".join(self.words)


def report(run, *flags):
    path = programs.call([programs.PGRUN, "report", run, *flags])[0].strip()
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = Page(text)
    programs.expect(not page.problems, f"{path}: {page.problems[:5]}")
    # Nothing to load, nothing to run, nowhere to go.
    for part in ("http", "<script", "<link", "<iframe", "@import", "url("):
        programs.expect(part not in text.lower(), f"{part} in {path}")
    bad = [item for item in page.attributes if item[1] in ("src", "href", "xlink:href") or item[1].startswith("on")]
    programs.expect(not bad, f"attributes that load or run: {bad}")
    ids = [value for _, name, value in page.attributes if name == "id"]
    programs.expect(len(ids) == len(set(ids)), f"ids {ids}")
    numbers = [value for tag, name, value in page.attributes if name in ("d", "cx", "cy", "x", "y", "style")]
    programs.expect(numbers and not any(word in value for value in numbers for word in ("nan", "inf")), "finite curves")
    return page, text


def write_run(path, lines, config):
    os.makedirs(path)
    with open(f"{path}/metrics.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    with open(f"{path}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)


folder = programs.work_folder()

# A folder that a stranger wrote: every name tries to leave its place. Losses are not all numbers; the last line is torn.
hostile = "</style></td><script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;\u0000\u0007"
lines = [{"run": hostile, "t": 0, "step": 0, "stage": "event", "event": "phase", "phase": hostile}]
for step in range(1, 60):
    loss = "nan" if step == 30 else 1e300 if step == 31 else 7 * math.exp(-step / 20) + 1
    lines.append({"run": hostile, "t": step, "step": step, "stage": "train", "loss": loss, "grad_norm": 1 / step,
                  "lr_multiplier": 1 - step / 60, "tokens_per_second": 1000 + step, "tokens": 2048 * step})
lines.append({"run": hostile, "t": 60, "step": 40, "stage": "event", "event": "phase", "phase": hostile})
lines.append({"run": hostile, "t": 60, "step": 59, "stage": "event", "event": hostile, "seconds": {hostile: 3, "train": 57}})
config = {"model": hostile, "precision": hostile, "threads": hostile, "compiler": [hostile], "program": hostile,
          "recipe": {hostile: {"value": hostile, "origin": hostile}, "schedule.steps": {"value": 60, "origin": "--steps"}},
          "machine": {"cpu": hostile}, "data": hostile, "package": {"path": hostile, "bytes": hostile}}
write_run(f"{folder}/hostile", lines, config)
with open(f"{folder}/hostile/metrics.jsonl", "a", encoding="utf-8") as file:
    file.write('{"run":"torn')
with open(f"{folder}/hostile/bytes.json", "w", encoding="utf-8") as file:
    json.dump({"artifact": 10, "tensors": [{"name": hostile, "quant": hostile, "shape": [hostile], "coded": 5}, hostile]}, file)
page, text = report(f"{folder}/hostile", "-o", f"{folder}/hostile.html")
visible = hostile.replace("\u0000", "\ufffd").replace("\u0007", "\ufffd")
programs.expect(page.text().count(visible) >= 12, f"the strings are shown as text, {page.text().count(visible)} times")
programs.expect("alert('x')" not in text and "alert(1)\"" not in text, "quotes are escaped too")
programs.expect_in("The run is unfinished", page.text())

# What is in the folder is on the page.
lines = [{"run": "r", "t": step, "step": step, "stage": "train", "loss": 9.0 - step / 50, "grad_norm": 0.5, "lr_multiplier": 1,
          "tokens": 100 * step, "tokens_per_second": 2000.0} for step in range(1, 101)]
lines.insert(50, {"run": "r", "t": 50, "step": 50, "stage": "validate", "loss": 8.25, "bpb": 3.5})
lines.append({"run": "r", "t": 100, "step": 100, "stage": "validate", "loss": 7.125, "bpb": 3.25})
lines.append({"run": "r", "t": 120.5, "step": 100, "stage": "event", "event": "end",
              "seconds": {"load": 0.5, "train": 100, "validate": 20}})
config = {"model": "tiny", "precision": "f32", "threads": 2, "program": "ab" * 32,
          "machine": {"cpu": "A CPU", "logical_cpus": 2},
          "recipe": {"seed": {"value": 1337, "origin": "tiny.recipe.yaml:2:7"}, "clip.norm": {"value": 0.5, "origin": "--set"}},
          "shards": {"train": {"files": 2, "tokens": 123456, "first": "a_0.bin", "last": "a_1.bin", "digest": "cd" * 32}}}
write_run(f"{folder}/plain", lines, config)
with open(f"{folder}/plain/evaluation.json", "w", encoding="utf-8") as file:
    json.dump({"loss": 7.0, "bpb": 3.0625}, file)
page, text = report(f"{folder}/plain")
programs.expect(os.path.exists(f"{folder}/plain/report.html"), "the page's own place is the run folder")
shown = page.text()
for part in ("3.0625", "7.0000", "7.125", "100 steps, 10,000 tokens", "A CPU", "2 files, 123,456 tokens: a_0.bin to a_1.bin", "ab" * 32,
             "cd" * 32, "1m40s"):
    programs.expect_in(part, shown)
rows = page.rows
programs.expect(["clip.norm", "0.5", "--set"] in rows and ["seed", "1337", "tiny.recipe.yaml:2:7"] in rows, f"{rows}")
programs.expect(["train", "100.0 s", "83.0%"] in rows and ["sum", "120.5 s", ""] in rows, f"{rows}")
programs.expect_in('class="changed"', text)
programs.expect(text.count("<svg") == 8, f"four figures in two scales, got {text.count('<svg')}")
same = programs.call([programs.PGRUN, "report", f"{folder}/plain", "-o", "-"])[0]
programs.expect(same.rstrip("\n") == text.rstrip("\n"), "the same folder gives the same page")

# What is no run folder is refused.
programs.expect_in("it has no metrics.jsonl", programs.call([programs.PGRUN, "report", folder], code=1)[1])
os.makedirs(f"{folder}/broken")
with open(f"{folder}/broken/metrics.jsonl", "w", encoding="utf-8") as file:
    file.write('{"step":1}\nnonsense\n{"step":2}\n')
programs.expect_in("broken/metrics.jsonl': line 2", programs.call([programs.PGRUN, "report", f"{folder}/broken"], code=5)[1])
with open(f"{folder}/seeds.json", "w", encoding="utf-8") as file:
    json.dump({"runs": [{"folder": "../plain"}]}, file)
programs.expect_in("is no folder beside it", programs.call([programs.PGRUN, "report", folder], code=5)[1])
