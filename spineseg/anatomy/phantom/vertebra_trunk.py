"""Chest and loin: T1-T12 and L1-L5. Frame as in `vertebra_shape`."""

from __future__ import annotations

import torch

from spineseg.anatomy.phantom.shapes import capsule, union
from spineseg.anatomy.phantom.vertebra_parts import blade_of, body_of, facet_of, lamina_of

Solids = tuple[torch.Tensor, torch.Tensor]

# Degrees from the sagittal towards the coronal plane that the faces of the joints are turned, usual adult values
_CHEST_FACETS, _LOIN_FACETS = 78.0, (32.0, 36.0, 42.0, 48.0, 55.0)

# T1 .. T10: how far the tip of the transverse process lies behind and above its root, mm, from masks
_SWEEP_MM = (3.4, 8.0, 11.0, 12.4, 12.4, 12.4, 12.4, 12.2, 11.2, 10.6)
_RISE_MM = (9.0, 9.0, 7.5, 6.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0)
# L1 .. L5: how far the tip lies behind the joint
_LUMBAR_SWEEP_MM = (6.5, 6.5, 6.0, 1.0, -4.0)


def thoracic(name, size, x, y, z) -> Solids:
    """T1-T12: facets for the ribs, shingled laminae, a long slanting spine, transverse processes with bulbous tips."""
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, side, pedicle = -depth / 2, size["canal_depth"], size["canal_width"] / 2, size["pedicle_width"]
    tip, drop, number = depth / 2 - size["total_depth"], -size["spinous_drop"], int(name[1:])
    body = body_of(size, x, y, z, waist=0.08)
    corner = 0.36 * size["body_width"]
    start, end = (corner, back + 2.5 * u, height / 2 - 4 * u), (corner + 2 * u, back + 1.5 * u, height / 2 - 5 * u)
    body = union(body, capsule((x, y, z), start, end, 3.4 * u), 2.0)

    lift, jx, jy = 0.17 * height, side + 0.5 * pedicle + 0.8, back - 0.62 * canal
    flat = (1.0, 1.0, pedicle / size["pedicle_height"])
    arch = capsule((x, y, z), (jx - 0.4, back + 3.0 * u, lift), (jx + 0.6, jy, lift), pedicle * a / 2, flat=flat)
    rise = height / 2 + (4.5 if number < 11 else 6.0) * u
    start, end, stout = (jx - 0.5, jy, lift), (jx - 1.2, jy + 1.5 * u, rise), u * a * size["joint"]
    facet = facet_of(x, y, z, start=start, end=end, radii=(4.6 * stout, 3.8 * stout), degrees=_CHEST_FACETS)
    arch = union(arch, facet, 2.0)
    reach = size["transverse_span"] / 2 - 5.2 * u * a
    if number < 11:
        end = (reach, jy - _SWEEP_MM[number - 1] * u, lift + _RISE_MM[number - 1] * u)
        radii = (4.6 * u * a, 5.0 * u * a)
    else:  # short tubercles
        end, radii = (reach, jy - (5.0 if number == 11 else 2.0) * u, lift), (5.4 * u * a, 4.4 * u * a)
    arch = union(arch, capsule((x, y, z), (jx, jy - 1.0, lift), end, *radii), 2.0)
    middle = back - canal - 3.4 * u
    plate = {"side": (jx - 0.8, jy - 0.5 * u), "middle": middle, "thick": 4.6 * u * a}
    arch = union(arch, lamina_of(x, y, z, **plate, centre=-0.15 * height, half=0.43 * height, lean=0.3), 2.0)
    start, end = (side - 0.5, middle + 2.0 * u, 0.0), (side - 1.5, middle - 1.0 * u, -height / 2 - 4.0 * u)
    facet = facet_of(x, y, z, start=start, end=end, radii=(4.6 * stout, 4.0 * stout), degrees=_CHEST_FACETS)
    arch = union(arch, facet, 2.0)
    # a thin slanting rod in the chest; towards the loin a short level blade
    r0, r1 = (5.2 * u * a, 4.0 * u * a) if number < 10 else ((6.0 * u, 5.0 * u) if number == 10 else (7.4 * u, 7.0 * u))
    start, end = (middle - 1.5, -0.2 * height if number < 11 else -6.0 * u), (tip + r1, drop)
    return body, union(arch, blade_of(x, y, z, start=start, end=end, radii=(r0, r1), half=3.3 * u * a), 2.5)


