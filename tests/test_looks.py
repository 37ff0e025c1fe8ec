import dataclasses

import numpy as np
import pytest
import torch

from spineseg.anatomy.phantom import generate
from spineseg.config import Config
from spineseg.data.preparation import prepare_arrays
from spineseg.learning import sampling
from spineseg.learning.endless import held
from spineseg.learning.looks import THICKEST, redrawn, thick_slices
from spineseg.learning.sampling import Patches, WholeScans
from spineseg.learning.training_cases import Rounds

SMOKE = Config.load("smoke")


@pytest.fixture
def image():
    """Air, soft tissue and a block of bone, with noise."""
    generator = torch.Generator().manual_seed(0)
    out = 0.3 + 0.01 * torch.randn(1, 20, 22, 24, generator=generator)
    out[0, 6:14, 6:14, 4:20] += 0.3
    out[0, :3] = 0.0
    return out


def test_air_stays_air_and_all_else_stays_in_the_window(image):
    for seed in range(30):
        out = redrawn(np.random.default_rng(seed), image)
        assert torch.equal(out == 0, image == 0) and out.min() >= 0 and out.max() <= 1 and out.shape == image.shape


def test_no_two_looks_are_alike_and_one_seed_has_one_look(image):
    outs = [redrawn(np.random.default_rng(seed), image) for seed in range(10)]
    assert torch.equal(outs[3], redrawn(np.random.default_rng(3), image))
    assert all(not torch.allclose(outs[0], other, atol=1e-3) for other in outs[1:])


def test_grey_values_change_and_still_rise_with_the_old_ones(image):
    seen = image > 0
    changes, alike = [], []
    for seed in range(30):
        out = redrawn(np.random.default_rng(seed), image)
        changes.append((out - image)[seen].abs().mean().item())
        alike.append(torch.corrcoef(torch.stack([out[seen], image[seen]]))[0, 1].item())
    assert max(changes) > 0.03 and min(changes) < 0.02
    assert min(alike) > 0 and np.median(alike) > 0.6


def test_nothing_seen_is_given_no_looks():
    empty = torch.zeros(1, 5, 5, 5)
    assert torch.equal(redrawn(np.random.default_rng(0), empty), empty)
    flat = torch.full((1, 5, 5, 5), 0.3)  # without any contrast
    assert torch.isfinite(redrawn(np.random.default_rng(0), flat)).all()


def test_thick_slices_smooth_one_axis_and_keep_the_mean():
    image = torch.rand(1, 24, 24, 24, generator=torch.Generator().manual_seed(1))
    axes = []
    for seed in range(20):
        out = thick_slices(np.random.default_rng(seed), image)
        assert out.shape == image.shape and out.mean() == pytest.approx(image.mean().item(), abs=0.02)
        rough = [(out.diff(dim=d).abs().mean() / image.diff(dim=d).abs().mean()).item() for d in (1, 2, 3)]
        axes.append(int(np.argmin(rough)))
        assert rough[axes[-1]] < 0.6 * np.median(rough)
    assert set(axes) == {0, 1, 2}
    thin = torch.rand(1, 1, 1, 2)  # thinner than a slice
    assert thick_slices(np.random.default_rng(0), thin).shape == thin.shape and THICKEST >= 2


@pytest.fixture(scope="module")
def case():
    phantom = generate(5, spacing_mm=6.0)
    prepared = prepare_arrays(phantom.ct_hu, phantom.labels, phantom.affine, SMOKE.preparation)
    return held(prepared, SMOKE.preparation)


@pytest.mark.parametrize("kind", [WholeScans, Patches])
@pytest.mark.parametrize("name", ["redrawn", "thick_slices"])
def test_a_share_of_the_items_is_changed(monkeypatch, case, kind, name):
    seen = []
    monkeypatch.setattr(sampling, name, lambda rng, image: seen.append(1) or image)
    stage = dataclasses.replace(SMOKE.coarse if kind is WholeScans else SMOKE.fine, steps_per_epoch=40, batch=1)
    field = "looks_share" if name == "redrawn" else "thick_share"
    counts = []
    for share in (0.0, 0.5, 1.0):
        seen.clear()
        items = kind(Rounds([case]), stage, dataclasses.replace(SMOKE.training, **{field: share}), 0)
        found = [items[i]["image"] for i in range(40)]
        counts.append(len(seen))
    assert all(image.isfinite().all() for image in found)
    if kind is WholeScans and name == "thick_slices":  # coarse voxels are as thick as any slice
        assert counts == [0, 0, 0]
    else:
        assert counts[0] == 0 and 10 <= counts[1] <= 30 and counts[2] == 40


@pytest.mark.parametrize("name", ["looks_share", "thick_share"])
def test_impossible_shares_are_refused(name):
    with pytest.raises(ValueError, match=f"training.{name}"):
        Config.load("smoke", **{f"training.{name}": 1.5})
