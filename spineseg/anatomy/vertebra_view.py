"""A vertebra in a frame of its own, seen from above, and where its body, canal and arch lie.

Up is given at first and then the mean normal of the two endplates; the midplane is the one about which the view from
above is most alike to its mirror image. In a strip along the midplane the first gap in the bone, from the front
backwards, is the canal: what lies in front of it is body, what lies behind its front wall is arch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

STRIP_MM = 3.0  # half width of the strip along the midplane
_TALL = 0.6  # a column belongs to the body when it has this share of its height; transverse processes have less
_UPRIGHT_DEGREES = 65.0  # a ring that leans more than this from the row of centroids was not seen whole
_NO_ENDPLATES = (1, 2)  # C1, C2: up stays the normal of the ring, or the tangent
_TOP_ONLY = 25  # S1, which has no disc below
_FLATTEST_DEGREES = 35.0  # an endplate that leans more than this from the tangent was not an endplate
_ANTERIOR = np.array([0.0, 1.0, 0.0])  # of the world, where the search for the midplane begins


@dataclass
class View:
    """A vertebra in its own frame: occupancy in [0, 1] on a cubic lattice, axes right, anterior, superior."""

    filled: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    step_mm: float


@dataclass
class Settled:
    """A vertebra that was turned until it stood upright.

    Attributes:
        view: Its lattice.
        frame: `(3, 3)`, columns right, anterior, superior in the world.
        middle: `(3,)` world mm of the lattice's origin, in the midplane.
        parts: Of `split`, or None where no canal was found.
    """

    view: View
    frame: np.ndarray
    middle: np.ndarray
    parts: tuple[int, int, int] | None


def settle(mask, start, affine, place, level, up, step_mm) -> Settled:
    """Turn a vertebra until up is the mean normal of its endplates and the midplane its own.

    Args:
        mask: float32 tensor, the vertebra in its box.
        start: `(3,)` index of the box.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        place: `(n, 3)` world mm of its voxels.
        level: Label, 1 to 25.
        up: First guess, such as the tangent of the row of centroids.
        step_mm: Of the lattice.

    Returns:
        The view; C1 and C2 keep the normal of the ring and the tangent.
    """
    centre, forward = place.mean(0), _ANTERIOR
    if level == 1:
        up = ring_normal(place, up)
    for turn in range(3):
        frame, middle = frame_of(place, up, centre, forward, wide=turn == 0)
        view = look(mask, start, affine, place, frame, middle, step_mm)
        parts = split(view)
        if parts is None or level in _NO_ENDPLATES or turn == 2:
            break
        normal = frame @ endplate_normal(view, parts, top_only=level == _TOP_ONLY)
        if normal @ up < np.cos(np.radians(_FLATTEST_DEGREES)):
            break
        up, forward = normal, frame[:, 1]
    return Settled(view, frame, middle, parts)


def ring_normal(place, up):
    """The direction in which a ring is thinnest, towards the head; `up` where that is not a plausible axis."""
    normal = np.linalg.eigh(np.cov(place.T))[1][:, 0]
    normal = normal * np.sign(normal @ up)
    return normal if normal @ up > np.cos(np.radians(_UPRIGHT_DEGREES)) else up


def frame_of(place, up, centre, forward, *, wide):
    """Axes right, anterior, superior, and a point in the midplane: the most symmetric view from above."""
    forward = forward - (forward @ up) * up
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    points = place - centre
    flat = np.stack([points @ right, points @ forward])
    best = (-1.0, 0.0, 0.0)
    for turns in (np.arange(-32.0, 33.0, 4.0) if wide else np.zeros(1), np.arange(-3.0, 4.0)):
        base = best[1]
        for angle in base + turns:
            cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            share, shift = _symmetry(cos * flat[0] + sin * flat[1], cos * flat[1] - sin * flat[0])
            best = max(best, (share, float(angle), shift))
    _, angle, shift = best
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    right, forward = cos * right + sin * forward, cos * forward - sin * right
    return np.stack([right, forward, up], axis=1), centre + shift * right


def _symmetry(x, y):
    """Largest share of points with a partner beyond a midplane, counted in squares of 2 mm, and its place in mm."""
    i = np.minimum(np.maximum((x / 2.0 + 40.5).astype(np.int64), 0), 80)
    j = np.minimum(np.maximum((y / 2.0 + 40.5).astype(np.int64), 0), 80)
    count = np.bincount(i * 81 + j, minlength=81 * 81).reshape(81, 81)
    best = (-1, 0)
    for shift in range(-6, 7):  # a midplane at `shift` mm swaps the rows i and 80 + shift - i
        part = count[max(shift, 0) : 81 + min(shift, 0)]
        best = max(best, (int(np.minimum(part, part[::-1]).sum()), shift))
    return best[0] / len(x), float(best[1])


def look(mask, start, affine, place, frame, middle, step_mm, room=None):
    """Sample the mask linearly on a lattice along the frame, with the middle at the origin.

    The lattice holds the whole vertebra, or of it what lies between the two corners of `room`, mm in the frame.
    """
    local = (place - middle) @ frame
    margin = 2.0 * step_mm + np.linalg.norm(affine[:3, :3], axis=0).max()
    low, high = local.min(0) - margin, local.max(0) + margin
    if room is not None:
        low, high = np.maximum(low, room[0]), np.minimum(high, room[1])
    x, y, z = (
        np.arange(np.floor(a / step_mm), np.ceil(b / step_mm) + 1) * step_mm for a, b in zip(low, high, strict=True)
    )
    turn = np.linalg.inv(affine[:3, :3])
    origin, columns = turn @ (middle - affine[:3, 3]) - start, turn @ frame
    grid = torch.empty(len(x), len(y), len(z), 3)
    for axis, size in enumerate(mask.shape):  # voxel index to the unit cube of grid_sample, whose axes run backwards
        along = [
            torch.from_numpy((2.0 / size * columns[axis, d] * v).astype(np.float32)) for d, v in enumerate((x, y, z))
        ]
        along[0] += (2.0 * origin[axis] + 1.0) / size - 1.0
        grid[..., 2 - axis] = along[0][:, None, None] + along[1][None, :, None] + along[2][None, None, :]
    filled = torch.nn.functional.grid_sample(mask[None, None], grid[None], align_corners=False)
    return View(filled[0, 0].numpy(), x, y, z, step_mm)


def _runs(solid):
    """`[start, stop)` of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], solid.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def split(view):
    """Where body, canal and arch lie along the midplane: `(front, back, end of the canal)` as indices of y, or None.

    Runs of bone thinner than 2 mm are crumbs.
    """
    strip = view.filled[np.abs(view.x) <= STRIP_MM]
    tall = strip.sum(2).mean(0) * view.step_mm  # bone along the axis, mm, per y
    peak = tall[len(tall) // 3 :].max(initial=0.0)
    runs = [r for r in _runs(tall > max(1.0, 0.08 * peak)) if (r[1] - r[0]) * view.step_mm >= 2.0]
    if len(runs) < 2:
        return None
    (arch_start, arch_stop), (back, front) = runs[-2], runs[-1]
    if (back - arch_stop) * view.step_mm < 3.0 or arch_start == arch_stop:
        return None
    # the edge of the body is where its columns have half of their usual height
    half = 0.5 * np.median(tall[back:front])
    solid = np.flatnonzero(tall[back:front] >= half) + back
    return int(solid[-1]) + 1, int(solid[0]), arch_stop


def body_of(view, parts, share=_TALL):
    """Columns of the body seen from above, those with a `share` of its usual height, and all heights in mm."""
    front, back, _ = parts
    tall = view.filled.sum(2) * view.step_mm  # (x, y)
    core = tall[np.abs(view.x) <= STRIP_MM][:, back:front]
    usual = float(np.median(core))
    solid = tall >= share * usual
    solid[:, :back] = solid[:, front:] = False
    for j in range(back, front):  # only what hangs together with the midplane
        middle = int(np.argmin(np.abs(view.x)))
        keep = next(((a, b) for a, b in _runs(solid[:, j]) if a <= middle < b), (0, 0))
        solid[: keep[0], j] = solid[keep[1] :, j] = False
    return solid, tall


def core_of(view, solid, parts):
    """The inner part of the body: the middle 60 % of its depth and of its width."""
    front, back, _ = parts
    depth = front - back
    inner = solid.copy()
    inner[:, : back + int(round(0.2 * depth))] = inner[:, front - int(round(0.2 * depth)) :] = False
    half = 0.3 * solid[:, back:front].sum(0).max() * view.step_mm
    inner[np.abs(view.x) > half] = False
    return inner


def endplate_normal(view, parts, *, top_only):
    """Mean normal of the endplates in the frame of the view."""
    solid, _ = body_of(view, parts)
    inner = core_of(view, solid, parts)
    i, j = np.nonzero(inner)
    full = view.filled[i, j] >= 0.5
    ok = full.any(1)
    i, j, full = i[ok], j[ok], full[ok]
    if len(i) < 12:
        return np.array([0.0, 0.0, 1.0])
    top = view.z[full.shape[1] - 1 - np.argmax(full[:, ::-1], axis=1)]
    bottom = view.z[np.argmax(full, axis=1)]
    normals = [plane_through(view.x[i], view.y[j], heights) for heights in ((top,) if top_only else (top, bottom))]
    mean = np.mean(normals, axis=0)
    return mean / np.linalg.norm(mean)


def plane_through(x, y, height):
    """Upward normal of the plane through heights, fitted twice: the second time without what lies far off it."""
    if len(height) < 3:
        return np.array([0.0, 0.0, 1.0])
    plane = np.stack([np.ones(len(height)), x, y], axis=1)
    keep = np.ones(len(height), bool)
    for _ in range(2):
        fit = np.linalg.lstsq(plane[keep], height[keep], rcond=None)[0]
        off = np.abs(height - plane @ fit)
        keep = off <= max(2.5 * np.median(off), 1.5)
    normal = np.array([-fit[1], -fit[2], 1.0])
    return normal / np.linalg.norm(normal)
