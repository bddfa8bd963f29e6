"""The recipe's optimizers in PyTorch as its users write them: Muon over stacks of matrices of one shape, fused AdamW for the
rest, joint clipping and averages with the multi-tensor functions.
"""
import math

import torch

COEFFICIENTS = ((3.4445, -4.775, 2.0315),) * 5


def newton_schulz(x, coefficients, eps):
    """Nearest semi-orthogonal matrices of a stack [k, rows, columns] of wide or square ones."""
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + eps)
    for a, b, c in coefficients:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon:
    """Parameters of equal shape are one stack: momentum, row lengths, iteration and update are a call each."""

    def __init__(self, parameters, lr, momentum, wd, row_normalise=False, nesterov=True, eps=1e-7, dtype=torch.float32,
                 compiled=False, coefficients=COEFFICIENTS):
        stacks = {}
        for parameter in parameters:
            stacks.setdefault(tuple(parameter.shape), []).append(parameter)
        self.stacks = [(group, torch.zeros(len(group), *shape)) for shape, group in stacks.items()]
        self.lr, self.momentum, self.wd, self.nesterov, self.row_normalise = lr, momentum, wd, nesterov, row_normalise
        self.coefficients, self.eps, self.dtype = coefficients, eps, dtype
        self.update = torch.compile(self._update, dynamic=False) if compiled else self._update

    def _update(self, g, m):
        m.mul_(self.momentum).add_(g)
        u = g.add(m, alpha=self.momentum) if self.nesterov else m
        if self.row_normalise:
            u = u / u.norm(dim=-1, keepdim=True).clamp_min(self.eps)
        rows, columns = u.shape[-2:]
        x = newton_schulz((u.mT if rows > columns else u).to(self.dtype), self.coefficients, self.eps)
        return (x.mT if rows > columns else x).to(g.dtype)

    @torch.no_grad()
    def step(self):
        for group, m in self.stacks:
            update = self.update(torch.stack([parameter.grad for parameter in group]), m)
            rows, columns = group[0].shape
            torch._foreach_mul_(group, 1 - self.lr * self.wd)
            torch._foreach_add_(group, list(update.unbind()), alpha=-self.lr * math.sqrt(max(1, rows / columns)))


class RecipeOptimizer:
    """Everything between two accumulations. `recipe` maps dotted paths to values, `groups` parameter names to labels."""

    def __init__(self, parameters, groups, recipe, muon_dtype=torch.float32, compiled=False):
        self.parameters = list(parameters.values())
        self.parts = []
        for label in sorted(set(groups.values())):
            chosen = [parameters[name] for name in parameters if groups[name] == label]
            path = f"optimizer.groups.{label}."
            arg = lambda name, default=None: recipe.get(path + "args." + name, default)
            module, lr = recipe[path + "module"], recipe[path + "lr"]
            if module == "muon":
                self.parts.append(Muon(chosen, lr, arg("momentum", arg("momentum.from")), arg("wd", 0.0),
                                       bool(arg("row_normalise", False)), bool(arg("nesterov", True)), dtype=muon_dtype,
                                       compiled=compiled))
            else:
                self.parts.append(torch.optim.AdamW(chosen, lr=lr, betas=(arg("beta1"), arg("beta2")), eps=arg("eps"),
                                                    weight_decay=arg("wd", 0.0), fused=True))
        self.limit = recipe.get("clip.norm", 0.0)
        self.decay = recipe.get("ema.decay", 0.0)
        self.averages = [parameter.detach().clone() for parameter in self.parameters] if self.decay else None

    def step(self):
        """Joint norm, clipping, update, averages; the gradients are dropped."""
        torch.nn.utils.clip_grad_norm_(self.parameters, self.limit or 1e9, foreach=True)
        for part in self.parts:
            part.step()
        if self.averages:
            with torch.no_grad():
                torch._foreach_lerp_(self.averages, self.parameters, 1 - self.decay)
        for parameter in self.parameters:
            parameter.grad = None
