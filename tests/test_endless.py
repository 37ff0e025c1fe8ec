from concurrent.futures import Future

import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning.endless import EndlessItems, Order, items_of, make
from spineseg.learning.loading import Batches
from spineseg.learning.sampling import Patches, WholeScans

SMALL = {"cohort.spacing_mm": 8.0, "preparation.spacing_mm": 8.0, "fine.phantom_uses": 3, "coarse.phantom_uses": 2}
CONFIG = Config.load("smoke", **SMALL, **{"fine.phantoms_together": 4, "coarse.phantoms_together": 3})
TOGETHER, USES = 4, 3
BLOCK = TOGETHER * USES
EPOCH = CONFIG.fine.steps_per_epoch * CONFIG.fine.batch


class Now:
    """An executor that works at once."""

    def submit(self, function, *arguments):
        done = Future()
        done.set_result(function(*arguments))
        return done

    def shutdown(self, **_):
        pass


@pytest.fixture
def made(monkeypatch):
    """Replaces phantoms by their numbers; the list of those that were made."""
    numbers = []

    def numbered(config, stage, seed, number):
        numbers.append(number)
        pixel = np.full((1, 1, 1, 1), number, np.float16)
        items = {p: {"case": number, "image": pixel} for p in Order(config, stage, seed).positions(number)}
        return items | {"coarse": pixel}

    monkeypatch.setattr("spineseg.learning.endless.items_of", numbered)
    monkeypatch.setattr("spineseg.learning.endless.ProcessPoolExecutor", lambda *_, **__: Now())
    return numbers


def drawn(supply, positions):
    found = []
    for position in positions:
        supply.epoch, index = divmod(position, EPOCH)
        found.append(supply[index]["case"])
    return found


def test_every_phantom_is_used_equally_often_and_none_comes_back(made):
    found = drawn(EndlessItems(CONFIG, "fine", 7), range(2 * BLOCK))
    assert np.bincount(found[:BLOCK], minlength=TOGETHER).tolist() == [USES] * TOGETHER
    assert set(found[BLOCK:]) == set(range(TOGETHER, 2 * TOGETHER))
    assert found[:TOGETHER] != sorted(found[:TOGETHER])
    assert len(made) == len(set(made))


def test_a_run_that_goes_on_later_meets_the_phantoms_it_would_have_met(made):
    later = range(5 * BLOCK + 2, 7 * BLOCK)
    whole = drawn(EndlessItems(CONFIG, "fine", 1), range(7 * BLOCK))
    made.clear()
    assert whole[later.start :] == drawn(EndlessItems(CONFIG, "fine", 1), later)
    assert min(made) == 5 * TOGETHER  # it made no phantom of the past


def test_the_next_block_is_made_ahead_and_phantoms_that_gave_all_they_have_are_let_go(made):
    supply = EndlessItems(CONFIG, "fine", 0)
    drawn(supply, [0])
    assert max(made) == 2 * TOGETHER - 1
    drawn(supply, range(1, BLOCK))
    assert min(supply._made) == TOGETHER


def test_what_a_run_that_went_on_never_takes_is_let_go_too(made):
    supply = EndlessItems(CONFIG, "fine", 0)
    drawn(supply, range(BLOCK - 1, 2 * BLOCK + 1))  # of the first block one item alone
    assert min(supply._made) >= TOGETHER


def test_a_phantom_knows_the_positions_of_its_items():
    order = Order(CONFIG, "fine", 3)
    by_phantom = sorted(p for n in range(3 * TOGETHER) for p in order.positions(n))
    assert by_phantom == list(range(3 * BLOCK))
    assert all(order.phantom(p) == n for n in range(3 * TOGETHER) for p in order.positions(n))


@pytest.mark.parametrize(("stage", "kind"), [("fine", Patches), ("coarse", WholeScans)])
def test_items_are_those_of_the_phantom_as_a_training_case(stage, kind):
    case, cut, order = make(CONFIG, stage, 1), items_of(CONFIG, stage, 5, 1), Order(CONFIG, stage, 5)

    class One:
        def at(self, *_):
            return case

    items = kind(One(), getattr(CONFIG, stage), CONFIG.training, 5)
    assert len(order.positions(1)) == getattr(CONFIG, stage).phantom_uses
    for position in order.positions(1):
        items.epoch, index = divmod(position, order.epoch)
        known, found = items[index], cut[position]
        assert found["case"] == "phantom_0000001"
        assert np.abs(found["image"].astype(np.float32) - known["image"].numpy()).max() < 1e-3
        assert np.array_equal(found["labels"], known["labels"].numpy())


def test_a_background_process_hands_the_items_over_as_tensors():
    supply = EndlessItems(CONFIG, "fine", 0)
    try:
        batch = next(iter(Batches(supply, 2)))
    finally:
        supply.close()
    assert batch["image"].dtype == torch.float16 and batch["labels"].dtype == torch.uint8
    assert batch["image"].shape == (2, 1, *CONFIG.fine.patch)
    assert all(isinstance(scan, torch.Tensor) and scan.ndim == 4 for scan in batch["coarse"])


def test_what_a_first_look_may_have_found_travels_with_its_item():
    config = Config.load("smoke", **SMALL, **{"fine.narrowed_share": 0.8, "fine.second_look_share": 0.6})
    cut = items_of(config, "fine", 0, 2)
    found = [item["found"] for position, item in cut.items() if position != "coarse"]
    supply = EndlessItems(config, "fine", 0)
    try:
        batches = [batch for batch, _ in zip(Batches(supply, 2), range(3), strict=False)]
    finally:
        supply.close()
    found += [one for batch in batches for one in batch["found"]]
    assert any(one is None for one in found)
    handed = [one for one in found if isinstance(one, torch.Tensor)]
    assert handed and all(one.dtype == torch.uint8 and one.ndim == 3 for one in handed)


def test_the_coarse_stage_gets_phantoms_at_its_own_scale():
    case = make(CONFIG, "coarse", 0)
    assert np.allclose(case.affine, case.coarse_affine) and case.shape == case.coarse_image.shape
    again = make(CONFIG, "coarse", 0)
    assert torch.equal(torch.from_numpy(case.coarse_image), torch.from_numpy(again.coarse_image))
