"""The baseline and PR #1693 in PyTorch, as its users would write them: f32 masters, activations and weights at use in one
type, library attention, one fused loss. Parameter names are those of the compiler, so that both run the same weights.

The losses of every token are compared with ours before the times mean anything (../cuda/torch_speed.py, ../cpu/worker.py).
"""
import torch
import torch.nn.functional as F

EPSILON = 1.1920928955078125e-07


def rms_norm(x):
    return F.rms_norm(x, (x.shape[-1],), eps=EPSILON)


def rotate(x, cos, sin):
    """Halves of the first 2 r features; the rest passes."""
    r = cos.shape[-1]
    a, b, rest = x[..., :r], x[..., r:2 * r], x[..., 2 * r:]
    c, s = cos[:, None, :], sin[:, None, :]
    return torch.cat([a * c + b * s, b * c - a * s, rest], dim=-1)


def tables(positions, features, round_to_bf16, dtype, device, base=10000.0):
    r = features // 2
    theta = base ** (-torch.arange(r, dtype=torch.float64) / r)
    theta = theta.to(torch.bfloat16).float() if round_to_bf16 else theta.float()
    angle = positions.to(device).float()[:, None] * theta.to(device)[None, :]
    return angle.cos().to(dtype), angle.sin().to(dtype)


