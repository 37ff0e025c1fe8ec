"""Muon: an optimizer whose step has nearly the same length in every direction that a layer can be moved in.

A kernel of a network is a matrix: its first axis by all others, so outputs by inputs times kernel voxels (of a
transposed convolution inputs by outputs times kernel voxels). Its gradient is dominated by a few directions, and so is
what Adam makes of it. Muon replaces the averaged gradient by about the nearest matrix with orthogonal rows or columns,
so that directions which are rare in the data are moved as far as common ones. Biases, norms and slopes are no matrices,
and rows of a grouped convolution have inputs of their own; AdamW moves these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from spineseg.limits import OPTIMIZERS

MOMENTUM = 0.95
KEPT = "momentum"  # name of what is kept of a kernel
STEPS = 5  # of the iteration
QUINTIC = (3.4445, -4.775, 2.0315)  # of x, x^3, x^5; singular values above .0016 of the norm end at .68 to 1.2
LIKE_ADAM = 0.2  # root mean square of a step in units of the rate, about that of AdamW's in language models
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of AdamW
_KERNELS = (nn.modules.conv._ConvNd, nn.Linear)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices whose singular values are all near 1, with the singular vectors of the ones given.

    torch's `Muon` iterates on the matrix itself in bf16. A kernel is much longer than wide (64 by 1728), so here the
    iteration runs on its small Gram matrix, and the product of all factors is applied once.

    Args:
        matrices: `(n, rows, columns)` float32.

    Returns:
        The same shape.

    Source:
        Polynomial and number of steps from Jordan and others (see `Muon`).
    """
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    wide = x.shape[1] <= x.shape[2]
    gram = x @ x.mT if wide else x.mT @ x
    linear, cubic, quintic = QUINTIC
    total = None
    for _ in range(STEPS):
        factor = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        factor.diagonal(dim1=1, dim2=2).add_(linear)
        total = factor if total is None else factor @ total
        gram = factor @ (factor @ gram)  # both are polynomials of one matrix, so they commute
    return total @ x if wide else x @ total


class Muon(torch.optim.Optimizer):
    """Muon for the kernels of a network, AdamW for everything else, under one learning rate.

    Args:
        network: All its parameters are taken.
        weight_decay: Decoupled, of both.
        lr: Learning rate; set `lr` of every group before a step.

    Source:
        Jordan and others: Muon, 2024, kellerjordan.github.io/posts/muon; the length of a step from Liu and others:
        Muon is scalable for LLM training, 2025, arXiv 2502.16982.
    """

    def __init__(self, network: nn.Module, *, weight_decay: float, lr: float = 0.0):
        layers = [m for m in network.modules() if isinstance(m, _KERNELS) and getattr(m, "groups", 1) == 1]
        kernels = {id(m.weight): m.weight for m in layers}
        others = [p for p in network.parameters() if id(p) not in kernels]
        groups = [{"params": list(kernels.values()), "muon": True}, {"params": others, "muon": False}]
        super().__init__([g for g in groups if g["params"]], {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Move all parameters that have a gradient; `closure` is not called."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                (self._step_kernels if group["muon"] else self._step_others)(moved, group["lr"], group["weight_decay"])

    def _step_kernels(self, kernels: list[Tensor], rate: float, decay: float) -> None:
        for kernel in kernels:
            if not self.state[kernel]:
                self.state[kernel][KEPT] = torch.zeros_like(kernel)
        means = [self.state[k][KEPT] for k in kernels]
        gradients = [k.grad for k in kernels]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, means, MOMENTUM)  # Nesterov's
        torch._foreach_mul_(kernels, 1 - rate * decay)
        alike: dict[tuple[int, int], list[int]] = {}
        for i, kernel in enumerate(kernels):
            alike.setdefault((kernel.shape[0], kernel[0].numel()), []).append(i)
        for shape, places in alike.items():
            steps = orthogonal(torch.stack([ahead[i].reshape(shape) for i in places]))
            steps *= -rate * LIKE_ADAM * max(shape) ** 0.5
            torch._foreach_add_(
                [kernels[i] for i in places], [s.view_as(kernels[i]) for s, i in zip(steps, places, strict=True)]
            )

    def _step_others(self, others: list[Tensor], rate: float, decay: float) -> None:
        for p in others:
            if not self.state[p]:
                self.state[p] |= {"step": torch.zeros((), device=p.device)}
                self.state[p] |= {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        states = [self.state[p] for p in others]
        first, second, counts = ([s[name] for s in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        adamw(
            others, [p.grad for p in others], first, second, [], counts, fused=True, amsgrad=False, beta1=BETAS[0],
            beta2=BETAS[1], lr=rate, weight_decay=decay, eps=EPSILON, maximize=False,
        )  # fmt: skip


def make_optimizer(name: str, network: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    """The optimizer that `TrainingConfig.optimizer` names; its rate is 0 until it is set.

    Args:
        name: `muon` or `adamw`.
        network: All its parameters are taken.
        weight_decay: Decoupled.

    Raises:
        ValueError: If the name is unknown.
    """
    if name == "muon":
        return Muon(network, weight_decay=weight_decay)
    if name != "adamw":
        raise ValueError(f"unknown optimizer {name!r}; known: {', '.join(OPTIMIZERS)}")
    return torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=weight_decay, fused=True)
