import threading

import pytest
import torch

from spineseg.learning.loading import Batches


class Items:
    """Items that know their index and count how many were cut."""

    def __init__(self, n, fails_at=None):
        self.n, self.fails_at, self.cut, self.lock = n, fails_at, 0, threading.Lock()

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        with self.lock:
            self.cut += 1
        if index == self.fails_at:
            raise ValueError(f"item {index}")
        return {"image": torch.full((1, 2, 2, 2), float(index)), "labels": torch.zeros(2, 2, 2), "case": str(index)}


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize(("n", "size"), [(7, 2), (6, 3), (1, 4)])
def test_items_come_in_their_order_whoever_cuts_them(threads, n, size):
    batches = Batches(Items(n), size, threads)
    found = list(batches)
    assert len(found) == len(batches)
    assert [case for batch in found for case in batch["case"]] == [str(i) for i in range(n)]
    assert all(len(batch["image"]) == size for batch in found[:-1])


def test_without_threads_nothing_is_cut_before_it_is_asked_for():
    items = Items(20)
    next(iter(Batches(items, 2)))
    assert items.cut == 2


def test_threads_stay_a_few_items_ahead_and_stop_with_the_loop():
    items = Items(200)
    for _ in Batches(items, 2, 2):
        break
    assert items.cut < 20


@pytest.mark.parametrize("threads", [0, 2])
def test_an_item_that_cannot_be_cut_ends_the_epoch_with_its_own_error(threads):
    with pytest.raises(ValueError, match="item 5"):
        list(Batches(Items(9, fails_at=5), 2, threads))