@torch.library.custom_op("bench::onednn_product", mutates_args=())
def onednn_product(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """x w^T by the library's oneDNN operator, which takes any strides."""
    return torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")


@onednn_product.register_fake
def _(x, w):
    return x.new_empty(x.shape[0], w.shape[0])


class _OneDnnLinear(torch.autograd.Function):
    """PyTorch gives f32 products to MKL, which on processors of other makers leaves half of their vectors unused."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return onednn_product(x, w)

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        return onednn_product(grad, w.t()), onednn_product(grad.t(), x.t())


def onednn_linear(x, w):
    return _OneDnnLinear.apply(x, w)


def plain_head(x, w, targets, softcap, reduction, product=F.linear):
    logits = softcap * torch.tanh(product(x, w) / softcap)
    return F.cross_entropy(logits.float(), targets, reduction=reduction)


class _ChunkedMean(torch.autograd.Function):
    """Mean loss whose gradients are made chunk by chunk on the way forward: logits stay in the cache, none are kept."""

    @staticmethod
    def forward(ctx, x, w, targets, softcap, chunk):
        total, dx, dw = x.new_zeros((), dtype=torch.float32), torch.empty_like(x), torch.zeros_like(w, dtype=torch.float32)
        for rows, part, want in zip(dx.split(chunk), x.split(chunk), targets.split(chunk)):
            t = torch.tanh(F.linear(part, w).float() / softcap)
            scores = softcap * t
            lse = torch.logsumexp(scores, dim=-1)
            total += (lse - scores.gather(1, want[:, None])[:, 0]).sum()
            dz = torch.exp(scores - lse[:, None])
            dz.scatter_add_(1, want[:, None], dz.new_full((len(want), 1), -1.0))
            dz = (dz * (1 - t * t) / len(targets)).to(x.dtype)
            rows.copy_(dz @ w)
            dw += dz.t() @ part
        ctx.save_for_backward(dx, dw.to(w.dtype))
        return total / len(targets)

    @staticmethod
    def backward(ctx, grad):
        dx, dw = ctx.saved_tensors
        return dx * grad.to(dx.dtype), dw * grad.to(dw.dtype), None, None, None


def chunked_head(chunk):
    """Like plain_head, `chunk` tokens at a time."""

    def run(x, w, targets, softcap, reduction, product=F.linear):
        if reduction == "mean":
            if product is not F.linear:
                raise ValueError("the chunked head has its own products; use plain_head")
            return _ChunkedMean.apply(x, w, targets, softcap, chunk)
        parts = zip(x.split(chunk), targets.split(chunk))
        return torch.cat([plain_head(part, w, want, softcap, reduction, product) for part, want in parts])

    return run


class Model:
    """Holds parameters by name; `dtype` is that of activations and of weights at use. Tokens are packed; `row_length` says
    where shifts stop (None: one row). `product` multiplies tokens by weights."""

    def __init__(self, parameters, heads, dtype, attention, row_length=None, head=plain_head, softcap=30.0, product=F.linear):
        self.p, self.heads, self.dtype, self.attention = parameters, heads, dtype, attention
        self.row_length, self.head, self.softcap, self.product = row_length, head, softcap, product
        self.layers = len({name.split(".")[1] for name in parameters if name.startswith("blocks.")})

    def w(self, name):
        return self.p[name].to(self.dtype)

    def linear(self, x, name):
        return self.product(x, self.w(name))

    def heads_of(self, n, layer, cos, sin):
        """q, k, v of [N, D] as [N, heads, d]."""
        at = f"blocks.{layer}.attn."
        d = self.p[at + "c_q.weight"].shape[0] // self.heads
        q, k, v = (self.linear(n, at + f"c_{x}.weight").unflatten(-1, (-1, d)) for x in "qkv")
        q = rotate(rms_norm(q), cos, sin) * self.w(at + "q_gain")[:, None]
        return q, rotate(rms_norm(k), cos, sin), v

    def loss(self, x, targets, reduction):
        table = "lm_head.weight" if "lm_head.weight" in self.p else "tok_emb.weight"
        return self.head(rms_norm(x), self.w(table), targets, self.softcap, reduction, product=self.product)

    def embedding(self, tokens):
        return rms_norm(F.embedding(tokens, self.p["tok_emb.weight"]).to(self.dtype))


class Baseline(Model):
    def forward(self, tokens, targets, cos, sin, reduction="none"):
        x = self.embedding(tokens)
        x0, stack, half = x, [], self.layers // 2
        for layer in range(self.layers):
            at = f"blocks.{layer}."
            if layer >= half and stack:
                x = x + self.w("skip_weights")[layer - half] * stack.pop()
            mix = self.w(at + "resid_mix")
            x = mix[0] * x + mix[1] * x0
            q, k, v = self.heads_of(rms_norm(x), layer, cos, sin)
            y = self.attention(q, k, v).flatten(-2)
            x = x + self.w(at + "attn_scale") * self.linear(y, at + "attn.proj.weight")
            h = F.relu(self.linear(rms_norm(x), at + "mlp.fc.weight")).square()
            x = x + self.w(at + "mlp_scale") * self.linear(h, at + "mlp.proj.weight")
            if layer < half:
                stack.append(x)
        return self.loss(x, targets, reduction)


class Pr1693(Model):
    def __init__(self, parameters, heads, dtype, attention, looped, loop=(3, 5), loops=2, lanes_from=None, slope=0.5, **more):
        super().__init__(parameters, heads, dtype, attention, **more)
        straight, (first, last) = list(range(self.layers)), loop
        unrolled = straight[:first] + straight[first:last + 1] * (loops + 1) + straight[last + 1:]
        order = unrolled if looped else straight
        self.encoder, self.decoder = order[:len(order) // 2], order[len(order) // 2:]
        self.skips = len(unrolled) // 2
        self.lanes_from = lanes_from if lanes_from is not None else max(self.layers - 3, (self.layers + 1) // 2)
        self.slope = slope

    def attend(self, n, read, layer, cos, sin):
        at = f"blocks.{layer}.attn."
        q, k, v = self.heads_of(n, layer, cos, sin)
        y = self.attention(q, k, v)
        unit = F.normalize(v, dim=-1)
        groups = y.unflatten(-2, (v.shape[-2], -1))
        along = (groups * unit[:, :, None, :]).sum(-1, keepdim=True)
        y = (groups - along * unit[:, :, None, :]).flatten(1, 2)
        gate = self.p[at + "attn_out_gate_w"]
        y = y * (2 * torch.sigmoid(F.linear(read[:, :gate.shape[1]], gate.to(self.dtype))))[:, :, None]
        return self.w(f"blocks.{layer}.attn_scale") * self.linear(y.flatten(-2), at + "proj.weight")

    def feed(self, x, layer):
        at = f"blocks.{layer}."
        h = F.leaky_relu(self.linear(rms_norm(x) / (layer + 1) ** 0.5, at + "mlp.fc.weight"), self.slope).square()
        return self.w(at + "mlp_scale") * self.linear(h, at + "mlp.proj.weight")

    def mix(self, x, x0, layer):
        mix = self.w(f"blocks.{layer}.resid_mix")
        return mix[0] * x + mix[1] * x0

    def layer(self, x, x0, layer, cos, sin):
        read = self.mix(x, x0, layer)
        y = read + self.attend(rms_norm(read) / (layer + 1) ** 0.5, read, layer, cos, sin)
        return y + self.feed(y, layer)

    def forward(self, tokens, targets, cos, sin, reduction="none"):
        e = self.embedding(tokens)
        open_ = torch.sigmoid((e[:, :self.p["smear_w"].shape[0]] * self.w("smear_w")).sum(-1, keepdim=True))
        rows = e.unflatten(0, (-1, self.row_length or len(e)))
        before = F.pad(rows, (0, 0, 1, 0))[:, :-1].flatten(0, 1)
        x = e + self.w("smear_lambda") * open_ * before
        x0, stack, lanes = x, [], None
        for layer in self.encoder:
            x = self.layer(x, x0, layer, cos, sin)
            stack.append(x)
        for step, layer in enumerate(self.decoder):
            in_lanes = layer >= self.lanes_from > 0
            if in_lanes and lanes is None:
                lanes = (x, x)
            y = lanes[0] if in_lanes else x
            if step < self.skips and stack:
                g = torch.sigmoid(self.w("skip_gates")[step])
                y = g * y + (1 - g) * (self.w("skip_weights")[step] * stack.pop())
            if not in_lanes:
                x = self.layer(y, x0, layer, cos, sin)
                continue
            read = self.mix(y, x0, layer)
            a = self.attend(rms_norm(read) / (layer + 1) ** 0.5, read, layer, cos, sin)
            m = self.feed(lanes[1], layer)
            keep, post = self.w("parallel_resid_lambdas")[layer], self.w("parallel_post_lambdas")[layer]
            lanes = (keep[0] * y + post[0, 0] * a + post[1, 0] * m, keep[1] * lanes[1] + post[0, 1] * a + post[1, 1] * m)
        if lanes is not None:
            x = 0.5 * (lanes[0] + lanes[1])
        return self.loss(x, targets, reduction)


def row_attention(row_length, repeat=False):
    """Causal attention inside rows of equal length. `repeat` copies keys and values to all heads instead of asking the
    library to share them, which some of its kernels do faster."""

    def run(q, k, v):
        if repeat:
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        q, k, v = (x.unflatten(0, (-1, row_length)).transpose(1, 2) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=not repeat)
        return y.transpose(1, 2).flatten(0, 1)

    return run


def masked_attention(cu_seqlens):
    """Causal attention inside segments with a mask of all pairs: for small checks."""
    at = torch.arange(int(cu_seqlens[-1]))
    segment = torch.searchsorted(torch.tensor(list(cu_seqlens)), at, right=True)
    mask = (at[:, None] >= at[None, :]) & (segment[:, None] == segment[None, :])

    def run(q, k, v):
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)

    return run


def document_attention(cu_seqlens, device):
    """Causal attention inside segments with FlexAttention: only the blocks of the mask are computed."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    count = int(cu_seqlens[-1])
    segment = torch.searchsorted(torch.tensor(list(cu_seqlens)), torch.arange(count), right=True).to(device)

    def same(b, h, q, k):
        return (q >= k) & (segment[q] == segment[k])

    # Compiled: evaluated as it is, the mask of 98,304 tokens takes ten gigabytes on the way.
    mask = create_block_mask(same, None, None, count, count, device=device, _compile=True)

    def run(q, k, v):
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        return flex_attention(q, k, v, block_mask=mask, enable_gqa=True)[0].transpose(0, 1)

    return run


def varlen_attention(cu_seqlens, longest, device):
    """The same with the library's packed flash attention, where this PyTorch has one; None elsewhere."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    offsets = torch.tensor(list(cu_seqlens), dtype=torch.int32, device=device)

    def run(q, k, v):
        groups = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        return varlen_attn(q, k, v, offsets, offsets, longest, longest, is_causal=True)

    return run
