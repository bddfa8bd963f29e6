#!/usr/bin/env python3
"""The benchmark's PyTorch models and Muon against recorded cases: a line of JSON for each check, {"what", "ok", "numbers"}.

    check_goldens.py CASES
"""
import json
import os
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import models  # noqa: E402
import optimizers  # noqa: E402
from tensors import read_safetensors  # noqa: E402


def tensors(path):
    kinds = {"F32": torch.float32, "I32": torch.int32}
    return {name: torch.frombuffer(values, dtype=kinds[dtype]).reshape(shape).clone()
            for name, (dtype, shape, values) in read_safetensors(path).items() if dtype in kinds}


def model_case(folder, head):
    with open(os.path.join(folder, "case.json"), encoding="utf-8") as file:
        case = json.load(file)
    numbers, how = case["hyperparameters"], case["case"]
    parameters = {name: value.requires_grad_(True) for name, value in tensors(os.path.join(folder, "weights.safetensors")).items()}
    io, gradients = tensors(os.path.join(folder, "io.safetensors")), tensors(os.path.join(folder, "grads.safetensors"))
    tokens = io["tokens"].long().reshape(how["batch"], -1)
    row = tokens.shape[1] - 1
    attention = models.masked_attention(how["cu_seqlens"]) if "cu_seqlens" in how else models.row_attention(row, repeat=True)
    more = {"heads": numbers["num_heads"], "dtype": torch.float32, "attention": attention, "row_length": row, "head": head,
            "softcap": numbers["logit_softcap"]}
    if case["stack"] == "baseline":
        model = models.Baseline(parameters, **more)
    else:
        model = models.Pr1693(parameters, looped=how["loops_on"], loop=(numbers["loop_start"], numbers["loop_end"]),
                              loops=numbers["num_loops"], lanes_from=numbers["parallel_start_layer"], **more)
    positions = torch.arange(row).repeat(how["batch"])
    tables = models.tables(positions, case["rope"]["dims"], False, torch.float32, "cpu", base=case["rope"]["effective_base"])
    batch = tokens[:, :-1].reshape(-1), tokens[:, 1:].reshape(-1)
    with torch.no_grad():
        nll = model.forward(*batch, *tables)
    model.forward(*batch, *tables, reduction="mean").backward()
    yield "losses", (nll - io["nll"].reshape(-1)).abs().max().item(), case["tolerance"]["nll_abs"]
    errors = {name: ((parameters[name].grad - want).norm() / want.norm().clamp_min(1e-30)).item() for name, want in gradients.items()
              if name not in case["zero_grad_tensors"]}
    worst = max(errors, key=errors.get)
    yield f"gradients ({worst})", errors[worst], case["tolerance"]["grad_rel_l2_per_tensor"]


# Of PR #1934, five iterations (models/recipes/pr1934.recipe.yaml).
POLAR_EXPRESS = ((8.156554524902461, -22.48329292557795, 15.878769915207462),
                 (4.042929935166739, -2.808917465908714, 0.5000178451051316),
                 (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
                 (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
                 (2.3465413258596377, -1.7097828382687081, 0.42323551169305323))


def muon_case(folder):
    """Three steps of stacks of matrices, each matrix a parameter of its own."""
    with open(os.path.join(folder, "case.json"), encoding="utf-8") as file:
        case = json.load(file)
    weights, gradients, io = (tensors(os.path.join(folder, name + ".safetensors")) for name in ("weights", "grads", "io"))
    parameters = {name: [matrix.clone().requires_grad_(True) for matrix in stack] for name, stack in weights.items()}
    muon = optimizers.Muon([matrix for stack in parameters.values() for matrix in stack], 0, 0, case["weight_decay"],
                           row_normalise=case["row_normalise"], nesterov=case["nesterov"], coefficients=POLAR_EXPRESS)
    worst = 0.0
    for step, (muon.lr, muon.momentum) in enumerate(zip(case["lr_per_step"], case["momentum_per_step"]), 1):
        for name, stack in parameters.items():
            for matrix, gradient in zip(stack, gradients[f"step{step}.{name}"]):
                matrix.grad = gradient.clone()
        muon.step()
        for name, stack in parameters.items():
            worst = max(worst, (torch.stack(list(stack)) - io[f"f32.step{step}.{name}"]).abs().max().item())
    yield "weights of three steps", worst, case["tolerance"]["f32_weight_abs"]


def main():
    cases = sys.argv[1]
    good = True
    for name in ("model-baseline-b", "model-1693-c"):
        for label, head in (("", models.plain_head), (", head in chunks", models.chunked_head(16))):
            for what, error, limit in model_case(os.path.join(cases, name), head):
                good &= error <= limit
                print(json.dumps({"what": f"PyTorch on {name}{label}: {what}", "ok": error <= limit,
                                  "numbers": f"{error:.1e}, limit {limit:.0e}"}))
    for what, error, limit in muon_case(os.path.join(cases, "opt-muon-1934")):
        good &= error <= limit
        print(json.dumps({"what": f"PyTorch on opt-muon-1934: {what}", "ok": error <= limit,
                          "numbers": f"{error:.1e}, limit {limit:.0e}"}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
