"""Which number format trains faster on this machine: measured, not assumed."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn


def faster_precision(network: nn.Module, patch) -> str:
    """Time training steps in fp32 and bf16 and name the faster.

    A CPU without kernels for bf16 is not timed: it emulates them, and the trial alone would take half a minute.

    Args:
        network: A V-Net, on the device it will train on.
        patch: Side lengths of the trial input, voxels.

    Returns:
        `fp32` or `bf16`.
    """
    device = next(network.parameters()).device
    if device.type == "cpu" and not _cpu_computes_bf16():
        return "fp32"
    x = torch.zeros(1, network.in_channels, *patch, device=device)
    times = {"fp32": [], "bf16": []}
    for _ in range(4):  # interleaved; the first round sets up kernels
        for kind in times:
            start = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=kind == "bf16"):
                loss = network(x).float().square().mean()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[kind].append(time.perf_counter() - start)
    network.zero_grad(set_to_none=True)
    return min(times, key=lambda kind: statistics.median(times[kind][1:]))


def bf16_pays(device: torch.device) -> bool:
    """Whether weights trained in bf16 are best run in it here: not on a processor that would have to emulate it."""
    return device.type != "cpu" or _cpu_computes_bf16()


def _cpu_computes_bf16() -> bool:
    """Whether oneDNN has bf16 kernels for this processor; some are faster than fp32, some are not."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
