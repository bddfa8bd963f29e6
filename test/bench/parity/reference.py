"""PR #1693 at any size, written in PyTorch from its description (stack-1693), to train beside `pgrun`.

Plain modules and an explicit attention mask; nothing is fused, nothing shared with this project but files: initial weights
(safetensors), token shards, the tokenizer, and the numbers of the recipe as a run folder's config.json holds them. f32.
"""
import argparse
import array
import glob
import json
import math
import struct
import sys
import time

import torch
import torch.nn.functional as F

EPS = 1.1920928955078125e-07  # of every norm: the machine epsilon of f32


def rms(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


def load_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, item in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        if item["dtype"] != "F32":
            sys.exit(f"{path}: {name} is {item['dtype']}, expected F32")
        begin, end = item["data_offsets"]
        flat = torch.frombuffer(bytearray(data[8 + size + begin:8 + size + end]), dtype=torch.float32)
        tensors[name] = flat.reshape(item["shape"]).clone()
    return tensors


class Model:
    """The forward pass of §1 over rows [B, T]; weights by their names in a dictionary."""

    def __init__(self, weights, shape):
        self.w = {name: tensor.requires_grad_(True) for name, tensor in weights.items()}
        self.heads, self.kv_heads = shape.heads, shape.kv_heads
        self.softcap, self.slope, self.gate_width, self.rope = shape.softcap, 0.5, 12, shape.rope_features
        self.layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        self.lane_layer = shape.parallel_start_layer
        once = list(range(self.layers))
        middle = once[shape.loop_start:shape.loop_end + 1]
        looped = once[:shape.loop_start] + middle * (shape.num_loops + 1) + once[shape.loop_end + 1:]
        self.orders = {"plain": once, "looped": looped}

    def rotary(self, length):
        """§1.3: half-split pairs, frequencies rounded to bf16, positions within the row."""
        half = self.rope // 2
        theta = torch.tensor([10000.0 ** (-j / half) for j in range(half)]).to(torch.bfloat16).to(torch.float32)
        angle = torch.arange(length, dtype=torch.float32)[:, None] * theta
        return angle.cos(), angle.sin()

    def rotate(self, x, cos, sin):  # x: [B, H, T, d]
        half = self.rope // 2
        a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
        return torch.cat([a * cos + b * sin, b * cos - a * sin, rest], dim=-1)

    def attention(self, i, n, u, mask, tables):
        b, t, _ = n.shape
        get = lambda name: self.w[f"blocks.{i}.attn.{name}"]
        split = lambda x, heads: x.view(b, t, heads, -1).transpose(1, 2)
        q = split(F.linear(n, get("c_q.weight")), self.heads)
        k = split(F.linear(n, get("c_k.weight")), self.kv_heads)
        v = split(F.linear(n, get("c_v.weight")), self.kv_heads)
        q = self.rotate(rms(q), *tables) * get("q_gain")[:, None, None]
        k = self.rotate(rms(k), *tables)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # scale 1 / sqrt(d)
        # The output loses its part along the position's own value, then each head is gated by the raw read.
        direction = F.normalize(v, dim=-1, eps=1e-12)
        y = y - (y * direction).sum(-1, keepdim=True) * direction
        gate = 2 * torch.sigmoid(F.linear(u[..., :self.gate_width], get("attn_out_gate_w")))
        y = y * gate.transpose(1, 2)[..., None]
        return F.linear(y.transpose(1, 2).reshape(b, t, -1), get("proj.weight"))

    def mlp(self, i, n):
        hidden = F.leaky_relu(F.linear(n, self.w[f"blocks.{i}.mlp.fc.weight"]), self.slope).square()
        return F.linear(hidden, self.w[f"blocks.{i}.mlp.proj.weight"])

    def nll(self, tokens, targets, mask, phase):
        """Negative log-likelihood of every target, [B, T]; mask [B, T, T] says what a position may attend to."""
        w, (_, t), mask = self.w, tokens.shape, mask[:, None]
        tables = self.rotary(t)
        e = rms(F.embedding(tokens, w["tok_emb.weight"]))                                      # §1.2
        opened = torch.sigmoid((e[..., :self.gate_width] * w["smear_w"].view(-1)).sum(-1, keepdim=True))
        x = x0 = e + w["smear_lambda"] * opened * F.pad(e, (0, 0, 1, 0))[:, :-1]
        order = self.orders[phase]
        encoder, decoder = order[:len(order) // 2], order[len(order) // 2:]
        skips, lanes = [], None
        for i in encoder:
            x = self.block(i, x, x0, mask, tables)
            skips.append(x)
        for step, i in enumerate(decoder):
            in_lanes = self.lane_layer > 0 and i >= self.lane_layer
            if in_lanes and lanes is None:
                lanes = [x, x]
            y = lanes[0] if in_lanes else x
            if skips and step < w["skip_weights"].shape[0]:                                    # §1.6
                gate = torch.sigmoid(w["skip_gates"][step])
                y = gate * y + (1 - gate) * (w["skip_weights"][step] * skips.pop())
            if not in_lanes:
                x = self.block(i, y, x0, mask, tables)
                continue
            mix, scale = w[f"blocks.{i}.resid_mix"], 1 / math.sqrt(i + 1)                      # §1.5
            read = mix[0] * y + mix[1] * x0
            a = w[f"blocks.{i}.attn_scale"] * self.attention(i, scale * rms(read), read, mask, tables)
            m = w[f"blocks.{i}.mlp_scale"] * self.mlp(i, scale * rms(lanes[1]))
            keep, post = w["parallel_resid_lambdas"][i], w["parallel_post_lambdas"][i]
            lanes = [keep[0] * y + post[0, 0] * a + post[1, 0] * m,
                     keep[1] * lanes[1] + post[0, 1] * a + post[1, 1] * m]
        if lanes is not None:
            x = 0.5 * (lanes[0] + lanes[1])
        z = self.softcap * torch.tanh(F.linear(rms(x), w["tok_emb.weight"]) / self.softcap)    # §1.7
        return F.cross_entropy(z.transpose(1, 2), targets, reduction="none")

    def block(self, i, x, x0, mask, tables):                                                   # §1.4
        mix, scale = self.w[f"blocks.{i}.resid_mix"], 1 / math.sqrt(i + 1)
        x = mix[0] * x + mix[1] * x0
        x = x + self.w[f"blocks.{i}.attn_scale"] * self.attention(i, scale * rms(x), x, mask, tables)
        return x + self.w[f"blocks.{i}.mlp_scale"] * self.mlp(i, scale * rms(x))


# --- data (§3.1)

def read_shards(folder, pattern):
    shards = []
    for path in sorted(glob.glob(f"{glob.escape(folder)}/{pattern}")):
        if "_bytes_" in path:
            continue
        with open(path, "rb") as file:
            data = file.read()
        magic, version, count = struct.unpack("<3i", data[:12])
        if (magic, version, len(data)) != (20240520, 1, 1024 + 2 * count):
            sys.exit(f"{path} is no token shard")
        tokens = array.array("H", data[1024:])
        shards.append(torch.tensor(tokens.tolist(), dtype=torch.int64))
    if not shards:
        sys.exit(f"no shard {pattern} in {folder}")
    return shards


def spans(shards, length, bos):
    """length + 1 tokens at a time, from each shard's first BOS on; what does not fill a span is dropped."""
    while True:
        for tokens in shards:
            at = int((tokens == bos).nonzero()[0]) if (tokens == bos).any() else len(tokens)
            while at + length + 1 <= len(tokens):
                yield tokens[at:at + length + 1]
                at += length + 1


def attention_mask(rows, bos, longest):
    """Causal within segments: they begin at a row's start, at BOS, and every `longest` tokens of a document."""
    b, t = rows.shape
    segment = torch.zeros(b, t, dtype=torch.int64)
    for r in range(b):
        number = start = 0
        for p, token in enumerate(rows[r].tolist()):
            if p > 0 and (token == bos or (longest > 0 and p - start == longest)):
                number, start = number + 1, p
            segment[r, p] = number
    same = segment[:, :, None] == segment[:, None, :]
    return same & torch.ones(t, t, dtype=torch.bool).tril()


# --- optimizers (§3.4, §3.5)

class AdamW:
    def __init__(self, parameter, args):
        self.p, self.args = parameter, args
        self.m, self.v = torch.zeros_like(parameter), torch.zeros_like(parameter)

    def step(self, lr, k):
        a, g = self.args, self.p.grad
        self.m.mul_(a["beta1"]).add_(g, alpha=1 - a["beta1"])
        self.v.mul_(a["beta2"]).addcmul_(g, g, value=1 - a["beta2"])
        self.p.mul_(1 - lr * a["wd"])
        size = self.v.div(1 - a["beta2"] ** k).sqrt_().add_(a["eps"])
        self.p.addcdiv_(self.m, size, value=-lr / (1 - a["beta1"] ** k))


class Muon:
    """Nesterov momentum, rows of length 1, five Newton-Schulz iterations; the original's bf16 buffers are f32 here."""

    def __init__(self, parameter, args):
        self.p, self.args, self.m = parameter, args, torch.zeros_like(parameter)

    def step(self, lr, k):
        momentum = self.args.get("momentum")
        if momentum is None:
            start, end = self.args["momentum.from"], self.args["momentum.to"]
            momentum = start + (end - start) * min((k - 1) / self.args["momentum.over_steps"], 1)
        self.m.mul_(momentum).add_(self.p.grad)
        u = self.p.grad + momentum * self.m
        u = u / u.norm(dim=-1, keepdim=True).clamp_min(1e-7)
        rows, columns = u.shape
        x = u.T if rows > columns else u
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
        x = x.T if rows > columns else x
        self.p.mul_(1 - lr * self.args["wd"]).add_(x, alpha=-lr * math.sqrt(max(1, rows / columns)))


OPTIMIZERS = {"adamw": AdamW, "muon": Muon}


class Recipe:
    """The numbers of a run folder's config.json."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.values = {name: item["value"] for name, item in json.load(file)["recipe"].items()}

    def __getitem__(self, name):
        return self.values[name]

    def group_args(self, group):
        start = f"optimizer.groups.{group}.args."
        return {name[len(start):]: value for name, value in self.values.items() if name.startswith(start)}

    def multiplier(self, step, steps):
        """§3.2: constant, then linear to min_lr over the last part; an optional linear warm-up."""
        fraction, down, up = step / steps, self["schedule.warmdown_fraction"], self["schedule.warmup_steps"]
        value = max((1 - fraction) / down, self["schedule.min_lr"]) if down > 0 and fraction >= 1 - down else 1.0
        return value * (step + 1) / up if step < up else value


def group_of(name):
    """§3.5: the token table, the matrices of the layers, everything else."""
    if name == "tok_emb.weight":
        return "embed"
    return "matrix" if name.endswith(".weight") else "scalar"


def validate(model, recipe, folder, tokenizer):
    """Loss and bits per byte over the validation stream, every position a target once."""
    import sentencepiece
    pieces = sentencepiece.SentencePieceProcessor(model_file=tokenizer)
    space = "\u2581"
    base, lead, edge = [], [], []
    for i in range(pieces.get_piece_size()):
        empty = pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_unused(i)
        text = pieces.id_to_piece(i)
        edge.append(empty)
        lead.append(not empty and not pieces.is_byte(i) and text.startswith(space))
        base.append(0 if empty else 1 if pieces.is_byte(i) else len(text.removeprefix(space).encode()))
    base, lead, edge = torch.tensor(base), torch.tensor(lead), torch.tensor(edge)
    stream = torch.cat(read_shards(folder, recipe["data.validation"]))
    length = recipe["eval.row_length"]
    rows = (len(stream) - 1) // length
    inputs, targets = stream[:rows * length].view(rows, length), stream[1:rows * length + 1].view(rows, length)
    total = 0.0
    with torch.no_grad():
        for r in range(0, rows, 4):
            x, y = inputs[r:r + 4], targets[r:r + 4]
            mask = attention_mask(x, recipe["data.bos_id"], recipe["batch.max_segment"])
            total += model.nll(x, y, mask, "looped").double().sum().item()
    size = (base[targets] + (lead[targets] & ~edge[inputs])).sum().item()
    return {"val_loss": total / targets.numel(), "val_bpb": total / math.log(2) / size, "val_tokens": targets.numel(),
            "val_bytes": size}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="config.json of the run to train beside")
    parser.add_argument("--weights", required=True, help="initial weights, safetensors")
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", required=True, help="metrics, lines of JSON")
    parser.add_argument("--threads", type=int, default=1)
    for name, value in (("heads", 4), ("kv_heads", 2), ("rope_features", 16), ("num_loops", 1), ("loop_start", 1),
                        ("loop_end", 2), ("parallel_start_layer", 4)):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    parser.add_argument("--softcap", type=float, default=30.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)

    recipe = Recipe(args.config)
    model = Model(load_safetensors(args.weights), args)
    optimizers = {}
    for name, parameter in model.w.items():
        group = group_of(name)
        module = recipe[f"optimizer.groups.{group}.module"]
        if module not in OPTIMIZERS:
            sys.exit(f"the recipe trains {name} with {module}; this program has {', '.join(OPTIMIZERS)}")
        optimizers[name] = OPTIMIZERS[module](parameter, recipe.group_args(group))
    steps, micro, row = recipe["schedule.steps"], recipe["batch.micro_tokens"], recipe["batch.row_length"]
    per_step = (recipe["batch.step_tokens"] or micro) // micro
    decay, ema = recipe["ema.decay"], None
    if decay > 0:
        ema = {name: parameter.detach().clone() for name, parameter in model.w.items()}
    source = spans(read_shards(args.data, recipe["data.train"]), micro, recipe["data.bos_id"])
    began = time.monotonic()
    with open(args.output, "w", encoding="utf-8") as output:
        for step in range(steps):
            phase = "looped" if step / steps >= 0.35 else "plain"                              # §1.6
            loss = 0.0
            for parameter in model.w.values():
                parameter.grad = torch.zeros_like(parameter)
            for _ in range(per_step):
                span = next(source)
                tokens, targets = span[:-1].view(-1, row), span[1:].view(-1, row)
                mask = attention_mask(tokens, recipe["data.bos_id"], recipe["batch.max_segment"])
                part = model.nll(tokens, targets, mask, phase).mean() / per_step
                part.backward()
                loss += part.item()
            limit = recipe["clip.norm"] or float("inf")                                        # §3.3
            norm = torch.nn.utils.clip_grad_norm_(list(model.w.values()), limit).item()
            with torch.no_grad():
                for name, optimizer in optimizers.items():
                    lr = recipe[f"optimizer.groups.{group_of(name)}.lr"] * recipe.multiplier(step, steps)
                    optimizer.step(lr, step + 1)
                    if ema is not None:                                                        # §3.6
                        ema[name].lerp_(model.w[name], 1 - decay)
            output.write(json.dumps({"step": step + 1, "stage": "train", "loss": loss, "grad_norm": norm}) + "\n")
            output.flush()
            if step % 50 == 0 or step + 1 == steps:
                print(f"pytorch {step + 1}/{steps}  loss {loss:.4f}  {time.monotonic() - began:.0f} s", file=sys.stderr)
        if ema is not None:
            with torch.no_grad():
                for name, parameter in model.w.items():
                    parameter.copy_(ema[name])
        result = validate(model, recipe, args.data, args.tokenizer)
        output.write(json.dumps({"step": steps, "stage": "validate", **result}) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
