#!/usr/bin/env python3
"""One PyTorch process of the CPU benchmark: one model, batch shape, precision and way of running. Started by run.py with a
description (JSON) as its argument; answers every line of standard input with one line of JSON.

  accumulate | score | optimizer      seconds of one call
  step N                              seconds of N accumulations and the optimizer
  nll PATH | gradients PATH           what the model computes, safetensors
  peak                                largest resident bytes since the last answer to it
"""
import array
import contextlib
import json
import os
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import models  # noqa: E402
import optimizers  # noqa: E402
from tensors import read_safetensors, write_safetensors  # noqa: E402


def as_tensor(entry):
    dtype, shape, values = entry
    return torch.frombuffer(values, dtype={"F32": torch.float32, "I32": torch.int32}[dtype]).reshape(shape)


def resident_peak():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def restart_peak():
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


class Worker:
    def __init__(self, about):
        self.about = about
        torch.set_num_threads(about["threads"])
        torch.set_num_interop_threads(1)
        self.parameters = {name: as_tensor(entry).clone().requires_grad_(True)
                           for name, entry in read_safetensors(about["weights"]).items()}
        tokens = as_tensor(read_safetensors(about["batch"])["tokens"]).long()
        row = tokens.shape[1] - 1
        self.inputs, self.targets = tokens[:, :-1].reshape(-1), tokens[:, 1:].reshape(-1)
        is_bf16, compiled = about["precision"] == "bf16", about["way"] != "eager"
        self.dtype = torch.bfloat16 if is_bf16 else torch.float32
        self.autocast = (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if is_bf16 else contextlib.nullcontext
        head = models.chunked_head(about["head_chunk"]) if about["head_chunk"] else models.plain_head
        more = {"heads": about["heads"], "dtype": self.dtype, "row_length": row, "head": head,
                "attention": models.row_attention(row, about["repeat_kv"]),
                "product": models.onednn_linear if about["way"] == "onednn" else torch.nn.functional.linear}
        if about["model"] == "baseline":
            model = models.Baseline(self.parameters, **more)
        else:
            model = models.Pr1693(self.parameters, looped=about["looped"], loop=tuple(about["loop"]), loops=about["loops"],
                                  lanes_from=about["lanes_from"], **more)
        positions = torch.arange(row).repeat(len(tokens))
        self.tables = models.tables(positions, about["rope_features"], about["rope_bf16"], self.dtype, "cpu")
        self.forward = torch.compile(model.forward, dynamic=False) if compiled else model.forward
        self.optimizer = optimizers.RecipeOptimizer(self.parameters, about["groups"], about["recipe"],
                                                    muon_dtype=getattr(torch, about["muon_dtype"]), compiled=compiled)

    def accumulate(self):
        with self.autocast():
            loss = self.forward(self.inputs, self.targets, *self.tables, reduction="mean")
        loss.backward()

    def score(self):
        with torch.no_grad(), self.autocast():
            return self.forward(self.inputs, self.targets, *self.tables)

    def step(self, count):
        for _ in range(count):
            self.accumulate()
        self.optimizer.step()

    def timed(self, work, *arguments):
        begin, used = time.perf_counter(), time.process_time()
        work(*arguments)
        return {"seconds": time.perf_counter() - begin, "processor": time.process_time() - used}

    def answer(self, words):
        verb = words[0]
        if verb in ("accumulate", "score"):
            result = self.timed(getattr(self, verb))
            if verb == "accumulate":
                for parameter in self.parameters.values():
                    parameter.grad = None
            return result
        if verb == "optimizer":
            for parameter in self.parameters.values():
                parameter.grad = torch.randn_like(parameter)
            return self.timed(self.optimizer.step)
        if verb == "step":
            return self.timed(self.step, int(words[1]))
        if verb == "nll":
            values = array.array("f", self.score().float().tolist())
            write_safetensors(words[1], {"nll": ("F32", [len(values)], values)})
            return {}
        if verb == "gradients":
            self.accumulate()
            write_safetensors(words[1], {name: ("F32", list(p.shape), array.array("f", p.grad.flatten().tolist()))
                                         for name, p in self.parameters.items()})
            for parameter in self.parameters.values():
                parameter.grad = None
            return {}
        if verb == "peak":
            peak = resident_peak()
            restart_peak()
            return {"bytes": peak}
        raise ValueError(f"no verb {verb}")


def main():
    imported = time.monotonic()
    baseline = resident_peak()
    worker = Worker(json.loads(sys.argv[1]))
    weights = [parameter.detach().clone() for parameter in worker.parameters.values()]
    worker.step(1)
    answers = {"imported": imported, "imported_bytes": baseline, "first_step": time.monotonic(), "torch": torch.__version__}
    # What is measured afterwards starts from the given weights.
    with torch.no_grad():
        for parameter, value in zip(worker.parameters.values(), weights):
            parameter.copy_(value)
    del weights
    while True:
        print(json.dumps(answers), flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            return
        answers = worker.answer(line.split())


if __name__ == "__main__":
    main()
