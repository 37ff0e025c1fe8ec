"""The least time a training step could take on a device: each layer as long as its arithmetic or its memory traffic."""

from __future__ import annotations

import time

import torch
from torch import nn

PASSES = 3  # forward, and on the way back the gradients by inputs and by weights
REPEATS = 10


def synchronise(device: str) -> None:
    """Wait until the device has nothing left to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(function, device: str, repeats: int = REPEATS) -> list[float]:
    """Time of each of some calls after a first one."""
    function()
    found = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        function()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return found


def device_limits(device: str, dtype: torch.dtype, side: int) -> tuple[float, float]:
    """FLOP/s of a large matrix product and bytes/s of a large copy, the best of some tries.

    Args:
        device: `cuda` or `cpu`.
        dtype: Of the matrices.
        side: Of the matrices; the copy moves as many bytes as eight of them.
    """
    a = torch.randn(side, side, device=device, dtype=dtype)
    b = torch.empty(8 * side * side, device=device, dtype=dtype)
    c = torch.empty_like(b)
    product = min(seconds(lambda: a @ a, device))
    copy = min(seconds(lambda: c.copy_(b), device))
    return 2 * side**3 / product, 2 * b.nbytes / copy


def serial_seconds(network: nn.Module, shape, itemsize: int, flops_per_s: float, bytes_per_s: float) -> float:
    """Sum over layers of the longer of arithmetic and traffic, three passes.

    Args:
        network: On the meta device; its leaf modules are the layers.
        shape: `(N, C, I, J, K)`.
        itemsize: Bytes of a value.
        flops_per_s: Of the device.
        bytes_per_s: Of the device.
    """
    total, hooks = 0.0, []

    def hook(module, inputs, output):
        nonlocal total
        flops = 0
        if isinstance(module, nn.Conv3d):
            flops = 2 * output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose3d):
            flops = 2 * inputs[0].numel() * module.weight[0].numel()
        values = sum(t.numel() for t in inputs) + output.numel() + sum(p.numel() for p in module.parameters())
        total += PASSES * max(flops / flops_per_s, values * itemsize / bytes_per_s)

    for module in network.modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            hooks.append(module.register_forward_hook(hook))
    with torch.no_grad():
        network(torch.empty(shape, device="meta"))
    for h in hooks:
        h.remove()
    return total
