# RUN: %python %s
"""Full-size plans: parameters, no tensor of tokens by tokens, one of tokens by vocabulary at most, tight arenas, traffic saved."""
import json
import re

import programs

TENSOR = re.compile(r"tensor<([0-9?x]*)x?(?:f32|f64|bf16|i32|i1)[,>]")

for model, parameters, vocabulary in (("baseline", 17059912, 1024), ("pr1693", 35945671, 8192)):
    path = f"{programs.MODELS}/{model}.model.yaml"
    report = json.loads(programs.call([programs.PGC, "check", path, "--json"])[0])
    programs.expect(report["parameters"] == parameters, f"{model} has {report['parameters']} parameters")
    programs.expect(sum(group["parameters"] for group in report["groups"]) == parameters, "groups add up")
    programs.expect(report["artifact_bytes"] > 0 and report["peak_bytes"] > report["parameter_bytes"], "bytes")
    for entry in report["entries"]:
        name = f"{model} {entry['name']}"
        programs.expect(entry["arena_bytes"] <= 1.1 * entry["live_bytes"], f"{name}: arena over live bytes {entry}")
        programs.expect(entry["moved_over_unfused"] <= 0.5, f"{name}: moves {entry['moved_over_unfused']} of unfused")
        programs.expect(entry["flops_per_token"] > 0 and entry["bytes_per_token"] > 0, name)
    programs.expect(all(kernel["ops"] is not None and kernel["launches"] > 0 for kernel in report["kernels"]), model)

    # The baseline's hidden width is its vocabulary: here another one, to tell them apart.
    vocabulary = 1031 if vocabulary == 1024 else vocabulary
    compile = [programs.PGC, "compile", path, "--set", f"dims.V={vocabulary}", "--stop-after", "planned"]
    plan = programs.call([*compile, "--logits", "rebuild"])[0]
    programs.expect(f"tensor<{vocabulary}x512xf32>" in plan, f"{model} has a vocabulary of {vocabulary}")
    shapes = {match.group(1) for match in TENSOR.finditer(plan)}
    programs.expect(len(shapes) > 10, f"{model}: shapes {shapes}")
    for shape in shapes:
        dims = shape.strip("x").split("x")
        programs.expect(dims.count("?") <= 1, f"{model} plans tensor<{shape}>: tokens by tokens")
        programs.expect(not ("?" in dims and str(vocabulary) in dims), f"{model} plans tensor<{shape}>: tokens by "
                        "vocabulary")

    # Logits are kept between the loss and its gradients, and nowhere else; they take their own bytes, once.
    kept = programs.call(compile)[0]
    for body in kept.split("func.func @")[1:]:
        name = body.split("(")[0].strip("\"")
        programs.expect((f"tensor<?x{vocabulary}xf32>" in body) == name.startswith("accumulate@"), f"{model} {name}: logits")
    check = [programs.PGC, "check", path, "--set", f"dims.V={vocabulary}", "--json"]
    arenas = [{entry["name"]: entry for entry in json.loads(programs.call([*check, "--logits", rule])[0])["entries"]}
              for rule in ("rebuild", "auto")]
    for name, entry in arenas[1].items():
        before = arenas[0][name]["arena_bytes"]
        most = min(4096 * (4 * vocabulary + 64), before // 4) if name.startswith("accumulate@") else 0
        programs.expect(entry["arena_bytes"] <= before + most, f"{model} {name}: {entry['arena_bytes']} bytes, {before} without logits")
