"""What endplates are like, drawn for each patient: hollow behind their middle, and leaning where bodies are wedges.

Depth and place were set after label maps of six patients of VerSe and TotalSegmentator, 54 bodies. As
`anatomy.rims.deepest` finds them now, medians there are .8 mm in upper and 1.2 in lower endplates of the neck, 1.3 in
the chest, 1.9 and 1.8 in the loin, at 43 and 49, 42 and 35, 35 and 34 % of the depth; in phantoms' maps of 1.5 mm .6,
1.0 and 1.2 mm, at 31 and 49 (the least and the most that are tried), 43 and 40 %: phantoms' are shallower.
`anatomy.rims` takes the mean places for the usual ones, of patients too.
"""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.labels import N_VERTEBRAE, VERTEBRAE

EDGES = (0.06, 0.84)  # where a hollow begins and ends, as a share of the depth from the back wall
_MEAN = {"C": (1.0, 0.42), "T": (1.1, 0.4), "L": (1.5, 0.37), "S": (0.0, 0.45)}  # depth in mm, deepest place
_FRONT = {"C": 0.06, "T": -0.04, "L": 0.05, "S": 0.0, "L5": 0.18}  # share by which the front is higher than the back
_PLACES = (0.3, 0.54)  # what is drawn is kept within
_DEPTH_SPREAD, _PLACE_SPREAD = (0.25, 0.25), (0.03, 0.03)  # standard deviation among patients, and within one


def bowl(along, across2, place):
    """The depth of a hollow as a share of its largest; steeper behind the deepest place than in front of it.

    Args:
        along: Share of the body's depth from the back wall, array or tensor.
        across2: Square of twice the distance from the midplane as a share of the width.
        place: The deepest place.

    Returns:
        1 there, 0 at the edge and outside.
    """
    away = along - place
    reached = away.clip(min=0) / (EDGES[1] - place) + away.clip(max=0) / (place - EDGES[0])
    return (1.0 - across2 - reached**2).clip(min=0)


def mean_endplates() -> dict[str, np.ndarray]:
    """The mean adult's.

    Returns:
        `{name: (25,)}` in the order of `labels.VERTEBRAE`: `hollow_mm`, depth of both endplates; `hollow_place`, the
        deepest place as a share of the body's depth from the back wall; `front_share`, by which the front is higher.
    """
    depth, place = (np.array([_MEAN[name[0]][k] for name in VERTEBRAE]) for k in range(2))
    front = np.array([_FRONT.get(name, _FRONT[name[0]]) for name in VERTEBRAE])
    return {"hollow_mm": depth, "hollow_place": place, "front_share": front}


def draw_endplates(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same for one patient: depths lognormal, places normal."""
    mean, n = mean_endplates(), N_VERTEBRAE
    deeper = rng.normal(0.0, _DEPTH_SPREAD[0]) + rng.normal(0.0, _DEPTH_SPREAD[1], n)
    shift = rng.normal(0.0, _PLACE_SPREAD[0]) + rng.normal(0.0, _PLACE_SPREAD[1], n)
    place = np.clip(mean["hollow_place"] + shift, *_PLACES)
    return mean | {"hollow_mm": mean["hollow_mm"] * np.exp(deeper), "hollow_place": place}
