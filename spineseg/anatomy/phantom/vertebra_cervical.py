"""The neck: the atlas, a ring; the axis with its dens; C3-C7. Frame as in `vertebra_shape`."""

from __future__ import annotations

import torch

from spineseg.anatomy.phantom.shapes import capsule, difference, ellipse, ellipsoid, extrude, intersection, union
from spineseg.anatomy.phantom.vertebra_parts import blade_of, body_of, lamina_of

Solids = tuple[torch.Tensor, torch.Tensor]


def atlas(size, x, y, z) -> Solids:
    """C1: anterior and posterior arch, lateral masses, long transverse processes with a foramen; no body.

    Args:
        size: As for `vertebra_shape.vertebra`.
        x: Distance from the midplane, not negative.
        y: Forward of the axis of the dens.
        z: Above the middle of the anterior arch.

    Returns:
        `(lateral masses, ring with transverse processes)`.
    """
    u, a = size["unit"], size["arch"]
    inner = size["canal_depth"]
    front = 7.6 * u  # the dens and its ligament take 7.6 mm before the dens' axis
    half_depth, half_width, middle = inner / 2 + 3.0 * u, size["canal_width"] / 2 + 4.0 * u, front - inner / 2
    aside = x - 17.6 * u
    mass = ellipsoid(aside, y + 1.6 * u + 0.1 * aside, z + 0.25 * aside, (6.8 * u * a, 9.8 * u * a, 10.2 * u * a))
    line = ellipse(x, y - middle, half_width, half_depth)
    forward = ((y - middle) / half_depth).clamp(-1.0, 1.0)
    flat = 0.78 - 0.12 * forward  # the anterior arch is tall, the posterior one round and lower
    ring = (line.square() + ((z + 1.2 * u * (1 - forward)) * flat).square_()).sqrt_() - 3.5 * u * a
    start, end = (20.0 * u, -1.5 * u, -1.5 * u), (size["transverse_span"] / 2 - 4.0 * u * a, -5.0 * u, -2.5 * u)
    wing = capsule((x, y, z), start, end, 5.6 * u * a, 4.0 * u * a, flat=(1.0, 1.0, 1.25))
    hole = capsule((x, y), (27.5 * u, -2.5 * u), (28.0 * u, -2.8 * u), 2.9 * u)
    return mass, difference(union(ring, wing, 1.5), hole, 0.8)


def axis(size, x, y, z) -> Solids:
    """C2: a small body with the dens on top, sloping shoulders that carry the atlas, a strong forked process.

    Args:
        size: As for `vertebra_shape.vertebra`.
        x: Distance from the midplane, not negative.
        y: Forward of the centre of the body.
        z: Above it.

    Returns:
        `(body with dens and shoulders, arch)`.
    """
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, side = -depth / 2, size["canal_depth"], size["canal_width"] / 2
    tip, drop = depth / 2 - size["total_depth"], -size["spinous_drop"]
    lower = (-0.25 * z).clamp(min=0.0)  # the lower front edge overhangs
    drum = intersection(ellipse(x, y - lower, size["body_width"] / 2, depth / 2), z.abs() - height / 2, 2.0)
    dens = capsule(
        (x, y, z), (0.0, 1.5 * u, height / 2 - 4 * u), (0.0, -2.4 * u, height / 2 + 11.0 * u), 5.6 * u, 5.0 * u
    )
    body = union(drum, dens, 4.0)
    slope = z - (height / 2 - 3.5 * u) + 0.35 * (x - 14.0 * u)  # the facet under the atlas falls off sideways
    shoulder = ellipse(x - 14.5 * u, y + 1.0 * u, 8.0 * u * a, 8.2 * u * a)
    body = union(body, intersection(shoulder, slope.abs() - 5.4 * u, 2.5), 2.0)

    top, bottom = (side + 3.5 * u, back - 3 * u, 0.0), (side + 6.0 * u, back - 9 * u, -7.5 * u)
    arch = capsule((x, y, z), top, bottom, 5.2 * u * a)
    root, end = (14.0 * u, back + 5.0 * u, -2.0 * u), (size["transverse_span"] / 2 - 4.0 * u, back + 2.0 * u, -4.0 * u)
    wing = capsule((x, y, z), root, end, 5.2 * u * a, 4.2 * u * a)
    hole = capsule((x, y), (18.6 * u, back + 4.2 * u), (19.2 * u, back + 3.6 * u), 2.7 * u)
    arch = union(arch, difference(wing, hole, 0.8), 1.5)
    middle = back - canal - 2.6 * u
    plate = capsule((x, y - 0.2 * (z + 5 * u)), (side + 3.0 * u, back - 7 * u), (0.0, middle), 2.6 * u * a)
    arch = union(arch, extrude(plate, z + 4.5 * u, 6.6 * u, 2.0), 2.0)
    start, end, radii = (middle - 1.0, -5.0 * u), (tip + 5.0 * u, drop + 1.0), (6.4 * u * a, 4.8 * u * a)
    arch = union(arch, blade_of(x, y, z, start=start, end=end, radii=radii, half=3.8 * u * a), 2.0)
    fork = capsule((x, y, z), (1.5, tip + 10 * u, drop + 1.0), (5.5 * u, tip + 3.4 * u, drop), 3.4 * u * a)
    return difference(body, hole, 0.8), union(arch, fork, 1.5)


