"""Angles of the spine in the patient's own planes, which its vertebrae define: they turn with the scan.

Seen from the side, endplates are the lines from rim to rim; seen from the front, planes through their inner part.
"""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body
from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.rims import rim_normal

# name: upper vertebra and its end, lower vertebra and its end, and the sign that makes the usual curve positive
CURVES = {
    "cervical_lordosis": (("C2", "bottom"), ("C7", "bottom"), 1.0),
    "thoracic_kyphosis": (("T4", "top"), ("T12", "bottom"), -1.0),
    "lumbar_lordosis": (("L1", "top"), ("S1", "top"), 1.0),
}
COBB_RANGE = ("T1", "L5")


def patient_axes(bodies: dict[int, Body]) -> np.ndarray:
    """`(3, 3)`, columns right, anterior, superior: the mean sideways axis of the bodies, and along their row.

    A single body gives its own axes; without any, those of the world.
    """
    ordered = [bodies[i] for i in sorted(bodies)]
    return axes_along(np.array([b.frame for b in ordered]), np.array([b.middle for b in ordered]))


def axes_along(frames: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """`patient_axes` of `(n, 3, 3)` frames, columns right, anterior, superior, at `(n, 3)` middles, head first."""
    if len(frames) == 0:
        return np.eye(3)
    right = frames[:, :, 0].mean(0)
    right /= np.linalg.norm(right)
    up = middles[0] - middles[-1] if len(frames) > 1 else frames[0, :, 2]
    up = up - (up @ right) * right
    up /= np.linalg.norm(up)
    return np.stack([right, np.cross(up, right), up], axis=1)


def pitch_degrees(normal: np.ndarray, axes: np.ndarray) -> float:
    """How far a normal leans forward in the patient's sagittal plane."""
    return float(np.degrees(np.arctan2(normal @ axes[:, 1], normal @ axes[:, 2])))


def roll_degrees(normal: np.ndarray, axes: np.ndarray) -> float:
    """How far a normal leans to the patient's right in the coronal plane."""
    return float(np.degrees(np.arctan2(normal @ axes[:, 0], normal @ axes[:, 2])))


def own_angle(body: Body) -> float:
    """Wedge angle in degrees, positive where the body is lower in front; nan for C2, S1 and cut bodies."""
    if not body.has_ends:
        return float("nan")
    lean = [pitch_degrees(rim_normal(body, end), body.frame) for end in ("top", "bottom")]
    return lean[0] - lean[1]


def segment_angle(upper: Body, lower: Body) -> float:
    """Angle across a disc in degrees, positive where it opens forwards; nan where an end is missing."""
    if not (upper.has_bottom and lower.has_top and upper.is_whole and lower.is_whole):
        return float("nan")
    axes = patient_axes({upper.level: upper, lower.level: lower})
    return pitch_degrees(rim_normal(lower, "top"), axes) - pitch_degrees(rim_normal(upper, "bottom"), axes)


def curves_of(bodies: dict[int, Body]) -> dict[str, float]:
    """Lordoses and kyphosis in degrees, nan where an end vertebra is missing or cut, by name of `CURVES`."""
    axes, found = patient_axes(bodies), {}
    for name, ((upper, end_u), (lower, end_l), sign) in CURVES.items():
        pair = bodies.get(IDS[upper]), bodies.get(IDS[lower])
        if any(b is None or not b.is_whole for b in pair):
            found[name] = float("nan")
            continue
        lean = [pitch_degrees(rim_normal(b, end), axes) for b, end in zip(pair, (end_u, end_l), strict=True)]
        found[name] = sign * (lean[1] - lean[0])
    return found


def cobb_of(bodies: dict[int, Body]) -> tuple[float, str, str]:
    """Largest angle in the coronal plane between an upper endplate and a lower one further down, T1 to L5.

    Returns:
        Degrees and the names of both end vertebrae; `(nan, "", "")` with fewer than two whole bodies.
    """
    first, last = (IDS[v] for v in COBB_RANGE)
    levels = [i for i in sorted(bodies) if first <= i <= last and bodies[i].is_whole]
    if len(levels) < 2:
        return float("nan"), "", ""
    axes = patient_axes({i: bodies[i] for i in levels})
    top = [roll_degrees(bodies[i].plane("top")[1], axes) for i in levels]
    bottom = [roll_degrees(bodies[i].plane("bottom")[1], axes) for i in levels]
    pairs = (
        (abs(top[i] - bottom[j]), levels[i], levels[j]) for i in range(len(levels)) for j in range(i + 1, len(levels))
    )
    angle, upper, lower = max(pairs)
    return float(angle), VERTEBRAE[upper - 1], VERTEBRAE[lower - 1]
