# RUN: %python %s
"""Links between the pages and into the tree lead somewhere."""
import glob
import os
import re

import programs

problems = []
for page in [f"{programs.SOURCE}/README.md", *glob.glob(f"{programs.SOURCE}/docs/*.md"),
             *glob.glob(f"{programs.SOURCE}/**/README.md", recursive=True)]:
    if not os.path.exists(page):
        continue
    with open(page, encoding="utf-8") as file:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read(), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not os.path.exists(os.path.join(os.path.dirname(page), target)):
            problems.append(f"{os.path.relpath(page, programs.SOURCE)}: {target} does not exist")
programs.expect(not problems, "\n".join(problems))
