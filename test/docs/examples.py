# RUN: %python %s %t
"""The commands of the pages work: every sh block that follows an HTML comment <!-- test --> is run.

Blocks of one page run in one folder, in order, with `models`, `tools` and `build` of the project in it. A block
that follows <!-- test: exit 1 --> must end with that code. Lines of a `text` or `console` block that follows
<!-- output --> must be among the lines the last block printed, in that order; `...` in a line stands for anything.
"""
import glob
import os
import re
import subprocess

import programs

BLOCK = re.compile(r"<!-- (test(?:: exit (\d+))?|output) -->\s*\n```(\w*)\n(.*?)\n```", re.S)


def matches(expected, printed):
    lines = iter(printed.splitlines())
    for want in expected.splitlines():
        shape = ".*".join(re.escape(part.strip()) for part in want.split("..."))
        if not any(re.search(shape, line) for line in lines):
            return want
    return None


pages = [f"{programs.SOURCE}/README.md", *sorted(glob.glob(f"{programs.SOURCE}/docs/*.md"))]
for page in pages:
    if not os.path.exists(page):
        continue
    with open(page, encoding="utf-8") as file:
        blocks = BLOCK.findall(file.read())
    if not blocks:
        continue
    folder = os.path.join(programs.work_folder(), os.path.basename(page))
    os.makedirs(folder)
    for name in ("models", "tools", "docs", "test"):
        os.symlink(f"{programs.SOURCE}/{name}", f"{folder}/{name}")
    os.symlink(programs.BUILD, f"{folder}/build")
    printed = ""
    for kind, code, language, text in blocks:
        if kind == "output":
            missing = matches(text, printed)
            programs.expect(missing is None, f"{page}: {missing!r} was not printed, but\n{printed}")
            continue
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, capture_output=True, text=True)
        printed = done.stdout + done.stderr
        programs.expect(done.returncode == int(code or 0), f"{page}:\n{text}\nexit code {done.returncode}\n{printed}")
