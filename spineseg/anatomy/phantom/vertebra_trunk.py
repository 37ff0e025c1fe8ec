"""Chest and loin: T1-T12 and L1-L5. Frame as in `vertebra_shape`."""

from __future__ import annotations

import torch

from spineseg.anatomy.phantom.shapes import capsule, union
from spineseg.anatomy.phantom.vertebra_parts import blade_of, body_of, lamina_of

Solids = tuple[torch.Tensor, torch.Tensor]


def thoracic(name, size, x, y, z) -> Solids:
    """T1-T12: facets for the ribs, shingled laminae, a long slanting spine, transverse processes with bulbous tips."""
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, side, pedicle = -depth / 2, size["canal_depth"], size["canal_width"] / 2, size["pedicle_width"]
    tip, drop, number = depth / 2 - size["total_depth"], -size["spinous_drop"], int(name[1:])
    body = body_of(size, x, y, z, waist=0.08, dish=0.8, tilt=-0.04)
    corner = 0.36 * size["body_width"]
    start, end = (corner, back + 2.5 * u, height / 2 - 4 * u), (corner + 2 * u, back + 1.5 * u, height / 2 - 5 * u)
    body = union(body, capsule((x, y, z), start, end, 3.4 * u), 2.0)

    lift, jx, jy = 0.17 * height, side + 0.5 * pedicle + 0.8, back - 0.62 * canal
    flat = (1.0, 1.0, pedicle / size["pedicle_height"])
    arch = capsule((x, y, z), (jx - 0.4, back + 3.0 * u, lift), (jx + 0.6, jy, lift), pedicle * a / 2, flat=flat)
    rise = height / 2 + (7.5 if number < 11 else 9.0) * u
    facet = capsule((x, y, z), (jx - 0.5, jy, lift), (jx - 1.2, jy + 1.5 * u, rise), 4.0 * u * a, 3.2 * u * a)
    arch = union(arch, facet, 2.0)
    reach = size["transverse_span"] / 2 - 5.2 * u * a
    if number < 11:
        end, radii = (reach, jy - (5.0 + 0.9 * number) * u, lift + 3.0 * u), (4.6 * u * a, 5.0 * u * a)
    else:  # short tubercles
        end, radii = (reach, jy - 7.0 * u, lift), (5.4 * u * a, 4.4 * u * a)
    arch = union(arch, capsule((x, y, z), (jx, jy - 1.0, lift), end, *radii), 2.0)
    middle = back - canal - 2.4 * u
    plate = {"side": (jx - 0.5, jy - 2.0 * u), "middle": middle, "thick": 5.0 * u * a}
    arch = union(arch, lamina_of(x, y, z, **plate, centre=-1.5 * u, half=0.5 * height + 1.2 * u, lean=0.2), 2.0)
    start, end = (side - 0.5, middle + 2.5 * u, 0.0), (side - 1.5, middle + 0.5 * u, -height / 2 - 5.0 * u)
    arch = union(arch, capsule((x, y, z), start, end, 4.0 * u * a, 3.4 * u * a), 2.0)
    r0, r1 = (7.0 * u * a, 4.6 * u * a) if number < 10 else (8.5 * u * a, 6.5 * u * a)
    start, end = (middle - 1.5, -0.25 * height), (tip + r1, drop)
    return body, union(arch, blade_of(x, y, z, start=start, end=end, radii=(r0, r1), half=3.3 * u * a), 2.5)


def lumbar(name, size, x, y, z) -> Solids:
    """L1-L5: facets facing each other across the midplane, hatchet blades, flat transverse processes (L5: stout)."""
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, side, pedicle = -depth / 2, size["canal_depth"], size["canal_width"] / 2, size["pedicle_width"]
    tip, drop, l5 = depth / 2 - size["total_depth"], -size["spinous_drop"], name == "L5"
    body = body_of(size, x, y, z, waist=0.10, dish=1.4, tilt=0.18 if l5 else 0.05)

    lift, jx, jy = 0.2 * height, side + min(pedicle / 2, 6.0 * u), back - 0.62 * canal
    thick = min(pedicle / 2, 6.5 * u)
    start, end = (side + pedicle / 2 - 0.5, back + 4 * u, lift), (jx + 0.5, jy, lift)
    arch = capsule((x, y, z), start, end, thick * a, flat=(1.0, 1.0, min(2 * thick / size["pedicle_height"], 1.0)))
    start, end = (jx + 0.5, jy - 1.0 * u, lift), (jx + 2.5 * u, jy - 2.5 * u, height / 2 + 7.5 * u)
    arch = union(arch, capsule((x, y, z), start, end, 5.4 * u * a, 4.6 * u * a), 2.5)
    r0, r1 = (7.2 * u * a, 5.0 * u * a) if l5 else (5.2 * u * a, 4.2 * u * a)
    start = (jx, jy + 3.5 * u, lift - 1.0)
    end = (size["transverse_span"] / 2 - 4.0 * u, jy - 3.0 * u, lift + 1.5 * u)
    arch = union(arch, capsule((x, y, z), start, end, r0, r1, flat=(1.0, 1.35, 1.0)), 2.5)
    middle = back - canal - 3.0 * u
    plate = {"side": (jx - 1.0, jy - 3.0 * u), "middle": middle, "thick": 6.4 * u * a}
    arch = union(arch, lamina_of(x, y, z, **plate, centre=-4.5 * u, half=(8.0 if l5 else 10.0) * u, lean=0.22), 2.5)
    start = (side - 0.5, middle + 2.0 * u, -2.0 * u)
    end = (side + (3.0 if l5 else 0.5) * u, middle - 1.5 * u, -height / 2 - 8.0 * u)
    arch = union(arch, capsule((x, y, z), start, end, 5.4 * u * a, 4.8 * u * a), 2.5)
    r0, r1 = (8.0 * u, 7.0 * u) if l5 else (9.5 * u, 9.0 * u)
    start, end = (middle - 2.0, -5.0 * u), (tip + r1, drop + 4.0 * u)
    return body, union(arch, blade_of(x, y, z, start=start, end=end, radii=(r0, r1), half=3.6 * u * a), 3.0)
