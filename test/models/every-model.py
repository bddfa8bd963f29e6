# RUN: %python %s
"""Every model builds down to a plan, with and without each recipe; every block and optimizer module has a user."""
import glob
import json
import os
import re

import programs

models = sorted(glob.glob(f"{programs.MODELS}/**/*.model.yaml", recursive=True))
programs.expect(len(models) >= 3, f"models {models}")
for model in models:
    report = json.loads(programs.call([programs.PGC, "check", model, "--json"])[0])
    programs.expect(report["parameters"] > 0 and report["kernels"], model)

recipes = sorted(glob.glob(f"{programs.MODELS}/**/*.recipe.yaml", recursive=True))
for recipe in recipes:
    name = os.path.basename(recipe).split("-")[0].split(".")[0]
    # A recipe of no model's name is for the model it lies beside.
    named = [path for path in models if os.path.basename(path).startswith(name + ".")]
    beside = [path for path in models if os.path.dirname(path) == os.path.dirname(recipe)]
    model = (named or beside)[0]
    report = json.loads(programs.call([programs.PGC, "check", model, "--recipe", recipe, "--json"])[0])
    programs.expect("apply" in [entry["name"] for entry in report["entries"]], recipe)

texts = {}
# Golden cases choose blocks too.
for path in [*glob.glob(f"{programs.MODELS}/**/*.yaml", recursive=True),
             *glob.glob(f"{programs.SOURCE}/test/golden/*.map.yaml")]:
    with open(path, encoding="utf-8") as file:
        texts[path] = re.sub(r"#.*", "", file.read())


def used(path):
    name = os.path.basename(path)[:-len(".yaml")]
    return any(re.search(rf"\b{name}\b", text) for other, text in texts.items() if other != path)


blocks = glob.glob(f"{programs.MODELS}/**/blocks/*.yaml", recursive=True)
programs.expect(len(blocks) > 10, f"blocks {blocks}")
for path in sorted(blocks):
    programs.expect(used(path), f"{path} is used by no model, no block and no golden map")