def subaxial(name, size, x, y, z) -> Solids:
    """C3-C7: uncinate rims, articular pillars, foramina in the transverse processes, a forked tip (C7: a long one)."""
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, side, width = -depth / 2, size["canal_depth"], size["canal_width"] / 2, size["body_width"]
    tip, drop, c7 = depth / 2 - size["total_depth"], -size["spinous_drop"], name == "C7"
    body = body_of(size, x, y, z, waist=0.06, lean=0.3)  # the lower front edge overhangs
    start, end = (0.44 * width, -0.3 * depth, height / 2), (0.44 * width, 0.12 * depth, height / 2 - 1.0)
    body = union(body, capsule((x, y, z), start, end, 2.6 * u), 1.5)

    px, py = side + 6.6 * u * a, back - (0.4 if c7 else 0.22) * canal
    pillar = ellipse(x - px, y - py, 5.8 * u * a, 5.4 * u * a)
    sheared = z + 1.0 * u - 0.95 * (y - py)  # facets slope down backwards, so pillars stack like tiles
    pillar = intersection(pillar, (sheared.abs() - (height + size["disc_below"] - 1.6) / 2) * 0.73, 2.0)
    start, end = (0.36 * width, back + 3.5 * u, 1.0), (px - 1.5, py + 3 * u, 0.5)
    arch = union(pillar, capsule((x, y, z), start, end, size["pedicle_width"] * a / 2, flat=(1.0, 1.0, 0.8)), 2.0)
    start = (0.42 * width + 1.0, back + 4.0 * u, -0.5)
    end = (size["transverse_span"] / 2 - 4.5 * u * a, back + (0.0 if c7 else 2.0) * u, (6.0 if c7 else -2.5) * u)
    radii = (4.6 * u * a, 4.2 * u * a) if c7 else (5.8 * u * a, 4.8 * u * a)
    wing = capsule((x, y, z), start, end, *radii, flat=(1.0, 1.0, 1.5))
    arch = union(arch, wing, 1.5)
    if not c7:
        hole = capsule((x, y), (side + 6.2 * u, back + 3.6 * u), (side + 6.4 * u, back + 3.2 * u), 2.9 * u)
        arch = difference(arch, hole, 0.8)
    middle, half = back - canal - 2.2 * u, (6.4 if c7 else 5.6) * u
    plate = {"side": (px - 4.5 * u, py - 2.0 * u), "middle": middle, "thick": 3.8 * u * a}
    arch = union(arch, lamina_of(x, y, z, **plate, centre=-2.5 * u, half=half, lean=0.4), 2.0)
    r0, r1 = (4.8 * u * a, 4.6 * u * a) if c7 else (4.2 * u * a, 3.4 * u * a)
    start, end, half = (middle - 1.0, -3.5 * u), (tip + r1, drop), (3.6 if c7 else 2.8) * u * a
    arch = union(arch, blade_of(x, y, z, start=start, end=end, radii=(r0, r1), half=half), 2.0)
    if not c7:
        fork = capsule((x, y, z), (1.0, tip + 8 * u, drop + 1.5 * u), (4.6 * u, tip + 2.8 * u, drop), 2.6 * u * a)
        arch = union(arch, fork, 1.5)
    return body, arch
