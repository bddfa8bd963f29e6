# RUN: %python %s
"""Who may include whom: the table of docs/architecture.md §7 against every include of the project."""
import glob
import os
import re

import programs

ROOMS = ("dialect", "passes", "frontend", "runtime", "tools", "test")
# The third parties of the table, by the beginnings of their include paths.
PARTIES = {"MLIR": ("mlir/", "mlir-c/"), "LLVM": ("llvm/", "llvm-c/"), "yaml-cpp": ("yaml-cpp/",),
           "nlohmann-json": ("nlohmann/",), "sentencepiece": ("sentencepiece",), "CLI11": ("CLI/",),
           "gtest": ("gtest/", "gmock/")}


def table():
    """{room: (project prefixes, third-party text)}, read from the page."""
    with open(f"{programs.SOURCE}/docs/architecture.md", encoding="utf-8") as file:
        section = file.read().split("## 7. Rooms")[1]
    rows = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[0] in ROOMS:
            own = ROOMS if cells[1] == "everything" else [item.strip(" `") for item in cells[1].split(",")]
            rows[cells[0]] = (tuple(own), cells[2])
    return rows


def may_use(room, party, path, thirds):
    if party == "yaml-cpp":
        return path == "frontend/YamlReader.cpp"
    if party == "LLVM" and "MLIR" in thirds:
        return True  # MLIR's own containers and streams
    return party in thirds or room in ("tools", "test")


rules = table()
programs.expect(set(rules) == set(ROOMS), f"docs/architecture.md §7 has rows for {sorted(rules)}")
problems, count = [], 0
for room in ROOMS:
    for path in sorted(glob.glob(f"{programs.SOURCE}/{room}/**/*", recursive=True)):
        if not path.endswith((".h", ".cpp", ".td", ".in")) or not os.path.isfile(path):
            continue
        name = os.path.relpath(path, programs.SOURCE)
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for number, line in enumerate(lines, 1):
            match = re.match(r'\s*(?:#\s*include|include)\s+(["<])([^">]+)[">]', line)
            if not match:
                continue
            count += 1
            included = match.group(2)
            top = included.split("/")[0]
            where = f"{name}:{number}: includes {included}"
            own, thirds = rules[room]
            if top in ROOMS:
                if not any(included == prefix or included.startswith(prefix + "/") for prefix in own):
                    problems.append(f"{where}; {room} may include {', '.join(own)}")
            elif match.group(1) == '"' and "/" not in included:
                if room not in ("test", "tools") or not os.path.exists(os.path.join(os.path.dirname(path), included)):
                    problems.append(f"{where}; write the path from the project's root")
            for party, prefixes in PARTIES.items():
                if included.startswith(prefixes) and not may_use(room, party, name, thirds):
                    problems.append(f"{where}; {room} may use {thirds}")
programs.expect(count > 500, f"{count} includes found")
programs.expect(not problems, "includes across rooms:\n" + "\n".join(problems))
