# RUN: %python %s
"""Every constraint C1..Cn that a record of the dialect states is broken on purpose by a negative test of that op."""
import glob
import re

import programs

stated = {}
for path in sorted(glob.glob(f"{programs.SOURCE}/dialect/ops/*.td")):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    # A record runs to the next `def` or `class` at the beginning of a line.
    for record in re.split(r"(?m)^(?=def |class )", text):
        name = re.match(r'def \w+ : \w+<"(\w+)"', record)
        description = re.search(r"let description = \[\{(.*?)\}\]", record, re.S)
        if name and description:
            # "C1, C2 as attention" states nothing new.
            own = re.sub(r"C[0-9](?:, C[0-9])* as ", "", description.group(1))
            labels = set(re.findall(r"\bC[0-9]\b", own))
            if labels:
                stated[name.group(1)] = labels
programs.expect(len(stated) > 20, f"records {sorted(stated)}")

broken = {}
for path in sorted(glob.glob(f"{programs.SOURCE}/test/dialect/*-invalid.mlir")):
    with open(path, encoding="utf-8") as file:
        cases = file.read().split("// -----")
    for case in cases:
        for label in re.findall(r"expected-error.*?\((C[0-9])\)", case):
            for op in re.findall(r"\bpg\.(\w+)", case):
                broken.setdefault(op, set()).add(label)
missing = [f"{op} {label}" for op, labels in sorted(stated.items()) for label in sorted(labels - broken.get(op, set()))]
programs.expect(not missing, "constraints without a negative test: " + ", ".join(missing))
