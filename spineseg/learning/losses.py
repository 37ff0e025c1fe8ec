"""The losses in use, without a one-hot tensor: sums per class come from gathering and counting.

Both losses pool over the batch and the voxels before dividing. They keep the logits and nothing else for the way back:
the gradient recomputes the softmax in chunks, so that the peak stays near the size of the logits. Where processes train
together, they pool over the parts of the batch that all of them hold: the loss is that of one process with all of it.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, distributed

from spineseg.learning.peer_losses import logistic_loss, peer_loss
from spineseg.limits import LOSSES

CHUNK = {"cpu": 1 << 13}  # voxels whose softmax exists at one time: what a core's cache holds with 26 classes ...
LARGE_CHUNK = 1 << 22  # ... and values of them on a GPU, where every chunk costs the start of some kernels
EPSILON = 1e-6


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the V-Net paper's Dice, averaged over all classes, background included.

    `D_k = 2 sum(p_k g_k) / (sum(p_k^2) + sum(g_k^2))`; a class that is absent from `labels` has `D_k = 0` and no
    gradient, as in the paper's formula.

    Args:
        logits: `(N, C, I, J, K)`.
        labels: `(N, I, J, K)` whole numbers below C.

    Returns:
        Scalar in [0, 1].

    Raises:
        ValueError: If the shapes do not belong together.

    Source:
        Milletari et al., V-Net (2016), section 3, its sum over classes as in the usual multi-class extension.
    """
    _check(logits, labels)
    return _Loss.apply(logits, labels, "dice", 0.0)


def dice_ce_loss(logits: Tensor, labels: Tensor, *, binary: bool = False, naming: float = 0.0) -> Tensor:
    """Cross-entropy plus one minus the Dice of the vertebrae present, optionally with a binary Dice and a naming term.

    `D_k = 2 sum(p_k g_k) / (sum(p_k) + sum(g_k))` is averaged over the foreground classes that occur in `labels`; the
    binary term, weight one half, takes `1 - p_0` against all foreground. The naming term is the cross-entropy of the
    25 names among themselves, `p_k / (1 - p_0)`, over vertebra voxels alone: they are about one voxel in a hundred, so
    in the mean over all voxels their names hardly count; it says nothing about foreground against background.

    Args:
        logits: `(N, C, I, J, K)`.
        labels: `(N, I, J, K)` whole numbers below C.
        binary: Add the binary term.
        naming: Weight of the naming term.

    Returns:
        Scalar.

    Raises:
        ValueError: If the shapes do not belong together.

    Source:
        Isensee et al., nnU-Net (2021), for the sum of both.
    """
    _check(logits, labels)
    return _Loss.apply(logits, labels, "dice_ce_binary" if binary else "dice_ce", naming)


def loss_by_name(name: str, *, naming: float = 0.0):
    """The function of `(logits, labels)` that a stage's `loss` names; see `limits.LOSSES`.

    Args:
        name: One of ours, or of `peer_losses`.
        naming: Weight of the naming term; of dice_ce and dice_ce_binary.

    Raises:
        MissingExtra: If it is a library's that is not installed.
        ValueError: If it is unknown.
    """
    known = {
        "dice": dice_loss,
        "dice_ce": partial(dice_ce_loss, naming=naming),
        "dice_ce_binary": partial(dice_ce_loss, binary=True, naming=naming),
        "logistic": logistic_loss,
        "logistic_weighted": partial(logistic_loss, weighted=True),
    }
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    return known[name] if name in known else peer_loss(name)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.shape[:1] + logits.shape[2:] != labels.shape:
        raise ValueError(f"labels must be (N, I, J, K) beside logits {tuple(logits.shape)}, got {tuple(labels.shape)}")


