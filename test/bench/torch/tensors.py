"""Safetensors without a library: {name: (dtype, shape, array of numbers)}."""
import array
import json
import random
import struct

_CODES = {"F32": "f", "F64": "d", "I32": "i"}


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    result = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = array.array(_CODES[entry["dtype"]])
        values.frombytes(data[8 + size + begin:8 + size + end])
        result[name] = (entry["dtype"], entry["shape"], values)
    return result


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(values) * values.itemsize]}
        at += len(values) * values.itemsize
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, values in tensors.values():
            file.write(values.tobytes())


def fill_zeros(source, target):
    """Copies weights; tensors that start at zero become small random numbers, since zeros multiply faster than numbers and
    hide mistakes behind them."""
    draw = random.Random(3)
    tensors = read_safetensors(source)
    noise = array.array("f", [draw.gauss(0, 0.02) for _ in range(1 << 16)])
    for name, (dtype, shape, values) in tensors.items():
        if len(values) > 1 and not any(values[i] for i in range(min(64, len(values)))):
            repeats = len(values) // len(noise) + 1
            tensors[name] = (dtype, shape, (noise * repeats)[:len(values)])
    write_safetensors(target, tensors)
