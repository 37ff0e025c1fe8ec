"""Dice, surface distances and largest pieces against plain numpy and scipy loops, one core.

Run `OMP_NUM_THREADS=1 python benchmarks/metrics.py [--side 160] [--rounds 3]`. Both sides of a ratio take turns in one
process; results are compared before anything is timed.
"""

import argparse
import statistics
import time

import numpy as np
from scipy import ndimage

from spineseg.anatomy.labels import N_CLASSES
from spineseg.config import EvaluationConfig
from spineseg.evaluation.metrics import dice_per_class, keep_largest
from spineseg.evaluation.scores import score_case

SPACING = (1.5, 1.5, 1.5)


def spine(side: int, seed: int) -> np.ndarray:
    """25 rough ellipsoids one above the other, about one per cent of the volume, and a few stray voxels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side,) * 3, np.uint8)
    step = side / 26
    for i in range(1, N_CLASSES):
        centre = np.array([side / 2, side / 2 + 0.1 * side * np.sin(i / 4), (25.5 - i) * step]) + rng.normal(0, 1, 3)
        half = np.array([0.11, 0.09, 0]) * side + [0, 0, 0.55 * step]
        low, high = np.floor(centre - half).astype(int).clip(0), np.ceil(centre + half).astype(int).clip(max=side)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
        inside = (((grid - centre) / half) ** 2).sum(-1) + rng.normal(0, 0.08, grid.shape[:3]) < 1
        labels[box][inside] = i
    return labels


def strays(labels: np.ndarray, seed: int) -> np.ndarray:
    """The map with 200 wrong voxels about it, as a network makes them."""
    rng = np.random.default_rng(seed)
    noisy = labels.copy()
    noisy[tuple(rng.integers(0, n, 200) for n in labels.shape)] = rng.integers(1, N_CLASSES, 200)
    return noisy


def dice_loop(reference, prediction):
    dice = np.full(N_CLASSES, np.nan)
    for value in range(N_CLASSES):
        a, b = reference == value, prediction == value
        total = a.sum() + b.sum()
        if total:
            dice[value] = 2 * (a & b).sum() / total
    return dice


def surfaces_loop(reference, prediction):
    rows = []
    for value in range(1, N_CLASSES):
        a, b = reference == value, prediction == value
        a, b = a ^ ndimage.binary_erosion(a), b ^ ndimage.binary_erosion(b)
        there = ndimage.distance_transform_edt(~b, sampling=SPACING)[a]
        back = ndimage.distance_transform_edt(~a, sampling=SPACING)[b]
        within = (there <= 3).sum() + (back <= 3).sum()
        rows.append((max(np.percentile(there, 95), np.percentile(back, 95)), within / (there.size + back.size)))
    return np.array(rows)


def surfaces_ours(reference, prediction):
    """The whole of `score_case`, overlap, centroids and names included."""
    scores = score_case("", reference, prediction, np.diag([*SPACING, 1]), config=EvaluationConfig())
    return scores[["hd95_mm", "nsd"]].to_numpy()


def largest_loop(labels):
    kept = np.zeros_like(labels)
    for value in range(1, N_CLASSES):
        pieces, n = ndimage.label(labels == value, np.ones((3, 3, 3)))
        if n:
            kept[pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()] = value
    return kept


def compare(name, ours, naive, arguments, rounds):
    a, b = ours(*arguments), naive(*arguments)
    difference = float(np.nanmax(np.abs(np.asarray(a, float) - np.asarray(b, float))))
    assert difference <= 1e-6 * max(1.0, float(np.nanmax(b))), f"{name}: results differ by {difference}"
    times = {ours: [], naive: []}
    for _ in range(rounds):
        for function in (ours, naive):
            start = time.perf_counter()
            function(*arguments)
            times[function].append(1000 * (time.perf_counter() - start))
    (fast, slow) = (times[f] for f in (ours, naive))
    shown = [f"{statistics.median(t):9.1f} ({min(t):.1f}-{max(t):.1f})" for t in (fast, slow)]
    print(f"{name:<14} {shown[0]:>28} {shown[1]:>30} {statistics.median(slow) / statistics.median(fast):7.1f}x"
          f"   difference {difference:.1e}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=160, help="voxels along each axis of the made-up scan")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    reference, prediction = spine(options.side, 0), spine(options.side, 1)
    print(f"{options.side}-cubed, {np.count_nonzero(reference) / reference.size:.1%} vertebra; ms, median (range)")
    print(f"{'':<14} {'ours':>28} {'naive loop':>30}   ratio")
    compare("Dice", dice_per_class, dice_loop, (reference, prediction), options.rounds)
    compare("HD95 + NSD", surfaces_ours, surfaces_loop, (reference, prediction), options.rounds)
    compare("keep largest", keep_largest, largest_loop, (strays(prediction, 2),), options.rounds)


if __name__ == "__main__":
    main()
