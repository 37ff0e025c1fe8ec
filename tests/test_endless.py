import dataclasses

import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning.endless import ABREAST, EndlessCases, make
from spineseg.learning.sampling import Patches

CONFIG = Config.load("smoke", **{"cohort.spacing_mm": 8.0, "preparation.spacing_mm": 8.0})
TOGETHER = CONFIG.fine.phantoms_together


def supply(uses):
    config = dataclasses.replace(CONFIG, fine=dataclasses.replace(CONFIG.fine, phantom_uses=uses))
    return EndlessCases(config, "fine")


@pytest.fixture
def made(monkeypatch):
    """An endless supply whose phantoms are their own numbers, and the list of those asked for."""
    asked = []

    def number(_config, _stage, n):
        asked.append(n)
        return n

    monkeypatch.setattr("spineseg.learning.endless.make", number)
    monkeypatch.setattr("spineseg.learning.endless.ProcessPoolExecutor", lambda *_, **__: _Now())
    return asked


class _Now:
    """An executor that works at once."""

    def submit(self, function, *arguments):
        class Done:
            value = function(*arguments)

            def result(self):
                return self.value

        return Done()

    def shutdown(self, **_):
        pass


def test_every_phantom_is_used_equally_often_and_none_comes_back(made):
    cases = supply(3)
    block = TOGETHER * 3
    drawn = [cases.at(7, position) for position in range(2 * block)]
    assert np.bincount(drawn[:block], minlength=TOGETHER).tolist() == [3] * TOGETHER
    assert set(drawn[block:]) == set(range(TOGETHER, 2 * TOGETHER))
    assert drawn[:TOGETHER] != sorted(drawn[:TOGETHER])


def test_a_run_that_goes_on_later_meets_the_phantoms_it_would_have_met(made):
    whole = supply(2)
    later = supply(2)
    position = 5 * TOGETHER
    assert [whole.at(1, p) for p in range(position + 9)][position:] == [
        later.at(1, p) for p in range(position, position + 9)
    ]
    assert made.count(0) == 1  # the later one made no phantom of the past


def test_the_next_block_is_made_ahead_and_the_last_one_is_let_go(made):
    cases = supply(1)
    cases.at(0, 0)
    assert max(made) == 2 * TOGETHER - 1
    cases.at(0, TOGETHER + ABREAST)
    assert min(cases._made) == TOGETHER


def test_a_thread_that_lags_behind_meets_the_phantom_that_was_made_for_it(made):
    cases = supply(1)
    cases.at(0, TOGETHER)
    cases.at(0, TOGETHER - 1)
    assert len(made) == len(set(made))


def test_a_phantom_is_a_training_case_like_any_other():
    case = make(CONFIG, "fine", 0)
    assert case.case == "phantom_0000000" and np.allclose(np.abs(case.affine[:3, :3]).sum(0), 8.0)

    class One:
        def at(self, _seed, _position):
            return case

    item = Patches(One(), CONFIG.fine, CONFIG.training, 0)[0]
    assert item["image"].shape == (1, *CONFIG.fine.patch) and item["labels"].max() <= 25


def test_the_coarse_stage_gets_phantoms_at_its_own_scale():
    case = make(CONFIG, "coarse", 0)
    assert np.allclose(case.affine, case.coarse_affine) and case.shape == case.coarse_image.shape
    again = make(CONFIG, "coarse", 0)
    assert torch.equal(torch.from_numpy(case.coarse_image), torch.from_numpy(again.coarse_image))


def test_a_background_process_hands_the_cases_over():
    config = dataclasses.replace(CONFIG, coarse=dataclasses.replace(CONFIG.coarse, phantom_uses=1))
    cases = EndlessCases(config, "coarse")
    try:
        assert cases.at(0, 0).case.startswith("phantom_")
    finally:
        cases.close()
