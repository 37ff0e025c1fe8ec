"""Parts that most vertebrae share: body, laminae, spinous process. Frame as in `vertebra_shape`."""

from __future__ import annotations

import torch

from spineseg.anatomy.phantom.shapes import capsule, ellipse, extrude, intersection


def body_of(size, x, y, z, *, waist: float, dish: float, tilt: float = 0.0) -> torch.Tensor:
    """A waisted drum with a flat, slightly hollow back, dished endplates, and a wedge where it is broken.

    Args:
        size: As for `vertebra_shape.vertebra`.
        x: Distance from the midplane.
        y: Forward of the centre of the body.
        z: Above it.
        waist: Share by which the middle is slimmer than the ends.
        dish: Depth of the endplates in mm.
        tilt: Share by which the front is higher than the back.

    Returns:
        Signed distance in mm.
    """
    width, depth, height = size["body_width"], size["body_depth"], size["body_height"]
    level2 = (z * (2 / height)).clamp(-1.2, 1.2).square_()
    grow = (level2 - 1.0).mul_(waist).add_(1.0).add_(level2.square().mul_(size["lip"]))
    shrink = grow.reciprocal_()
    xs, back = x * shrink, -depth / 2
    drum = ellipse(xs, (y + 0.08 * depth) * shrink, width / 2, 0.58 * depth)
    across2 = xs.mul_(2 / width).square_()
    wall = (back + 0.6) - y + (1.0 - level2).mul_(0.12 * waist * depth) - 1.6 * across2
    forward = y / depth
    half = height / 2 * (1.0 - size["wedge"] * (forward + 0.5).clamp(0.0, 1.0) + tilt * forward.clamp(-0.5, 0.5))
    caps = z.abs() - half + (1.0 - across2 - (2 * forward).square()).clamp_(min=0.0).mul_(dish)
    return intersection(intersection(drum, wall, 2.0), caps, 1.6)


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


def blade_of(x, y, z, *, start, end, radii, half: float) -> torch.Tensor:
    """A blade in the midplane between two `(y, z)` points, `2 half` mm thick, its height twice `radii`."""
    return extrude(capsule((y, z), start, end, *radii), x, half, 2.0)
