#!/usr/bin/env python3
"""One workload of run.py in compiled PyTorch: prints RESULT and a JSON line with the mean loss, its tokens' correlation
with ours, the seconds of one
accumulation (forward and backward) and of one step (zero, accumulation, clipping, fused AdamW). Medians of CUDA events.
"""
import json
import os
import statistics
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import models  # noqa: E402
from tensors import read_safetensors  # noqa: E402


def timed(work, repeat=10, warm=3):
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeat):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def main():
    workload = json.loads(sys.argv[1])
    device = "cuda"
    torch.backends.cuda.matmul.allow_tf32 = True
    parameters = {}
    for name, (_, shape, values) in read_safetensors(sys.argv[2]).items():
        tensor = torch.frombuffer(values, dtype=torch.float32).reshape(shape).clone().to(device)
        parameters[name] = tensor.requires_grad_(True)
    batch = read_safetensors(sys.argv[3])
    _, (rows, width), values = batch["tokens"]
    tokens = torch.frombuffer(values, dtype=torch.int32).reshape(rows, width).long().to(device)
    inputs, targets = tokens[:, :-1].reshape(-1), tokens[:, 1:].reshape(-1)
    positions = torch.arange(width - 1).repeat(rows)
    ours = read_safetensors(sys.argv[4]) if len(sys.argv) > 4 and os.path.exists(sys.argv[4]) else None

    candidates = {}
    if workload["documents"]:
        offsets = list(batch["cu_seqlens"][2])
        candidates["flex"] = models.document_attention(offsets, device)
        varlen = models.varlen_attention(offsets, workload["max_segment"], device)
        if varlen:
            candidates["varlen"] = varlen
    else:
        candidates["sdpa"] = models.row_attention(width - 1)

    best = None
    for kind, attention in candidates.items():
        try:
            torch._dynamo.reset()
            dtype = torch.bfloat16
            if workload["model"] == "baseline":
                model = models.Baseline(parameters, workload["heads"], dtype, attention)
                tables = models.tables(positions, workload["rope_features"], False, dtype, device)
            else:
                model = models.Pr1693(parameters, workload["heads"], dtype, attention, looped=workload["looped"])
                tables = models.tables(positions, workload["rope_features"], True, dtype, device)
            forward = torch.compile(model.forward, dynamic=False)

            def accumulate():
                loss = forward(inputs, targets, *tables).mean()
                loss.backward()
                return loss

            loss = accumulate().item()
            with torch.no_grad():
                nll = forward(inputs, targets, *tables).float()
            pair = torch.stack([nll, torch.frombuffer(ours["nll"][2], dtype=torch.float32).to(device)]) if ours else None
            found = {"torch_loss": loss, "correlation": torch.corrcoef(pair)[0, 1].item() if ours else None, "torch_attention": kind, "torch": torch.__version__,
                     "torch_accumulate": timed(accumulate)}
            optimizer = torch.optim.AdamW(list(parameters.values()), lr=1e-6, fused=True)

            def step():
                optimizer.zero_grad(set_to_none=True)
                accumulate()
                torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1e9, foreach=True)
                optimizer.step()

            found["torch_step"] = timed(step)
            found["torch_peak_mib"] = torch.cuda.max_memory_allocated() / 2 ** 20
            del optimizer
            for tensor in parameters.values():
                tensor.grad = None
        except Exception as error:  # another kind of attention may still work
            print(f"{kind}: {error!r}"[:2000], file=sys.stderr)
            continue
        print(f"{kind}: {found}")
        if best is None or found["torch_accumulate"] < best["torch_accumulate"]:
            best = found
    if best:
        print("RESULT " + json.dumps(best))
    return 0 if best else 1


if __name__ == "__main__":
    sys.exit(main())
