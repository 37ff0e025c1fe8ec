"""What lies outside the reconstructed field of view: a constant, around a circle or around a turned volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.phantom.canvas import Canvas

PADDING_HU = (-1024.0, 0.0)  # as vendors and released data sets pad; the first is the more common


@dataclass(frozen=True)
class Frame:
    """How a scan fills its array.

    Attributes:
        circle_share: Radius of the reconstruction against half the array's longer side; 0: no circle.
        turn_degrees: By how much the content was turned about world x, y, z in its grid; 0 for nearly all.
        padding_hu: Value of the voxels that hold no scan.
    """

    circle_share: float = 0.0
    turn_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    padding_hu: float = PADDING_HU[0]

    @property
    def is_turned(self) -> bool:
        """Whether the content was turned within its grid."""
        return any(self.turn_degrees)


def draw_frame(rng: np.random.Generator) -> Frame:
    """Draw the frame of a scan: one in six has a circle, one in thirty was turned by up to 15 degrees.

    Args:
        rng: Gives the same number of values whatever is drawn.

    Returns:
        The frame.
    """
    share, turn = float(rng.uniform(0.98, 1.06)), rng.uniform(-15.0, 15.0, 3)
    main = int(rng.integers(3))  # mostly about one axis
    turn = np.where(np.arange(3) == main, turn, 0.25 * turn)
    padding = PADDING_HU[int(rng.random() < 0.25)]
    has_circle, is_turned = rng.random() < 0.17, rng.random() < 0.035
    return Frame(share if has_circle else 0.0, tuple(float(v) for v in turn) if is_turned else (0.0,) * 3, padding)


def rotation_of(frame: Frame) -> np.ndarray:
    """`(3, 3)` matrix that turns world directions as the content was turned."""
    matrix = np.eye(3)
    for d, angle in enumerate(np.radians(frame.turn_degrees)):
        a, b = [e for e in range(3) if e != d]
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        matrix = one @ matrix
    return matrix


def turn(canvas: Canvas, frame: Frame) -> None:
    """Turn image and labels of a canvas about its centre, within its grid; outside them lies the padding.

    Args:
        canvas: Changed in place; labels by the nearest voxel.
        frame: Says by how much.
    """
    inverse = rotation_of(frame).T
    extent = np.array(canvas.shape, float) * canvas.spacing
    # normalised coordinates run from -1 to 1 across the array, in the order k, j, i
    scaled = (inverse * extent[None, :] / extent[:, None])[::-1, ::-1].copy()
    theta = torch.zeros(1, 3, 4, device=canvas.device)
    theta[0, :, :3] = torch.as_tensor(scaled, dtype=torch.float32, device=canvas.device)
    grid = torch.nn.functional.affine_grid(theta, (1, 1, *canvas.shape), align_corners=False)
    image = (canvas.ct_hu - frame.padding_hu)[None, None]
    labels = canvas.labels.float()[None, None]
    sample = torch.nn.functional.grid_sample
    canvas.ct_hu = sample(image, grid, mode="bilinear", align_corners=False)[0, 0] + frame.padding_hu
    canvas.labels = sample(labels, grid, mode="nearest", align_corners=False)[0, 0].to(torch.uint8)


def turned_rows(rows: list[dict], canvas: Canvas, frame: Frame, ids: dict[str, int]) -> list[dict]:
    """What is true of the vertebrae after `turn`: new centroids, and new visible parts as counted in the labels.

    Args:
        rows: From `vertebra_raster.measure`.
        canvas: Already turned.
        frame: Says by how much.
        ids: Label per vertebra.

    Returns:
        Rows of those that still have a voxel.
    """
    middle = np.array(canvas.origin_mm) + (np.array(canvas.shape) - 1) / 2 * np.array(canvas.spacing)
    counts = torch.bincount(canvas.labels.flatten().long(), minlength=len(ids) + 1).tolist()
    voxel_ml, out = float(np.prod(canvas.spacing)) / 1000.0, []
    for row in rows:
        visible = counts[ids[row["vertebra"]]] * voxel_ml
        if visible == 0:
            continue
        centre = middle + rotation_of(frame) @ (np.array(row["centroid_mm"]) - middle)
        share = min(visible / row["full_ml"], 1.0)
        out.append(row | {"visible_ml": visible, "visible_share": share, "centroid_mm": centre.tolist()})
    return out


def pad_outside(canvas: Canvas, image: torch.Tensor, frame: Frame) -> None:
    """Set an image to the padding outside the circle of the reconstruction; labels out there are removed.

    Args:
        canvas: Whose grid, and whose labels.
        image: HU on that grid, changed in place.
        frame: Says how large the circle is; without one nothing changes.
    """
    if not frame.circle_share:
        return
    sides = [n * s for n, s in zip(canvas.shape[:2], canvas.spacing[:2], strict=True)]
    radius = frame.circle_share * max(sides) / 2
    x, y, _ = canvas.coordinates(tuple(slice(0, n) for n in canvas.shape))
    centre = [o + (n - 1) / 2 * s for o, n, s in zip(canvas.origin_mm, canvas.shape, canvas.spacing, strict=True)]
    outside = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 > radius**2).expand(canvas.shape)
    image[outside] = frame.padding_hu
    canvas.labels[outside] = 0
