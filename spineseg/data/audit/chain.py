"""Do the labels of one scan make a spine? Order, spacing, size, islands, cuts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.phantom.levels import VOLUME_ML, dimensions

# Wide on purpose: a child's, a giant's, a fractured or a bent spine must pass. Shares of what is expected at a level.
FARTHEST, NEAREST = 1.75, 0.45  # distance of neighbours' centres
FARTHEST_CUT = 2.5  # where one of them is cut: the centre of what is left may be that of a process
SMALLEST, LARGEST = 0.4, 2.2  # of the population's 10th and 90th percentile of volume
SECOND_SHARE = 0.2  # of the median volume: a second component as large is another vertebra
SLIVER_SHARE = 0.25  # of the median volume, at the edge of the scan
STRAY_MM = 80.0  # an island this far from its vertebra's centre; the longest process ends nearer to it
STRAY_ML = 0.02  # islands below are dust of the resampling
ANOTHER_LEVEL = 0.6  # of the step to the next vertebra: a piece as far up or down is not the same vertebra's
DENS_MM = 6.0  # C2 reaches up into the ring of C1, and the centre of C1's ring lies above its anterior arch


def expected_step_mm() -> np.ndarray:
    """Distance between the centres of each vertebra and the next below, `(24,)`: two half bodies and a disc."""
    size = dimensions()
    steps = (size["body_height"][:-1] + size["body_height"][1:]) / 2 + size["disc_below"][:-1]
    steps[0] += DENS_MM
    return steps


def check_chain(parts: pd.DataFrame) -> list[tuple[str, str]]:
    """Check the components of one label map.

    Args:
        parts: From `components`.

    Returns:
        Pairs of a code of `findings.CODES` and what was found.
    """
    main = parts[parts["component"] == 0].reset_index(drop=True)
    result = _order(main) or _spacing(main)  # where the order is wrong, the distances are too
    return result + _islands(parts, main) + _sizes(main) + _cuts(main)


def _order(main: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = list(itertools.pairwise(main.itertuples()))
    wrong = [(a.vertebra, b.vertebra) for a, b in pairs if a.s_mm <= b.s_mm]
    sure = {(a.vertebra, b.vertebra) for a, b in pairs if not (a.faces or b.faces)}
    if len(pairs) >= 2 and len(wrong) > 0.8 * len(pairs):
        first, last = main["vertebra"].iloc[[0, -1]]
        return [("label-upside-down", f"{first} lies lowest and {last} highest: {len(wrong)} of {len(pairs)} pairs")]
    return [("label-order", f"{b} lies above {a}") for a, b in wrong if (a, b) in sure]


def _spacing(main: pd.DataFrame) -> list[tuple[str, str]]:
    steps, result = expected_step_mm(), []
    places = main[["r_mm", "a_mm", "s_mm"]].to_numpy()
    scale = _scale(main, places, steps)
    for i, (a, b) in enumerate(itertools.pairwise(main.itertuples())):
        distance = float(np.linalg.norm(places[i] - places[i + 1]))
        apart = b.label - a.label
        expected = float(steps[a.label - 1 : b.label - 1].sum()) * scale
        one = expected / apart
        cut = bool(a.faces or b.faces)
        names = f"{a.vertebra} and {b.vertebra}"
        if apart > 1 and distance < FARTHEST * one:
            skipped = ", ".join(VERTEBRAE[a.label : b.label - 1])
            result.append(
                ("label-skipped", f"{names} are neighbours, {distance:.0f} mm apart, and {skipped} is skipped")
            )
        elif apart > 1:
            result.append(("label-gap", f"nothing is labelled between {names}, {distance:.0f} mm apart"))
        elif distance > (FARTHEST_CUT if cut else FARTHEST) * expected:
            what = f"the centres of {names} are {distance:.0f} mm apart, {expected:.0f} expected"
            result.append(("label-gap", what))
        elif distance < NEAREST * expected and not cut:
            what = f"the centres of {names} are {distance:.0f} mm apart, {expected:.0f} expected"
            result.append(("label-crowded", what))
    return result


def _scale(main: pd.DataFrame, places: np.ndarray, steps: np.ndarray) -> float:
    """How tall this patient is against the table, from neighbours that are both seen whole; 1 where there are few."""
    ratios = [
        np.linalg.norm(places[i] - places[i + 1]) / steps[a.label - 1]
        for i, (a, b) in enumerate(itertools.pairwise(main.itertuples()))
        if b.label == a.label + 1 and not a.faces and not b.faces
    ]
    return float(np.clip(np.median(ratios), 0.7, 1.4)) if len(ratios) >= 3 else 1.0


def _islands(parts: pd.DataFrame, main: pd.DataFrame) -> list[tuple[str, str]]:
    result, steps = [], expected_step_mm()
    centre = main.set_index("label")[["r_mm", "a_mm", "s_mm"]]
    for label, others in parts[parts["component"] > 0].groupby("label"):
        name = VERTEBRAE[label - 1]
        offset = others[["r_mm", "a_mm", "s_mm"]].to_numpy() - centre.loc[label].to_numpy()
        away, ml = np.linalg.norm(offset, axis=1), others["ml"].to_numpy()
        elsewhere = np.abs(offset[:, 2]) > ANOTHER_LEVEL * steps[min(label, len(steps)) - 1]
        doubled = elsewhere & (ml > SECOND_SHARE * VOLUME_ML[name][1])
        for size, mm in zip(ml[doubled], away[doubled], strict=True):
            result.append(("label-doubled", f"{name} twice: a second one of {size:.1f} ml, {mm:.0f} mm away"))
        stray = ~doubled & (away > STRAY_MM) & (ml > STRAY_ML)
        if stray.any():
            result.append(("label-stray", f"{stray.sum()} islands of {name} up to {away[stray].max():.0f} mm away"))
    return result


def _sizes(main: pd.DataFrame) -> list[tuple[str, str]]:
    result = []
    for row in main[main["faces"] == ""].itertuples():
        low, _, high = VOLUME_ML[row.vertebra]
        if row.ml < SMALLEST * low:
            result.append(("label-small", f"{row.vertebra} has {row.ml:.1f} ml; nine in ten have more than {low:g}"))
        elif row.ml > LARGEST * high:
            result.append(("label-large", f"{row.vertebra} has {row.ml:.0f} ml; nine in ten have less than {high:g}"))
    return result


def _cuts(main: pd.DataFrame) -> list[tuple[str, str]]:
    result = []
    sides = {row.vertebra: set(row.faces) - set("SI") for row in main.itertuples()}
    if names := [name for name, cut in sides.items() if cut]:
        words = {"R": "right", "L": "left", "A": "front", "P": "back"}
        shown = [f"{name} ({', '.join(words[side] for side in 'RLAP' if side in sides[name])})" for name in names]
        result.append(("label-cut-sideways", f"the scan's edge cuts {', '.join(shown)}"))
    for row in main[main["faces"] != ""].itertuples():
        if row.ml < SLIVER_SHARE * VOLUME_ML[row.vertebra][1]:
            result.append(("label-sliver", f"{row.vertebra} is cut by the scan's edge: {row.ml:.1f} ml are left"))
    return result
