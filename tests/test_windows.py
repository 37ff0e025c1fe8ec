import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import N_CLASSES
from spineseg.learning import windows
from spineseg.learning.windows import averaged, label_by_windows, likeliest, starts, wanted


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


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float16, 4e-3)])
@pytest.mark.parametrize("piece", [1, 3, 16])
def test_the_ring_gives_the_means_of_sums_over_the_whole_scan(dtype, close, piece, monkeypatch):
    monkeypatch.setattr(windows, "SUM_DTYPE", {"cpu": dtype})
    monkeypatch.setattr(windows, "PIECE", piece)
    low, high, window = (1, 0, 2), (12, 9, 40), (5, 4, 7)
    places = [(i, j, k) for k in (0, 4, 5, 11, 18, 31) for i in (0, 3, 6) for j in (0, 5)]  # nothing at slices 25 to 30
    generator = torch.Generator().manual_seed(0)
    values = {
        tuple(a + s for a, s in zip(low, p, strict=True)): torch.randn(3, *window, generator=generator) for p in places
    }
    sums, hits = torch.zeros(3, 20, 20, 50), torch.zeros(20, 20, 50)
    for start, value in values.items():
        box = tuple(slice(s, s + n) for s, n in zip(start, window, strict=True))
        sums[(slice(None), *box)] += value
        hits[box] += 1
    seen = torch.zeros(20, 20, 50)
    for corner, means, count in averaged(values.__getitem__, 3, low, high, places, window):
        box = tuple(slice(a, a + n) for a, n in zip(corner, count.shape, strict=True))
        seen[box] += 1
        assert torch.equal(count.float(), hits[box])
        assert torch.allclose(means.float(), sums[(slice(None), *box)] / hits[box].clamp(min=1), atol=close)
    assert seen.max() == 1 and (seen[hits > 0] == 1).all()


def test_only_windows_that_touch_the_region_are_run():
    region = np.zeros((20, 20, 40), bool)
    region[2:4, 2:4, 0:4] = region[15:17, 15:17, 36:40] = True
    _, _, chosen = wanted(region, region.shape, (4, 4, 4), 0.25)
    low, high, every = wanted(None, (15, 15, 40), (4, 4, 4), 0.25)
    assert 0 < len(chosen) < len(every) / 10


@pytest.mark.parametrize("seed", range(6))
def test_windows_cover_a_bent_region_and_stay_in_its_box(seed):
    rng = np.random.default_rng(seed)
    region = np.zeros((40, 50, 90), bool)
    for k in range(5, 85):  # a column that bends, some slices empty
        i, j = 20 + int(12 * np.sin(k / 15)), 25 + int(15 * np.cos(k / 20))
        if rng.random() < 0.8:
            region[i - 4 : i + 5, j - 4 : j + 5, k] = True
    window = (16, 16, 16) if seed % 2 else (12, 64, 20)
    low, high, chosen = wanted(region, region.shape, window, 0.25)
    covered = np.zeros((80, 120, 120), bool)
    for start in chosen:
        first = [a + s for a, s in zip(low, start, strict=True)]
        assert all(s >= 0 and s + w <= max(h - a, w) for s, w, a, h in zip(start, window, low, high, strict=True))
        covered[tuple(slice(f, f + w) for f, w in zip(first, window, strict=True))] = True
    assert covered[:40, :50, :90][region].all()
    assert [k for _, _, k in chosen] == sorted(k for _, _, k in chosen)


def test_a_column_narrower_than_a_window_takes_one_window_a_slab_about_its_middle():
    region = np.zeros((60, 60, 64), bool)
    for k in range(64):
        region[20:26, 2 + k // 2 : 8 + k // 2, k] = True
    low, _, chosen = wanted(region, region.shape, (16, 24, 16), 0.0)
    assert len(chosen) == 4 and len({j for _, j, _ in chosen}) > 1
    for _, j, k in chosen:
        held = np.flatnonzero(region[..., k : k + 16].any((0, 2)))
        assert low[1] + j <= held[0] and held[-1] < low[1] + j + 24


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


def test_the_likeliest_channel_is_the_first_of_the_largest():
    means = torch.randint(0, 4, (6, 5, 4, 3), generator=torch.Generator().manual_seed(0)).float()  # many equals
    best, place = likeliest(means)
    assert torch.equal(best, means.max(0).values)
    expected = np.argmax(means.numpy(), 0)
    assert np.array_equal(place.numpy(), expected)
