#!/usr/bin/env python3
"""Times the kernels of a package part by part on a GPU.

  pgc compile MODEL --recipe R --precision bf16 --stop-after=outlined > m.mlir
  pg-bench-cuda-emit m.mlir OUT           # anywhere: kernels.cu, kernels.json
  nvcc -arch=sm_90a -std=c++20 -cubin -I OUT -o OUT/kernels.cubin OUT/kernels.cu
  kernels.py OUT [--tokens 98304] [--row 2048] [--only matmul,attention,head]

Needs the CUDA driver and numpy, nothing else. Every buffer holds noise; rows of
--row tokens are one segment each. TFLOP/s count the op's arithmetic (causal
attention: half the square), not what the kernel does beyond it.
"""
import argparse
import ctypes
import json
import os
import sys

import numpy

WIDTH = {"bf16": 2, "f32": 4, "f64": 8, "i32": 4, "i1": 1}


class Driver:
    def __init__(self):
        self.lib = ctypes.CDLL("libcuda.so.1")
        self("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self("cuDeviceGet", ctypes.byref(device), 0)
        name = ctypes.create_string_buffer(100)
        self("cuDeviceGetName", name, 100, device)
        self.name = name.value.decode()
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self("cuCtxSetCurrent", context)

    def __call__(self, name, *args):
        code = getattr(self.lib, name)(*args)
        if code:
            text = ctypes.c_char_p()
            self.lib.cuGetErrorString(code, ctypes.byref(text))
            sys.exit(f"{name}: {text.value.decode() if text.value else code}")

    def allocate(self, size):
        pointer = ctypes.c_uint64()
        self("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(size, 256)))
        return pointer.value

    def upload(self, pointer, array):
        self("cuMemcpyHtoD_v2", ctypes.c_uint64(pointer), array.ctypes.data_as(ctypes.c_void_p),
             ctypes.c_size_t(array.nbytes))

    def event(self):
        event = ctypes.c_void_p()
        self("cuEventCreate", ctypes.byref(event), 0)
        return event


class Batch(ctypes.Structure):
    _fields_ = [("n", ctypes.c_longlong)] + [(k, ctypes.c_uint64) for k in (
        "row_begin", "row_end", "segment_begin", "segment_end", "slot")]


def noise(element, count, words):
    """At most a million elements; longer buffers repeat them."""
    count = min(count, 1 << 20)
    random = numpy.random.default_rng(1)
    if element == "i32":
        return random.integers(0, words, count, dtype=numpy.int32)
    if element == "i1":
        return random.integers(0, 2, count, dtype=numpy.uint8)
    values = random.normal(0, 0.5, count).astype(numpy.float64 if element == "f64" else numpy.float32)
    if element == "bf16":
        return (values.view(numpy.uint32) >> 16).astype(numpy.uint16)
    return values


def fill(driver, pointer, size, array):
    size_now = min(size, array.nbytes)
    if not size_now:
        return
    driver.upload(pointer, array)
    while size_now < size:
        step = min(size_now, size - size_now)
        driver("cuMemcpyDtoD_v2", ctypes.c_uint64(pointer + size_now), ctypes.c_uint64(pointer), ctypes.c_size_t(step))
        size_now += step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--cubin", help="default: FOLDER/kernels.cubin")
    parser.add_argument("--tokens", type=int, default=98304)
    parser.add_argument("--row", type=int, default=2048)
    parser.add_argument("--only", default="", help="categories or parts of names, comma separated")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    tokens, row = options.tokens, options.row
    driver = Driver()
    module = ctypes.c_void_p()
    with open(options.cubin or os.path.join(options.folder, "kernels.cubin"), "rb") as file:
        image = file.read()
    driver("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(image))
    with open(os.path.join(options.folder, "kernels.json")) as file:
        kernels = json.load(file)

    begin = (numpy.arange(tokens) // row * row).astype(numpy.int32)
    end = numpy.minimum(begin + row, tokens).astype(numpy.int32)
    batch = Batch(n=tokens)
    for field, table in (("row_begin", begin), ("row_end", end), ("segment_begin", begin), ("segment_end", end),
                         ("slot", numpy.zeros(tokens, numpy.int32))):
        pointer = driver.allocate(table.nbytes)
        driver.upload(pointer, table)
        setattr(batch, field, pointer)

    print(f"{driver.name}, {tokens} tokens in rows of {row}, {os.path.basename(os.path.normpath(options.folder))}")
    print(f"{'kernel':44} {'ms':>8} {'TFLOP/s':>8} {'GB/s':>7}  stages (ms)")
    wanted = [w for w in options.only.split(",") if w]
    for kernel in kernels:
        if wanted and not any(w in (kernel["category"], "") or w in kernel["symbol"] for w in wanted):
            continue
        pointers, moved, owned = [], 0, []
        words = max((b["elements"] for b in kernel["buffers"]), default=1)
        for buffer in kernel["buffers"]:
            count = buffer["elements"] * (tokens if buffer["per_token"] else 1)
            size = count * WIDTH[buffer["element"]]
            pointer = driver.allocate(size)
            owned.append(pointer)
            fill(driver, pointer, size, noise(buffer["element"], count, min(words, 1024)))
            pointers.append(ctypes.c_uint64(pointer))
            moved += size * (2 if buffer["mode"] == 2 else 1)
        workspace = driver.allocate(kernel["workspace_fixed"] + kernel["workspace_per_token"] * tokens)
        owned.append(workspace)
        values = pointers + [ctypes.c_double(0.5)] * kernel["scalars"] + [batch, ctypes.c_uint64(workspace)]
        params = (ctypes.c_void_p * len(values))(*[ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values])
        launches = []
        for stage in kernel["stages"]:
            function = ctypes.c_void_p()
            driver("cuModuleGetFunction", ctypes.byref(function), module, stage["symbol"].encode())
            if stage["shared"] > 48 * 1024:
                driver("cuFuncSetAttribute", function, 8, ctypes.c_int(stage["shared"]))
            per = stage["tokens_per_item"]
            blocks = (-(-tokens // per) if per else 1) * stage["multiplier"]
            launches.append((function, blocks, stage["threads"], stage["shared"]))

        def launch(one):
            driver("cuLaunchKernel", one[0], one[1], 1, 1, one[2], 1, 1, one[3], None, params, None)

        first, last = driver.event(), driver.event()

        def timed(work):
            for _ in range(2):
                work()
            driver("cuEventRecord", first, None)
            for _ in range(options.runs):
                work()
            driver("cuEventRecord", last, None)
            driver("cuEventSynchronize", last)
            elapsed = ctypes.c_float()
            driver("cuEventElapsedTime", ctypes.byref(elapsed), first, last)
            return elapsed.value / options.runs

        total = timed(lambda: [launch(one) for one in launches])
        parts = [timed(lambda: launch(one)) for one in launches] if len(launches) > 1 else []
        flops = kernel["flops_fixed"] + kernel["flops_per_token"] * tokens
        print(f"{kernel['symbol'][:44]:44} {total:8.3f} {flops / total / 1e9:8.1f} {moved / total / 1e6:7.0f}  "
              + " ".join(f"{stage['symbol'].split('_')[-1]} {ms:.3f}" for stage, ms in zip(kernel["stages"], parts)))
        sys.stdout.flush()
        for pointer in owned:
            driver("cuMemFree_v2", ctypes.c_uint64(pointer))


if __name__ == "__main__":
    main()
