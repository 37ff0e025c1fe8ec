"""What a phantom measures, from the signed distances that it was drawn with and without a voxel of its label map.

The definitions of the measures are those of `clinical`; what differs is where the surfaces come from. Exact frames
stand in for those that are found in a mask.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from spineseg.anatomy import alignment
from spineseg.anatomy.bodies import Body, body_from
from spineseg.anatomy.clinical import Examination, examination_of
from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom.marrow import draw_bone
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.tissue import draw_tissue
from spineseg.anatomy.phantom.vertebra_raster import Pose, draw_poses
from spineseg.anatomy.phantom.vertebra_shape import vertebra
from spineseg.anatomy.vertebra_view import Settled, View, split
from spineseg.config import MorphometryConfig

STEP_MM = 0.75  # of the lattice on which signed distances, exact near a surface, are evaluated


def true_examination(poses: Iterable[Pose], *, margin_mm: float, config: MorphometryConfig) -> Examination:
    """Measure a phantom's geometry.

    Args:
        poses: Its vertebrae, one of each level at most.
        margin_mm: How far outside the bone its labels reach, since a mask cannot know of the bone; 0 for the bone.
        config: As for `clinical.examine`.

    Returns:
        What an exact measurement of the whole spine gives, without volumes and HU.
    """
    bodies = {pose.level + 1: true_body(pose, margin_mm=margin_mm) for pose in poses if pose.level > 0}
    bodies = {level: body for level, body in bodies.items() if body is not None}
    return examination_of(bodies, {level: {"cut": False} for level in bodies}, None, config)


def scan_poses(seed: int, *, spread: float = 1.0, pathology: Pathology | None = None) -> tuple[list[Pose], float]:
    """The vertebrae that `phantom.generate` paints for a seed, in the patient's own world, and the labels' margin.

    Args:
        seed: As for `generate`.
        spread: Likewise.
        pathology: Likewise.

    Returns:
        Poses, C1 first, and mm outside the bone.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    for_patient, for_spine = streams[0], streams[3]
    spine, tissue = draw_spine(for_patient, pathology, seed), draw_tissue(for_patient, spread)
    bone = draw_bone(tissue, for_spine, spread)
    return draw_poses(spine, for_spine), bone["margin_mm"]


def true_body(pose: Pose, *, margin_mm: float, step_mm: float = STEP_MM) -> Body | None:
    """The body of one vertebra in the frame that it was drawn in; None where body and arch meet, and for C1."""
    return None if pose.level == 0 else body_from(_settled(pose, margin_mm, step_mm), pose.level + 1)


def drawn_wedge(pose: Pose) -> float:
    """Wedge angle in degrees between the ends that a body was drawn with before they were hollowed; C3 to L5."""
    size = pose.size
    return float(
        np.degrees(2 * np.arctan(size["body_height"] / 2 * (size["wedge"] - size["front_share"]) / size["body_depth"]))
    )


def true_cobb(poses: Iterable[Pose], names: Iterable[str]) -> float:
    """Cobb angle in degrees that a phantom was drawn with, as `alignment.cobb_of` defines it.

    A wedge, a crush or a slip does not tilt an endplate sideways, so that the frames of the bodies decide.

    Args:
        poses: Its vertebrae, C1 first.
        names: Of the vertebrae in view; those outside T1 to L5 do not count.

    Returns:
        nan with fewer than two.
    """
    first, last = (IDS[v] for v in alignment.COBB_RANGE)
    seen = {IDS[name] for name in names if first <= IDS[name] <= last}
    own = [pose for pose in poses if pose.level + 1 in seen]
    if len(own) < 2:
        return float("nan")
    frames = np.array([pose.rotation for pose in own])
    axes = alignment.axes_along(frames, np.array([pose.centre_mm for pose in own]))
    lean = [alignment.roll_degrees(frame[:, 2], axes) for frame in frames]
    return float(max(lean) - min(lean))


def _settled(pose: Pose, margin_mm: float, step_mm: float) -> Settled:
    """One vertebra on a lattice of its own frame: the share of each cell that lies inside the label's surface."""
    size, name = pose.size, VERTEBRAE[pose.level]
    high = size["body_height"] / 2 + (18.0 * size["unit"] if name == "C2" else 5.0)
    low = max(size["body_height"] / 2, size["spinous_drop"] if name[0] == "C" else 0.0) + 5.0
    reach = max(size["spur_top"], size["spur_bottom"]) + 5.0
    x = _axis(-size["body_width"] / 2 - reach, size["body_width"] / 2 + reach, step_mm)
    y = _axis(size["body_depth"] / 2 - size["total_depth"] - 4.0, size["body_depth"] / 2 + reach, step_mm)
    z = _axis(-low, high, step_mm)
    right, forward, up = (torch.from_numpy(a.astype(np.float32)) for a in (x, y, z))
    right, forward, up = right[:, None, None], forward[None, :, None], up[None, None, :]
    bent = right - (-0.5 * size["body_depth"] - forward).clamp(min=0.0) * pose.bend
    body, arch = vertebra(name, size, bent.abs() + pose.skew * bent, forward, up)
    distance = torch.minimum(body, arch).expand(len(x), len(y), len(z))
    view = View((0.5 - (distance - margin_mm) / step_mm).clamp(0.0, 1.0).numpy(), x, y, z, step_mm)
    return Settled(view, pose.rotation, pose.centre_mm, split(view))


def _axis(low, high, step_mm):
    return np.arange(np.floor(low / step_mm), np.ceil(high / step_mm) + 1) * step_mm
