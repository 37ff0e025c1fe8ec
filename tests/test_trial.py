import importlib.util

import pytest
from networks import needs_monai

from spineseg.report.trial import EPOCHS, tried, two_networks


def test_without_the_library_the_second_is_the_papers(tiny, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    networks = two_networks(tiny("trial"))
    assert list(networks) == ["V-Net, 3-cubed", "V-Net, 5-cubed"]
    assert (networks["V-Net, 5-cubed"].kernel, networks["V-Net, 5-cubed"].norm) == (5, "none")


@needs_monai
def test_both_are_trained_once_each_in_a_run_of_its_own(tiny, home):
    config = tiny("trial", 7)
    table = tried(config)
    assert list(table.index) == ["V-Net, 3-cubed", "3D ResU-Net"]
    assert (table["steps"] == EPOCHS * config.baseline.steps_per_epoch).all()
    assert table["parameters"].nunique() == 2 and not (home / "runs" / "trial").exists()
    assert tried(config).loc["3D ResU-Net", "seconds"] == pytest.approx(table.loc["3D ResU-Net", "seconds"])