def _chunks(logits: Tensor, labels: Tensor):
    """Yield `(C, v)` logits in fp32 and `(v,)` labels over items and voxels, with where they came from."""
    flat, targets = logits.flatten(2), labels.flatten(1)
    size = CHUNK.get(logits.device.type, LARGE_CHUNK // logits.shape[1])
    for n in range(flat.shape[0]):
        for start in range(0, flat.shape[2], size):
            where = (n, slice(None), slice(start, start + size))
            yield where, flat[where].float(), targets[n, start : start + size].long()


def _processes() -> int:
    """How many processes train together, each with an equal part of the batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _over_processes(*sums: Tensor) -> None:
    """Add up sums over all processes, in place: Dice is one number for the whole batch."""
    if _processes() == 1:
        return
    flat = torch.cat([s.reshape(-1).double() for s in sums])
    distributed.all_reduce(flat)
    for total, part in zip(sums, flat.split([s.numel() for s in sums]), strict=True):
        total.copy_(part.view_as(total))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, labels: Tensor, kind: str, naming: float) -> Tensor:
        classes = logits.shape[1]
        zero = torch.zeros(classes, dtype=torch.float64, device=logits.device)
        overlap, predicted, squared, counts = (zero.clone() for _ in range(4))
        cross_entropy, name_entropy = (torch.zeros((), dtype=torch.float64, device=logits.device) for _ in range(2))
        # the binary overlap of foreground is the foreground count less the background probability that falls on it
        background_on_foreground = torch.zeros((), dtype=torch.float64, device=logits.device)
        for _, z, g in _chunks(logits, labels):
            p = z.log_softmax(0)
            log_own = p.gather(0, g[None])[0]
            p.exp_()
            overlap += torch.bincount(g, log_own.exp(), classes)
            counts += torch.bincount(g, minlength=classes)
            if kind == "dice":
                squared += p.square().sum(1)
            else:
                predicted += p.sum(1)
                cross_entropy -= log_own.sum()
                inside = (g > 0).nonzero()[:, 0]
                if naming:
                    names = z[1:, inside].log_softmax(0).gather(0, g[inside][None] - 1)
                    name_entropy -= names.sum()
                background_on_foreground += p[0, inside].sum()
        ctx.save_for_backward(logits, labels)
        ctx.kind, ctx.processes = kind, _processes()
        voxels = labels.numel() * ctx.processes
        _over_processes(overlap, predicted, squared, counts, cross_entropy, name_entropy, background_on_foreground)
        if kind == "dice":
            bottom = squared + counts + EPSILON
            # dL/dp_k = -(2 g_k bottom - 2 overlap * 2 p_k) / bottom^2 / C
            ctx.own, ctx.linear = -2 / bottom / classes, 4 * overlap / bottom**2 / classes
            return (1 - 2 * overlap / bottom).mean().float()
        present = counts > 0
        present[0] = False
        n = present.sum().clamp(min=1)
        bottom = predicted + counts + EPSILON
        dice = torch.where(present, 2 * overlap / bottom, 0.0).sum() / n
        foreground = counts[1:].sum()
        loss = cross_entropy / voxels + torch.where(present.any(), 1 - dice, 0.0)
        loss = loss + naming * name_entropy / foreground.clamp(min=1)
        ctx.own = torch.where(present, -2 / bottom / n, 0.0)
        ctx.linear = torch.where(present, 2 * overlap / bottom**2 / n, 0.0)
        ctx.voxels, ctx.naming, ctx.binary = voxels, float(naming / foreground.clamp(min=1)), None
        if kind == "dice_ce_binary":
            top = foreground - background_on_foreground
            bottom = (voxels - predicted[0]) + foreground + EPSILON
            loss = loss + 0.5 * (1 - 2 * top / bottom)
            # derivative by p_0: on foreground voxels the overlap falls, everywhere the predicted foreground falls
            ctx.binary = (0.5 * 2 / bottom, -0.5 * 2 * top / bottom**2)
        return loss.float()

    @staticmethod
    def backward(ctx, upstream: Tensor):
        logits, labels = ctx.saved_tensors
        upstream = upstream * ctx.processes  # whose gradients are averaged afterwards
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        flat = gradient.flatten(2)
        # with slope s = dL/dp, the way back through the softmax is dL/dz = p (s - sum(p s)); s is one value per class,
        # but for the voxel's own class and for background, so the sum is a product of vector and matrix
        own, linear = (ctx.own * upstream).float(), (ctx.linear * upstream).float()
        share = None if ctx.kind == "dice" else upstream / ctx.voxels
        for where, z, g in _chunks(logits, labels):
            p = z.softmax(0)
            p_own = p.gather(0, g[None])
            of_own = p_own * own[g][None]  # (1, v)
            if ctx.kind == "dice":
                grad = p * linear[:, None]
                mean = (grad * p).sum(0, keepdim=True) + of_own
                grad = (grad - mean).mul_(p)
            else:
                mean = linear[None] @ p + of_own
                if ctx.kind == "dice_ce_binary":
                    on_foreground, everywhere = ((v * upstream).float() for v in ctx.binary)
                    of_background = p[:1] * ((g > 0) * on_foreground + everywhere)
                    mean += of_background
                grad = (linear[:, None] - (mean - share)).mul_(p)
                of_own -= share
                if ctx.kind == "dice_ce_binary":
                    grad[:1] += of_background
                if ctx.naming:
                    inside = (g > 0).nonzero()[:, 0]
                    q = z[1:, inside].softmax(0)
                    q.scatter_add_(0, g[inside][None] - 1, torch.full_like(q[:1], -1.0)).mul_(ctx.naming * upstream)
                    grad[1:].index_add_(1, inside, q)
            grad.scatter_add_(0, g[None], of_own)
            flat[where] = grad.to(flat.dtype)
        return gradient, None, None, None
