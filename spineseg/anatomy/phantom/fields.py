"""Ways to put tissue on a canvas: smooth fields on a coarse lattice, ellipsoids, columns, tubes, plates, noise."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.phantom.canvas import Box, Canvas

FAR_MM = 1e3


def hat_weights(fine: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """`(len(fine), len(nodes))` matrix that interpolates linearly from evenly spaced nodes."""
    if len(nodes) == 1:
        return torch.ones(len(fine), 1, dtype=fine.dtype, device=fine.device)
    step = (nodes[-1] - nodes[0]) / (len(nodes) - 1)
    return (1.0 - (fine[:, None] - nodes[None, :]).abs() / step).clamp_(min=0.0)


def expand(coarse: torch.Tensor, weights: list[torch.Tensor | None]) -> torch.Tensor:
    """Apply one weight matrix per axis, none where it is None: `(i, j, k)` to `(I, J, K)`.

    Short matrix products are faster than a gather, and exact for the two nodes that each voxel lies between.
    """
    wx, wy, wz = weights
    out = coarse if wz is None else coarse @ wz.T
    out = out if wy is None else wy @ out
    return out if wx is None else (wx @ out.reshape(len(out), -1)).reshape(len(wx), *out.shape[1:])


class Brush:
    """Paints shapes on a canvas.

    Args:
        canvas: What is painted on.
        step_mm: Distance of the lattice nodes on which smooth distances are evaluated before they are interpolated.

    Attributes:
        limit_mm: Signed distance over the whole canvas outside of which nothing is painted; None for no limit.
        ripple_mm: Added to every distance, over the whole canvas, so that no outline is geometric; None for none.
    """

    def __init__(self, canvas: Canvas, step_mm: float = 6.0):
        self.canvas, self.step_mm = canvas, step_mm
        self.limit_mm: torch.Tensor | None = None
        self.ripple_mm: torch.Tensor | None = None

    def sample(self, box: Box, function, step_mm: float | None = None) -> torch.Tensor:
        """Values of a smooth `function(x, y, z)` at the voxels of `box`, taken on a lattice where that is coarser."""
        step = self.step_mm if step_mm is None else step_mm
        axes = [a.flatten() for a in self.canvas.coordinates(box)]
        nodes, weights = [], []
        for a, spacing in zip(axes, self.canvas.spacing, strict=True):
            count = max(2, int(np.ceil(spacing * (len(a) - 1) / step)) + 1)
            if count < 0.75 * len(a):
                node = torch.linspace(float(a[0]), float(a[-1]), count, dtype=a.dtype, device=a.device)
            else:
                node = a
            nodes.append(node)
            weights.append(None if node is a else hat_weights(a, node))
        x, y, z = nodes
        value = function(x[:, None, None], y[None, :, None], z[None, None, :])
        value = value.expand(len(x), len(y), len(z))
        return expand(value, weights)

    def fill(self, low_mm, high_mm, distance, hu: float, step_mm: float | None = None, edge_mm: float | None = None):
        """Paint `hu` where the signed `distance(x, y, z)` is negative, between two world corners."""
        box = self.canvas.box(low_mm, high_mm)
        if box is None:
            return
        inside = self.sample(box, distance, step_mm)
        if self.ripple_mm is not None:
            inside = inside + self.ripple_mm[box]
        if self.limit_mm is not None:
            inside = torch.maximum(inside, self.limit_mm[box])
        self.canvas.paint(box, self.canvas.coverage(inside, edge_mm), hu)

    def ellipsoid(self, centre, radii, hu: float, rotation: np.ndarray | None = None):
        """Paint an ellipsoid; `rotation` has its axes as columns."""
        centre, radii = np.asarray(centre, float), np.asarray(radii, float)
        turn = np.eye(3) if rotation is None else rotation
        reach = np.sqrt((turn**2) @ radii**2)
        self.fill(centre - reach, centre + reach, ellipsoid_distance(centre, radii, turn), hu, min(radii) / 3)

    def column(self, z, x, y, rx, ry, hu: float):
        """Paint a winding column with elliptic cross-sections; all arguments are knots along a rising z."""
        low = (np.min(np.subtract(x, rx)), np.min(np.subtract(y, ry)), z[0])
        high = (np.max(np.add(x, rx)), np.max(np.add(y, ry)), z[-1])
        step = max(2.0, float(min(np.max(rx), np.max(ry))) / 3)
        self.fill(low, high, column_distance(z, x, y, rx, ry), hu, step)

    def tube(self, points, radii, hu: float):
        """Paint a round tube along a polyline, `(n, 3)` mm with one radius per point."""
        points, radii = np.asarray(points, float), np.broadcast_to(np.asarray(radii, float), (len(points),))
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            r = max(ra, rb)
            self.fill(np.minimum(a, b) - r, np.maximum(a, b) + r, capsule_distance(a, b, ra, rb), hu, r / 2)


class Skeleton:
    """Smallest signed distance to any bone, so that a cortical shell and marrow can be painted once for all.

    Args:
        canvas: What will be painted on.
    """

    def __init__(self, canvas: Canvas):
        self.canvas = canvas
        self.distance_mm = torch.full(canvas.shape, FAR_MM, device=canvas.device)

    def add(self, low_mm, high_mm, distance, margin_mm: float = 3.0):
        """Join a bone given by its signed `distance(x, y, z)` between two world corners."""
        box = self.canvas.box(np.asarray(low_mm, float) - margin_mm, np.asarray(high_mm, float) + margin_mm)
        if box is not None:
            view = self.distance_mm[box]
            torch.minimum(view, distance(*self.canvas.coordinates(box)), out=view)

    def tube(self, points, radii, flat: np.ndarray | None = None, flatten: float = 1.0):
        """Join a tube along a polyline; `flat` (one unit vector per segment) is where it is thinner by `flatten`."""
        points, radii = np.asarray(points, float), np.broadcast_to(np.asarray(radii, float), (len(points),))
        for i in range(len(points) - 1):
            a, b, r = points[i], points[i + 1], max(radii[i], radii[i + 1])
            normal = None if flat is None else flat[i]
            shape = capsule_distance(a, b, radii[i], radii[i + 1], normal, flatten)
            self.add(np.minimum(a, b) - r, np.maximum(a, b) + r, shape, 1.0)

    def plate(self, a, b, c, thickness_mm: float):
        """Join a triangle of bone with rounded edges."""
        corners, r = np.stack([a, b, c]).astype(float), thickness_mm / 2
        self.add(corners.min(0) - r, corners.max(0) + r, triangle_distance(*corners, r), 1.0)

    def paint(self, cortical_hu: float, marrow_hu: float, shell_mm: float):
        """Paint every bone; voxels beyond all of them stay as they are."""
        canvas, edge = self.canvas, float(np.prod(self.canvas.spacing)) ** (1 / 3)
        flat = self.distance_mm.view(-1)
        near = (flat < edge / 2).nonzero().squeeze(1)
        distance = flat[near]
        hu = cortical_hu + canvas.coverage(distance + shell_mm) * (marrow_hu - cortical_hu)
        target = canvas.ct_hu.view(-1)
        old = target[near]
        target[near] = old + canvas.coverage(distance) * (hu - old)


def knots(z, values, device):
    """Interpolate knots at a broadcastable tensor of z (constant beyond the ends)."""
    flat = np.interp(z.flatten().cpu().numpy(), *values)
    return torch.as_tensor(flat, dtype=torch.float32, device=device).reshape(z.shape)


def ellipse_distance(u, v, rx, ry):
    """First-order distance to an ellipse from offsets `u`, `v` to its centre."""
    a, b = u / rx, v / ry
    k0 = (a * a + b * b).sqrt()
    a, b = a / rx, b / ry
    return k0 * (k0 - 1.0) / (a * a + b * b).sqrt().clamp_(min=1e-6)


def column_distance(z, x, y, rx, ry):
    """Distance to a column with flat ends; arguments are knots along a rising z."""
    z = np.asarray(z, float)

    def distance(px, py, pz):
        cx, cy, wx, wy = (knots(pz, (z, np.broadcast_to(v, z.shape)), pz.device) for v in (x, y, rx, ry))
        side = ellipse_distance(px - cx, py - cy, wx, wy)
        return torch.maximum(side, (pz - (z[0] + z[-1]) / 2).abs() - (z[-1] - z[0]) / 2)

    return distance


def ellipsoid_distance(centre, radii, rotation=None):
    """First-order distance to an ellipsoid whose axes are the columns of `rotation`."""
    turn = np.eye(3) if rotation is None else np.asarray(rotation)
    diagonal = bool(np.allclose(turn, np.eye(3)))

    def distance(x, y, z):
        p = (x - centre[0], y - centre[1], z - centre[2])
        if not diagonal:
            p = tuple(p[0] * turn[0, d] + p[1] * turn[1, d] + p[2] * turn[2, d] for d in range(3))
        k0 = sum((q / r) ** 2 for q, r in zip(p, radii, strict=True)).sqrt_()
        k1 = sum((q / (r * r)) ** 2 for q, r in zip(p, radii, strict=True)).sqrt_()
        return k0 * (k0 - 1.0) / k1.clamp_(min=1e-6)

    return distance


def capsule_distance(a, b, radius_a, radius_b, flat=None, flatten: float = 1.0):
    """Distance to a segment with a radius per end; along the unit vector `flat` it is thinner by `flatten`."""
    axis = b - a
    length2 = max(float(axis @ axis), 1e-6)

    def distance(x, y, z):
        qx, qy, qz = x - a[0], y - a[1], z - a[2]
        s = ((qx * axis[0] + qy * axis[1] + qz * axis[2]) / length2).clamp_(0.0, 1.0)
        rx, ry, rz = qx - s * axis[0], qy - s * axis[1], qz - s * axis[2]
        square = rx * rx + ry * ry + rz * rz
        if flat is not None:
            across = rx * flat[0] + ry * flat[1] + rz * flat[2]
            square = square + (flatten**2 - 1.0) * across * across
        return square.sqrt_() - (radius_a + (radius_b - radius_a) * s)

    return distance


def triangle_distance(a, b, c, radius: float):
    """Distance to a triangle thickened by `radius`.

    Source:
        Quilez, Triangle - distance 3D: inside the prism over the face the plane counts, outside it the nearest edge.
    """
    edges = ((a, b - a), (b, c - b), (c, a - c))
    normal = np.cross(b - a, a - c)
    unit = normal / max(np.linalg.norm(normal), 1e-6)

    def distance(x, y, z):
        nearest, inside = None, None
        for origin, edge in edges:
            qx, qy, qz = x - origin[0], y - origin[1], z - origin[2]
            out = np.cross(edge, unit)
            within = qx * out[0] + qy * out[1] + qz * out[2] >= 0
            s = ((qx * edge[0] + qy * edge[1] + qz * edge[2]) / float(edge @ edge)).clamp_(0.0, 1.0)
            square = (qx - s * edge[0]) ** 2 + (qy - s * edge[1]) ** 2 + (qz - s * edge[2]) ** 2
            nearest = square if nearest is None else torch.minimum(nearest, square)
            inside = within if inside is None else inside & within
        plane = (x - a[0]) * unit[0] + (y - a[1]) * unit[1] + (z - a[2]) * unit[2]
        return torch.where(inside, plane.abs().expand_as(nearest), nearest.sqrt()) - radius

    return distance


def correlated_noise(canvas: Canvas, size_mm, generator: torch.Generator) -> torch.Tensor:
    """Smooth noise of about unit variance over the whole canvas, with blobs of `size_mm` along the three axes."""
    weights, shape = [], []
    for spacing, count, size in zip(canvas.spacing, canvas.shape, size_mm, strict=True):
        if size < 1.5 * spacing:
            weights.append(None)
            shape.append(count)
            continue
        nodes = max(2, int(np.ceil(spacing * (count - 1) / size)) + 1)
        fine = torch.linspace(0.0, nodes - 1.0, count, device=canvas.device)
        hats = hat_weights(fine, torch.arange(nodes, dtype=torch.float32, device=canvas.device))
        weights.append(hats / (hats * hats).sum(1, keepdim=True).sqrt())
        shape.append(nodes)
    noise = torch.randn(shape, generator=generator, device=canvas.device)
    return expand(noise, weights)
