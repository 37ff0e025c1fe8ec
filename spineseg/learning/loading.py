"""Batches of training items in their own order, cut by the training itself or by threads ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from torch.utils.data import Dataset

from spineseg.learning.sampling import collate

AHEAD = 2  # items per thread that are cut or being cut beyond the present batch


class Batches:
    """One epoch: item 0 first. Items are drawn from seed, epoch and index, so who cuts them changes nothing.

    Threads rather than processes: what an item is cut from is in this process, and on a GPU the items are made there.

    Args:
        items: Training items.
        size: Of a batch; the last one may be smaller.
        threads: That cut items ahead; 0 cuts each batch when it is asked for.
        first: Batch that the epoch goes on with.
        places: Of the items within a batch that are wanted here; None for all of them.
    """

    def __init__(self, items: Dataset, size: int, threads: int = 0, *, first: int = 0, places: range | None = None):
        self.items, self.size, self.threads, self.first = items, size, threads, first
        self.places = range(size) if places is None else places

    def __len__(self) -> int:
        return -(-len(self.items) // self.size) - self.first

    def __iter__(self) -> Iterator[dict]:
        batch = []
        for item in self._cut():
            batch.append(item)
            if len(batch) == len(self.places):
                yield collate(batch)
                batch = []
        if batch:
            yield collate(batch)

    def _cut(self) -> Iterator[dict]:
        left = [i for i in range(self.first * self.size, len(self.items)) if i % self.size in self.places]
        if not self.threads:
            yield from (self.items[i] for i in left)
            return
        pool, waiting = ThreadPoolExecutor(self.threads), deque()
        try:
            for index in left:
                waiting.append(pool.submit(self.items.__getitem__, index))
                if len(waiting) > self.size + AHEAD * self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
