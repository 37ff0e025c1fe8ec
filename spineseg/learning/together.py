"""One training in several processes, as torchrun starts them: who is who, who goes first, what all agree on."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import distributed

PATIENCE = timedelta(days=7)  # of processes that wait for the first one to prepare the cases


class Group:
    """The processes of one training; alone, it has one member and every question is answered at once.

    Attributes:
        rank: Number of this process, from 0; the first one writes files and talks.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks for all."""
        return self.rank == 0

    @property
    def backend(self) -> str:
        """How they talk: nccl between GPUs, else gloo."""
        return "nccl" if torch.cuda.is_available() else "gloo"

    @property
    def nodes(self) -> int:
        """Machines that the processes are spread over."""
        return self.size // int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def told(self, value):
        """What the first process has, for all; small picklable values."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def highest(self, value: int) -> int:
        """The largest of all processes' numbers."""
        if self.size == 1:
            return value
        number = torch.tensor(value, device="cuda" if self.backend == "nccl" else "cpu")
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        return int(number)

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process does what is inside, then the others, who find it done."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def share(self, batch: int, name: str) -> range:
        """Places within a batch of the items that this process takes.

        Args:
            batch: Items of all processes together in a step.
            name: Of the stage, for the error.

        Returns:
            Every `size`-th place; all of them for a batch of one, which each process then does alike.

        Raises:
            ValueError: If the batch cannot be dealt out evenly.
        """
        if batch == 1:
            return range(1)
        if batch % self.size:
            raise ValueError(
                f"{name}.batch must be a multiple of the {self.size} processes, got {batch}; it is that of all of them "
                f"together: --{name}.batch {-(-batch // self.size) * self.size}, or start fewer processes"
            )
        return range(self.rank, batch, self.size)


def group() -> Group:
    """The processes that torchrun started this one with; the first call meets them."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        return Group()
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group(Group().backend, timeout=PATIENCE)
        atexit.register(distributed.destroy_process_group)
    return Group(distributed.get_rank(), distributed.get_world_size())
