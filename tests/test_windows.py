import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import N_CLASSES
from spineseg.learning.windows import label_by_windows, starts, wanted


def predict(logits, region=None, window=(4, 4, 4), overlap=0.25):
    """The windows of a scan whose logits are known everywhere."""
    shape = logits.shape[1:]
    pad = [v for n, w in zip(reversed(shape), reversed(window), strict=True) for v in (0, max(w - n, 0))]
    full = torch.nn.functional.pad(logits, pad)
    low, high, chosen = wanted(region, shape, window, overlap)

    def logits_of(start):
        cut = full[(slice(None), *(slice(s, s + w) for s, w in zip(start, window, strict=True)))]
        short = [v for n, w in zip(reversed(cut.shape[1:]), reversed(window), strict=True) for v in (0, w - n)]
        return torch.nn.functional.pad(cut, short)

    return label_by_windows(logits_of, low, high, chosen, window, shape)


def test_one_voxel_more_than_a_window_needs_two():
    assert starts(5, 4, 0.0) == [0, 1]
    assert starts(4, 4, 0.5) == [0] and starts(3, 4, 0.5) == [0]


@pytest.mark.parametrize("length", range(4, 30))
def test_windows_cover_every_voxel_with_the_overlap(length):
    first = starts(length, 8, 0.25)
    covered = {i for s in first for i in range(s, min(s + 8, length))}
    assert covered == set(range(length))
    assert all(b - a <= 6 for a, b in zip(first, first[1:], strict=False))


@pytest.mark.parametrize("shape", [(13, 18, 9), (3, 4, 17), (2, 2, 2), (9, 5, 31)])
def test_slabs_equal_the_argmax_of_the_whole(shape):
    logits = torch.randn(N_CLASSES, *shape, generator=torch.Generator().manual_seed(0))
    labels, confidence = predict(logits)
    assert np.array_equal(labels, logits.argmax(0).numpy())
    best, place = logits.softmax(0).max(0)
    for c in place.unique().tolist():
        assert confidence[c] == pytest.approx(best[place == c].mean().item(), abs=1e-5)


def test_disagreeing_windows_are_averaged():
    def logits_of(start):
        out = torch.zeros(N_CLASSES, 4, 4, 4)
        out[3 if start[2] == 0 else 5] = 2.0 if start[2] == 0 else 1.0
        return out

    labels, _ = label_by_windows(logits_of, (0, 0, 0), (4, 4, 6), [(0, 0, 0), (0, 0, 2)], (4, 4, 4), (4, 4, 6))
    assert labels[0, 0].tolist() == [3, 3, 3, 3, 5, 5]  # where both lie the stronger wins


def test_only_windows_that_touch_the_region_are_run():
    region = np.zeros((20, 20, 40), bool)
    region[2:4, 2:4, 0:4] = region[15:17, 15:17, 36:40] = True
    _, _, chosen = wanted(region, region.shape, (4, 4, 4), 0.25)
    low, high, every = wanted(None, (15, 15, 40), (4, 4, 4), 0.25)
    assert 0 < len(chosen) < len(every) / 10


def test_outside_the_region_everything_is_background():
    region = np.zeros((12, 12, 12), bool)
    region[4:8, 4:8, 4:8] = True
    logits = torch.zeros(N_CLASSES, 12, 12, 12)
    logits[7] = 1
    labels, _ = predict(logits, region)
    assert (labels[region] == 7).all() and (labels[~region] == 0).all()


def test_an_empty_region_needs_no_window():
    labels, confidence = predict(torch.zeros(N_CLASSES, 5, 5, 5), np.zeros((5, 5, 5), bool))
    assert not labels.any() and np.isnan(confidence).all()
