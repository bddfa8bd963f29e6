# RUN: %python %s
"""Every pass of a record or a constructor is run by a textual test."""
import glob
import re

import programs

flags = set()
for path in glob.glob(f"{programs.SOURCE}/passes/**/*.td", recursive=True):
    with open(path, encoding="utf-8") as file:
        flags |= set(re.findall(r'Pass<"(pg-[a-z-]+)"', file.read()))
for path in glob.glob(f"{programs.SOURCE}/passes/**/*.cpp", recursive=True):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for body in re.findall(r"getArgument\(\)[^{]*\{(.*?)\}", text, re.S):
        flags |= set(re.findall(r'"(pg-[a-z-]+)"', body))
programs.expect(len(flags) >= 13, f"passes {sorted(flags)}")

run = ""
for path in glob.glob(f"{programs.SOURCE}/test/**/*.mlir", recursive=True):
    with open(path, encoding="utf-8") as file:
        run += "".join(line for line in file if "RUN" + ":" in line)
missing = [flag for flag in sorted(flags) if not re.search(rf"\b{flag}(?![a-z-])", run)]
programs.expect(not missing, f"no test runs the passes {missing}")
