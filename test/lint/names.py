# RUN: %python %s
"""No technique in the compiler: what a block can express has no name in C++ or in the op records."""
import glob
import os
import re

import programs

# Names of blocks, of models, of optimizer modules, and of techniques that blocks or recipes express.
blocks = [os.path.basename(path)[:-5] for path in glob.glob(f"{programs.MODELS}/**/blocks/*.yaml", recursive=True)]
modules = [os.path.basename(path)[:-5] for path in glob.glob(f"{programs.MODELS}/optim/*.yaml")]
models = [os.path.basename(path).split(".")[0] for path in glob.glob(f"{programs.MODELS}/*.model.yaml")]
known = ["smear", "xsa", "muon", "gptq", "lora", "ttt", "bigram", "trigram", "unet", "u_net", "lqer", "caseops",
         "casefold", "loop_start", "parallel_lane", "value_residual", "q_gain", "relu_square", "softcap_logits"]
# Words of everyday use that a file of models/ happens to bear.
ordinary = {"baseline", "quickstart", "skip_add"}
names = sorted({name.lower() for name in blocks + modules + models + known} - ordinary)
programs.expect(len(names) > 20, f"names {names}")
# A name counts as a word of its own or as part of an identifier: smear, smearGate, smear_gate.
pattern = re.compile("|".join(rf"(?<![a-z]){re.escape(name)}(?![a-z])|(?<![A-Za-z])"
                              rf"{''.join(part.capitalize() for part in name.split('_'))}(?![a-z])"
                              for name in names))
anything = re.compile("|".join(sorted({re.escape(name.replace("_", mark)) for name in names for mark in ("", "_")})))
problems = []
for room in ("dialect", "passes", "frontend"):
    for path in sorted(glob.glob(f"{programs.SOURCE}/{room}/**/*", recursive=True)):
        if not path.endswith((".h", ".cpp", ".td")):
            continue
        with open(path, encoding="utf-8") as file:
            # A citation ("stack-1693 §4.2") is no name.
            text = re.sub(r"stack-[0-9]+ §[0-9.]+", "", file.read())
        if not anything.search(text.lower()):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            match = pattern.search(line)
            if match:
                problems.append(f"{os.path.relpath(path, programs.SOURCE)}:{number}: '{match.group()}' in "
                                f"{line.strip()[:90]}")
programs.expect(not problems, "techniques named in the compiler:\n" + "\n".join(problems))
