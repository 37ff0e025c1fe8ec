"""Signed distances to simple solids in mm, negative inside; every function broadcasts over torch tensors.

Distances are exact near the surface and a lower or near bound elsewhere, which is all that partial volume needs.

Source:
    Quilez, Distance functions (iquilezles.org/articles/distfunctions), for the capsule, the ellipse bound and the
    polynomial smooth minimum.
"""

from __future__ import annotations

import torch


def union(a: torch.Tensor, b: torch.Tensor, blend_mm: float = 0.0) -> torch.Tensor:
    """Both solids; `blend_mm` > 0 fills the groove where they meet with a fillet of about that size."""
    joined = torch.minimum(a, b)
    if blend_mm <= 0:
        return joined
    overlap = (blend_mm - (a - b).abs_()).clamp_(min=0.0)
    return joined.sub_(overlap.square_().mul_(0.25 / blend_mm))


def intersection(a: torch.Tensor, b: torch.Tensor, blend_mm: float = 0.0) -> torch.Tensor:
    """What both solids share; `blend_mm` > 0 rounds the edge where they cross."""
    joined = torch.maximum(a, b)
    if blend_mm <= 0:
        return joined
    overlap = (blend_mm - (a - b).abs_()).clamp_(min=0.0)
    return joined.add_(overlap.square_().mul_(0.25 / blend_mm))


def difference(a: torch.Tensor, b: torch.Tensor, blend_mm: float = 0.0) -> torch.Tensor:
    """The first solid with the second drilled out of it."""
    return intersection(a, -b, blend_mm)


def ellipse(x: torch.Tensor, y: torch.Tensor, a_mm: float, b_mm: float) -> torch.Tensor:
    """An elliptic cylinder along the third axis with half axes `a_mm` and `b_mm`; a circle is exact."""
    u, v = (x / a_mm).square(), (y / b_mm).square()
    radius = (u + v).sqrt_()
    gradient = (u / a_mm**2 + v / b_mm**2).sqrt_().clamp_(min=1e-4)
    return (radius - 1.0).mul_(radius).div_(gradient)


def ellipsoid(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, half_mm: tuple[float, float, float]) -> torch.Tensor:
    """An ellipsoid at the origin with three half axes."""
    a, b, c = half_mm
    u, v, w = (x / a).square(), (y / b).square(), (z / c).square()
    radius = (u + v + w).sqrt_()
    gradient = (u / a**2 + v / b**2 + w / c**2).sqrt_().clamp_(min=1e-4)
    return (radius - 1.0).mul_(radius).div_(gradient)


def capsule(coordinates, start, end, start_radius_mm: float, end_radius_mm: float | None = None, flat=None):
    """A round bar between two points whose radius runs from one end's to the other's.

    Args:
        coordinates: Two or three tensors; with two it is the section of a plate.
        start: As many mm values as coordinates.
        end: The other end.
        start_radius_mm: Radius at the start.
        end_radius_mm: Radius at the end; the same when None.
        flat: Factors per coordinate that stretch space first: 2 makes the bar half as thick along that axis.

    Returns:
        Signed distance; with `flat` it is scaled back to be a lower bound, exact along the unstretched axes.
    """
    flat = flat or (1.0,) * len(start)
    end_radius_mm = start_radius_mm if end_radius_mm is None else end_radius_mm
    offset = [(p - s) * f if f != 1.0 else p - s for p, s, f in zip(coordinates, start, flat, strict=True)]
    axis = [(e - s) * f for s, e, f in zip(start, end, flat, strict=True)]
    length2 = max(sum(v * v for v in axis), 1e-6)
    along = sum(o * (v / length2) for o, v in zip(offset, axis, strict=True)).clamp_(0.0, 1.0)
    squared = sum((o - along * v).square_() for o, v in zip(offset, axis, strict=True))
    distance = squared.sqrt_().sub_(along.mul_(end_radius_mm - start_radius_mm)).sub_(start_radius_mm)
    return distance / max(flat) ** 0.5 if max(flat) > 1.0 else distance


def extrude(section: torch.Tensor, along: torch.Tensor, half_mm: float, blend_mm: float = 1.5) -> torch.Tensor:
    """A flat section made `2 half_mm` thick along an axis at right angles, its edges rounded."""
    return intersection(section, along.abs() - half_mm, blend_mm)
