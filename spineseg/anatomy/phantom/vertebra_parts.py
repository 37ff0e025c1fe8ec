"""Parts that most vertebrae share: body, laminae, spinous process. Frame as in `vertebra_shape`."""

from __future__ import annotations

import math

import torch

from spineseg.anatomy.phantom.endplates import bowl
from spineseg.anatomy.phantom.shapes import capsule, difference, ellipse, extrude, intersection, union


def body_of(size, x, y, z, *, waist: float, lean: float = 0.0) -> torch.Tensor:
    """A waisted drum with a flat, slightly hollow back, hollow endplates, wedged where broken, with what wear adds.

    Args:
        size: As for `vertebra_shape.vertebra`.
        x: Distance from the midplane.
        y: Forward of the centre of the body.
        z: Above it.
        waist: Share by which the middle is slimmer than the ends.
        lean: How far the top lies behind the bottom, mm per mm of height.

    Returns:
        Signed distance in mm.
    """
    width, depth, height = size["body_width"], size["body_depth"], size["body_height"]
    y = y + lean * z if lean else y
    level2 = (z * (2 / height)).clamp(-1.2, 1.2).square_()
    grow = (level2 - 1.0).mul_(waist).add_(1.0).add_(level2.square().mul_(size["lip"]))
    shrink = grow.reciprocal_()
    xs, back = x * shrink, -depth / 2
    drum = ellipse(xs, (y + 0.08 * depth) * shrink, width / 2, 0.58 * depth)
    across2 = xs.mul_(2 / width).square_()
    wall = (back + 0.6) - y + (1.0 - level2).mul_(0.12 * waist * depth) - 1.6 * across2
    forward = y / depth
    higher = size["front_share"] * forward.clamp(-0.5, 0.5) - size["wedge"] * (forward + 0.5).clamp(0.0, 1.0)
    half = height / 2 * (1.0 + higher)
    caps = z.abs() - half
    if not size["is_block"]:
        caps = caps + bowl(forward + 0.5, across2, size["hollow_place"]).mul_(size["hollow_mm"])
        if size["fish"] > 0:  # broken in from rim to rim
            caps += (1.0 - across2 - (2 * forward).square()).clamp_(min=0.0).mul_(size["fish"] * height)
    body = intersection(intersection(drum, wall, 2.0), caps, 1.6)
    for up, end in ((1.0, "top"), (-1.0, "bottom")):
        if (radius := size[f"spur_{end}"]) > 0:  # a lip along the rim, stout in front, none at the canal
            thick = (0.55 + 0.9 * forward).clamp(max=1.0) * radius
            lip = ((drum + 0.6).square() + (up * z - half + 1.2).square()).sqrt_() - thick
            body = union(body, torch.maximum(lip, wall), 2.0)
        if (radius := size[f"node_{end}"]) > 0:
            centre = (y + 0.08 * depth).square() + (up * z - half + 0.2 * radius).square_()
            body = difference(body, (x.square() + centre).sqrt_() - radius, 1.0)
    return body


def lamina_of(x, y, z, *, side, middle: float, thick: float, centre: float, half: float, lean: float) -> torch.Tensor:
    """A plate on each side of the midplane, its lower edge further back than its upper one.

    Args:
        x: Distance from the midplane.
        y: Forward of the centre of the body.
        z: Above it.
        side: `(x, y)` of the outer end.
        middle: y where the plates meet.
        thick: Of the plate, mm.
        centre: z of its middle.
        half: Half its height.
        lean: Forward shift per mm of height.

    Returns:
        Signed distance in mm.
    """
    section = capsule((x, y - lean * (z - centre)), side, (0.0, middle), thick / 2)
    return extrude(section, z - centre, half, 2.0)


def facet_of(x, y, z, *, start, end, radii, degrees: float, flat: float = 1.55) -> torch.Tensor:
    """A joint process: a plate whose face is turned from the sagittal plane (0 degrees) towards the coronal (90).

    Args:
        x: Distance from the midplane.
        y: Forward of the centre of the body.
        z: Above it.
        start: `(x, y, z)` of its root.
        end: Of its tip.
        radii: Half its width at both ends.
        degrees: How far the face looks backwards instead of inwards.
        flat: How much thinner it is than wide.

    Returns:
        Signed distance in mm.
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = [(p[0] * c + p[1] * s, p[1] * c - p[0] * s, p[2]) for p in (start, end)]
    return capsule((x * c + y * s, y * c - x * s, z), *turned, *radii, flat=(flat, 1.0, 1.0))


def blade_of(x, y, z, *, start, end, radii, half: float) -> torch.Tensor:
    """A blade in the midplane between two `(y, z)` points, `2 half` mm thick, its height twice `radii`."""
    return extrude(capsule((y, z), start, end, *radii), x, half, 2.0)
