"""Gradients that come out the same to the last bit each time, on a processor.

PyTorch lets several threads add to one place of a gradient as they come, where a table was read at many places: the
position biases of a Swin UNETR, whose last digits then depend on which thread was faster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, sums on a CPU are taken in one order; on a GPU, where some layers have no such order, nothing changes.

    What PyTorch was set to before holds again afterwards.

    Args:
        device: Where the gradients are computed.

    Raises:
        RuntimeError: From inside, by an operation that PyTorch has in no fixed order on a CPU.

    Source:
        https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html: `index_put_` with
        `accumulate=True` is not deterministic on a CPU unless this is asked for.
    """
    if device.type != "cpu":
        yield
        return
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would write every new tensor twice
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.utils.deterministic.fill_uninitialized_memory = filled
