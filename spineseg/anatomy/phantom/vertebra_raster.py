"""From a spine to voxels: which vertebra owns which voxel, and how deep inside the bone it lies.

Works on the canvas' lattice but beyond its edges too, so that a vertebra cut by the field of view still has its full
volume and centroid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.labels import N_VERTEBRAE, VERTEBRAE
from spineseg.anatomy.phantom.canvas import Box, Canvas
from spineseg.anatomy.phantom.degeneration import worn_size
from spineseg.anatomy.phantom.levels import ARCH
from spineseg.anatomy.phantom.ripple import Ripple
from spineseg.anatomy.phantom.spine import Spine
from spineseg.anatomy.phantom.vertebra_shape import extent, vertebra

FAR_MM = 1e3
_JOINT_GAP_MM = 0.8  # cartilage of the facet joints

Span = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # voxels [start, stop) per axis, may leave the canvas


@dataclass(frozen=True)
class Pose:
    """One vertebra ready to be evaluated.

    Attributes:
        level: 0 for C1 .. 24 for S1: whose shape and label it has.
        size: As for `vertebra_shape.vertebra`.
        centre_mm: `(3,)` world.
        rotation: `(3, 3)`, columns right, anterior, superior.
        skew: How much wider the right side is than the left, share.
        bend: Sideways shift of the spinous process per mm behind the body.
    """

    level: int
    size: dict[str, float]
    centre_mm: np.ndarray
    rotation: np.ndarray
    skew: float
    bend: float

    def local(self, coordinates) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """World mm to the vertebra's own frame; broadcasts three axes to full tensors."""
        x, y, z = (c - float(o) for c, o in zip(coordinates, self.centre_mm, strict=True))
        r = [[float(v) for v in row] for row in self.rotation]
        return tuple(x * r[0][k] + y * r[1][k] + z * r[2][k] for k in range(3))

    def corners(self, low, high) -> tuple[np.ndarray, np.ndarray]:
        """World box around a box in the vertebra's own frame."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        middle, half = (low + high) / 2, (high - low) / 2
        centre = self.centre_mm + self.rotation @ middle
        reach = np.abs(self.rotation) @ half
        return centre - reach, centre + reach

    def solids(self, coordinates) -> tuple[torch.Tensor, torch.Tensor]:
        """Signed distances to body and arch at world coordinates that broadcast."""
        x, y, z = self.local(coordinates)
        behind = (-0.5 * self.size["body_depth"] - y).clamp_(min=0.0)
        x = x - behind * self.bend
        return vertebra(VERTEBRAE[self.level], self.size, x.abs() + self.skew * x, y, z)


@dataclass
class Raster:
    """What `rasterise` found.

    Attributes:
        span: Where `owner` lies on the canvas' lattice.
        owner: uint8, the label of each voxel.
        poses: The vertebrae it was made of.
        spans: Per place in `poses`, where its distances lie; those that touch the canvas.
        solids: Likewise, signed distances to body and arch, trimmed at the joints.
    """

    span: Span
    owner: torch.Tensor
    poses: list[Pose]
    spans: dict[int, Span]
    solids: dict[int, tuple[torch.Tensor, torch.Tensor]]


def draw_poses(spine: Spine, rng: np.random.Generator) -> list[Pose]:
    """Draw what a spine leaves open, thickness of the arches and small asymmetries, for all 25 levels.

    Args:
        spine: Whose vertebrae.
        rng: Draws the same number of values whatever the field of view.

    Returns:
        25 poses, C1 first, and a 26th where there is one more vertebra.
    """
    arch = np.array([ARCH[name] for name in VERTEBRAE]) * np.exp(
        rng.normal(0.0, 0.03) + rng.normal(0.0, 0.015, N_VERTEBRAE)
    )
    skew, bend = rng.normal(0.0, 0.015, N_VERTEBRAE), rng.normal(0.0, 0.035, N_VERTEBRAE)
    worn = np.minimum(spine.disc_share, np.roll(spine.disc_share, 1))
    lip = 0.22 * np.clip(0.75 - worn, 0.0, None)
    poses = []
    for i in range(N_VERTEBRAE):
        size = {name: float(values[i]) for name, values in spine.size.items()}
        size |= {"unit": spine.scale, "arch": float(arch[i]), "wedge": float(spine.wedge[i]), "lip": float(lip[i])}
        size |= worn_size(spine.wear, i)
        poses.append(Pose(i, size, spine.centre_mm[i], spine.rotation[i], float(skew[i]), float(bend[i])))
    if spine.extra is not None:
        extra = spine.extra
        size = {name: value for name, value in poses[extra.above].size.items() if name not in spine.size}
        size = size | extra.size | {"wedge": 0.0}
        poses.append(Pose(extra.above, size, extra.centre_mm, extra.rotation, float(skew[0]), float(bend[0])))
    return poses


def span_of(canvas: Canvas, low_mm, high_mm) -> Span:
    """Voxels between two world corners, whether or not they lie on the canvas."""
    spans = []
    for d in range(3):
        start = int(np.floor((low_mm[d] - canvas.origin_mm[d]) / canvas.spacing[d]))
        spans.append((start, max(start + 1, int(np.ceil((high_mm[d] - canvas.origin_mm[d]) / canvas.spacing[d])) + 1)))
    return tuple(spans)


def axes_of(canvas: Canvas, span: Span) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """World mm of the voxel centres of a span, shaped to broadcast."""
    axes = [
        canvas.origin_mm[d] + canvas.spacing[d] * torch.arange(*span[d], dtype=torch.float32, device=canvas.device)
        for d in range(3)
    ]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def inside(span: Span, outer: Span) -> Box:
    """Slices of an array over `outer` that hold `span`."""
    return tuple(slice(a - o, b - o) for (a, b), (o, _) in zip(span, outer, strict=True))


def overlap(span: Span, canvas: Canvas) -> Span | None:
    """The part of a span that lies on the canvas."""
    cut = tuple((max(a, 0), min(b, n)) for (a, b), n in zip(span, canvas.shape, strict=True))
    return cut if all(a < b for a, b in cut) else None


def rasterise(
    canvas: Canvas, poses: list[Pose], margin_mm: float, ripple: Ripple | None = None, ripple_mm: float = 0.0
) -> Raster | None:
    """Evaluate the vertebrae whose box touches the canvas, from the sacrum up.

    A voxel within `margin_mm` of several vertebrae goes to the nearest one. Where two would overlap, at the facet
    joints, the upper one gives way by the width of the joint.

    Args:
        canvas: The lattice.
        poses: All levels, C1 first.
        margin_mm: How far outside the bone the labels reach.
        ripple: Makes every surface uneven.
        ripple_mm: By how much, standard deviation.

    Returns:
        The raster, or None when no vertebra touches the canvas.
    """
    spans = {}
    for i, pose in enumerate(poses):
        span = span_of(canvas, *pose.corners(*extent(VERTEBRAE[pose.level], pose.size)))
        if pose.size["body_height"] > 0 and overlap(span, canvas) is not None:
            spans[i] = span
    if not spans:
        return None
    hull = tuple((min(s[d][0] for s in spans.values()), max(s[d][1] for s in spans.values())) for d in range(3))
    shape = tuple(b - a for a, b in hull)
    nearest = torch.full(shape, FAR_MM, dtype=torch.float32, device=canvas.device)
    owner = torch.zeros(shape, dtype=torch.uint8, device=canvas.device)
    solids = {}
    for i in sorted(spans, key=lambda i: poses[i].centre_mm[2]):
        axes = axes_of(canvas, spans[i])
        body, arch = poses[i].solids(axes)
        if ripple is not None:
            uneven = ripple.at(axes).mul_(ripple_mm)
            body, arch = body + uneven, arch + uneven
        place = inside(spans[i], hull)
        taken, names = nearest[place], owner[place]
        keep_out = _JOINT_GAP_MM - taken
        body = torch.maximum(body, -taken if poses[i].size["fused_below"] else keep_out)
        arch = torch.maximum(arch, keep_out)
        distance = torch.minimum(body, arch)
        names[(distance < margin_mm) & (distance < taken)] = i + 1
        torch.minimum(taken, distance, out=taken)
        solids[i] = body, arch
    return Raster(hull, owner, poses, spans, solids)


def measure(canvas: Canvas, raster: Raster) -> list[dict]:
    """Volume and centroid of each label in the raster, whole and as far as the canvas shows it.

    Args:
        canvas: The field of view.
        raster: From `rasterise`.

    Returns:
        Per visible label, C1 first: `vertebra`, `full_ml`, `visible_ml`, `visible_share`, `centroid_mm` (RAS+, of the
        whole vertebra). Two vertebrae that share a label make one row.
    """
    rows, voxel_ml = {}, float(np.prod(canvas.spacing)) / 1000.0
    for i, span in sorted(raster.spans.items()):
        mine = raster.owner[inside(span, raster.span)] == i + 1
        sums = [mine.sum(dim=axes, dtype=torch.float64) for axes in ((1, 2), (0, 2), (0, 1))]
        count = float(sums[0].sum())
        shown = overlap(span, canvas)
        visible = float(mine[inside(shown, span)].sum())
        if visible == 0:
            continue
        axes = [a.flatten().double() for a in axes_of(canvas, span)]
        moment = np.array([float((s * a).sum()) for s, a in zip(sums, axes, strict=True)])
        name = VERTEBRAE[raster.poses[i].level]
        other = rows.get(name, (0.0, 0.0, np.zeros(3)))
        rows[name] = other[0] + count, other[1] + visible, other[2] + moment
    return [
        {
            "vertebra": name,
            "full_ml": count * voxel_ml,
            "visible_ml": visible * voxel_ml,
            "visible_share": visible / count,
            "centroid_mm": (moment / count).tolist(),
        }
        for name, (count, visible, moment) in rows.items()
    ]


def full_volumes_ml(spine: Spine, rng: np.random.Generator, *, margin_mm: float, spacing_mm: float) -> dict[str, float]:
    """Volume of every vertebra's label, seen whole, without painting a scan.

    Args:
        spine: Whose vertebrae.
        rng: For `draw_poses`.
        margin_mm: How far outside the bone the labels reach.
        spacing_mm: Of the lattice that voxels are counted on.

    Returns:
        `{vertebra: ml}`.
    """
    low, high = spine.centre_mm.min(0) - 5.0, spine.centre_mm.max(0) + 5.0
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    canvas = Canvas(low, shape, (spacing_mm,) * 3)
    raster = rasterise(canvas, draw_poses(spine, rng), margin_mm)
    return {row["vertebra"]: row["full_ml"] for row in measure(canvas, raster)}
