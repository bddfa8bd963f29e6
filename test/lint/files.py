# RUN: %python %s
"""Source files are short enough to read, end in a line break, and carry a banner."""
import glob
import os

import programs

LIMIT = 800
problems, count = [], 0
for room in ("dialect", "passes", "frontend", "runtime", "tools", "test", "models", "docs"):
    for path in sorted(glob.glob(f"{programs.SOURCE}/{room}/**/*", recursive=True)):
        if not path.endswith((".h", ".cpp", ".td", ".py", ".sh", ".cmake", ".txt", ".mlir", ".test", ".yaml", ".md")):
            continue
        name = os.path.relpath(path, programs.SOURCE)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        count += 1
        lines = text.splitlines()
        if len(lines) > LIMIT:
            problems.append(f"{name} has {len(lines)} lines, at most {LIMIT} are allowed")
        if text and not text.endswith("\n"):
            problems.append(f"{name} does not end in a line break")
        for number, line in enumerate(lines, 1):
            if line != line.rstrip() and not name.endswith(".md"):
                problems.append(f"{name}:{number}: space at the end of the line")
            if "\t" in line:
                problems.append(f"{name}:{number}: a tab")
        if name.endswith((".h", ".cpp", ".td")) and not lines[0].startswith("//===- " + os.path.basename(name)):
            problems.append(f"{name} does not begin with a banner that names it")
programs.expect(count > 200, f"{count} files found")
programs.expect(not problems, "\n".join(problems))
