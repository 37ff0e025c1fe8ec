"""The sacrum: its first segment, which has a label, and the rest, which has none. Frame of S1, as in `bones`."""

from __future__ import annotations

import torch

from spineseg.anatomy.phantom.shapes import capsule, difference, ellipse, ellipsoid, extrude, intersection, union


def first_segment(size, x, y, z) -> tuple[torch.Tensor, torch.Tensor]:
    """S1: a body that tapers downwards, the root of the alae, facets for L5 and the top of the median crest.

    Args:
        size: As for `bones.vertebra`.
        x: Distance from the midplane, not negative.
        y: Forward of the centre of the body.
        z: Above it.

    Returns:
        `(body with alae, arch)`.
    """
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, half_canal = -depth / 2, size["canal_depth"], size["canal_width"] / 2
    tip = depth / 2 - size["total_depth"]
    level = (z * (2 / height)).clamp(-1.2, 1.2)
    shrink = (0.92 + 0.08 * level).reciprocal_()
    drum = ellipse(
        x * shrink, (y + 0.1 * depth) * (0.68 + 0.32 * level).reciprocal_(), size["body_width"] / 2, 0.6 * depth
    )
    drum = intersection(drum, back - y - 2.0 * level + 1.5, 2.0)
    body = intersection(drum, z.abs() - height / 2, 2.0)
    side = 0.55 * size["body_width"]
    ala = ellipsoid(x - 0.46 * size["body_width"], y - back - 7.0 * u, z - 1.0 * u, (14 * u, 15 * u, 0.7 * height))
    ala = intersection(ala, torch.maximum(x - side, z.abs() - height / 2), 1.0)
    body = union(body, ala, 4.0)
    joint_x, joint_y = half_canal + 3.5 * u, back - 0.6 * canal
    facet = capsule(
        (x, y, z),
        (joint_x, joint_y + 4 * u, 4.0 * u),
        (joint_x + 2 * u, joint_y - 3 * u, height / 2 + 3 * u),
        4.8 * u * a,
        4.0 * u * a,
    )
    end = back - canal - 2.0 * u
    plate = capsule((x, y - 0.3 * z), (joint_x, joint_y - 1.0), (0.0, end), 2.3 * u * a)
    arch = union(facet, extrude(plate, z + 1.0 * u, 8.0 * u, 2.0), 2.5)
    crest = capsule((y, z), (end, 0.0), (tip + 4 * u, -size["spinous_drop"]), 4.8 * u * a, 4.0 * u * a)
    arch = union(arch, extrude(crest, x, 3.2 * u * a, 2.0), 2.0)
    return body, arch


def remainder(size, x, y, z) -> torch.Tensor:
    """Signed distance to S2-S5 with the alae: one curved, tapering shield, hollow for the canal and the foramina.

    Args:
        size: As for `first_segment`.
        x: Distance from the midplane, not negative.
        y: Forward of the centre of the body of S1.
        z: Above it.

    Returns:
        Signed distance in mm.
    """
    u, depth, height = size["unit"], size["body_depth"], size["body_height"]
    down = (-z / u).clamp(0.0, 110.0)
    # sagittal midline: first backwards along the tilt of S1, then forwards again to the coccyx
    curve = 8.0 * u - depth / 2 - (0.45 * down - 0.0042 * down.square()) * u
    thick = (10.5 - 0.055 * down) * u
    wide = (50.0 - 0.36 * down - 0.0009 * down.square()) * u  # at the auricular surface, then narrowing
    across2 = (x / wide).square()
    shield = (y - curve + 5.0 * u * across2).abs() - thick * (1.15 - 0.35 * across2)
    bone = intersection(shield * 0.85, x - wide, 8.0)
    bone = intersection(bone, torch.maximum(z - (height / 2 - 5.0 * u), -z - 96.0 * u), 6.0)
    crest = intersection((y - curve + 12.0 * u).abs() - 7.0 * u, x - 3.0 * u, 2.0)
    bone = union(bone, intersection(crest, (z + 38.0 * u).abs() - 24.0 * u, 3.0), 2.0)
    canal = (x.square() + (y - curve + 5.5 * u).square()).sqrt() - (6.5 - 0.05 * down) * u
    bone = difference(bone, intersection(canal, -z - 72.0 * u), 1.0)
    for below, aside in ((19.0, 22.0), (39.0, 19.0), (57.0, 17.0)):  # each opens to the front and to the back
        bone = difference(bone, ellipse(x - aside * u, z + below * u, 4.4 * u, 4.4 * u), 1.0)
    return bone


def extent(size) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Corners of a box in the frame of S1 that holds the whole sacrum; see `bones.extent`."""
    u, depth = size["unit"], size["body_depth"]
    half = 55.0 * u
    return (-half, depth / 2 - size["total_depth"] - 20.0 * u, -100.0 * u), (
        half,
        depth / 2 + 4.0,
        size["body_height"] / 2 + 18.0 * u,
    )