def lumbar(name, size, x, y, z) -> Solids:
    """L1-L5: facets facing each other across the midplane, hatchet blades, flat transverse processes (L5: stout)."""
    u, a, depth, height = size["unit"], size["arch"], size["body_depth"], size["body_height"]
    back, canal, side, pedicle = -depth / 2, size["canal_depth"], size["canal_width"] / 2, size["pedicle_width"]
    tip, drop, number = depth / 2 - size["total_depth"], -size["spinous_drop"], int(name[1:])
    l5 = number == 5
    body = body_of(size, x, y, z, waist=0.10)

    lift, jx, jy = 0.2 * height, side + min(pedicle / 2, 6.0 * u), back - 0.62 * canal
    thick = min(pedicle / 2, 6.5 * u)
    start, end = (side + pedicle / 2 - 0.5, back + 4 * u, lift), (jx + 0.5, jy, lift)
    arch = capsule((x, y, z), start, end, thick * a, flat=(1.0, 1.0, min(2 * thick / size["pedicle_height"], 1.0)))
    start, end = (jx + 0.5, jy - 1.0 * u, lift), (jx + 2.5 * u, jy - 3.0 * u, height / 2 + 4.0 * u)
    face, stout, wing = _LOIN_FACETS[int(name[1:]) - 1], u * a * size["joint"], u * a * size["wing"]
    facet = facet_of(x, y, z, start=start, end=end, radii=(5.8 * stout, 5.1 * stout), degrees=face)
    arch = union(arch, facet, 2.5)
    r0, r1 = (8.4 * wing, 4.8 * wing) if l5 else (5.2 * u * a, 4.2 * u * a)
    forward = 9.0 if l5 else 3.5  # those of L5 come from the side of the body
    start = (jx + (4.0 * u if l5 else 0.0), jy + forward * u, lift - 1.0)
    sweep = _LUMBAR_SWEEP_MM[number - 1]
    end = (size["transverse_span"] / 2 - 4.0 * u, jy - sweep * u, lift + 1.5 * u)
    arch = union(arch, capsule((x, y, z), start, end, r0, r1, flat=(1.0, 1.35, 1.0)), 2.5)
    middle = back - canal - 3.0 * u
    outer = (side - 0.5 if l5 else min(jx - 1.0, side + 4.0), back - 0.45 * canal)  # from above the canal is a triangle
    plate = {"side": outer, "middle": middle, "thick": 6.0 * u * a}
    arch = union(arch, lamina_of(x, y, z, **plate, centre=-4.5 * u, half=(8.0 if l5 else 10.0) * u, lean=0.35), 2.5)
    aside, behind = side + (2.5 if l5 else 1.5) * u, back - 0.8 * canal
    start, end = (
        (aside, behind, -2.0 * u),
        (aside + u, behind - (2.0 if l5 else 5.0) * u, -height / 2 - (3.0 if l5 else 7.0) * u),
    )
    facet = facet_of(x, y, z, start=start, end=end, radii=(5.8 * stout, 5.3 * stout), degrees=face)
    arch = union(arch, facet, 2.5)
    r0, r1 = (6.8 * u, 6.2 * u) if l5 else (9.5 * u, 9.0 * u)
    start, end = (middle - r0 + 2.5 * u, -3.0 * u), (tip + r1, drop)
    return body, union(arch, blade_of(x, y, z, start=start, end=end, radii=(r0, r1), half=3.5 * u * a), 3.0)
