"""Single bones for the anatomy picture: the phantom's own shapes, lit like a plate in an atlas, and their parts."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.colors import to_rgb

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.degeneration import healthy_size
from spineseg.anatomy.phantom.endplates import mean_endplates
from spineseg.anatomy.phantom.levels import dimensions
from spineseg.anatomy.phantom.vertebra_shape import vertebra
from spineseg.report.theme import vertebra_palette

SPACING_MM = 0.5
BOX_MM = ((-48.0, 48.0), (-76.0, 24.0), (-32.0, 28.0))  # right, anterior, superior of the body's centre
LIGHT = {"above": (0.35, 0.35, 0.87), "left": (-0.8, 0.3, 0.52)}  # unit vectors towards the lamp
OPENINGS = ("vertebral canal", "canal of the artery")


def anatomy_panels() -> list[dict]:
    """The panels of the anatomy picture, all at one scale: L3 from above and from its left side, C4 from above.

    Returns:
        List of dicts for `diagrams.show_parts`: `picture` `(rows, columns, 3)` in [0, 1], `extent` (mm, as `imshow`
        takes it), `bone` boolean `(rows, columns)`, `sides` (the letters left, right, top, bottom), `parts` as
        `{name: (column mm, row mm)}`, `name`.
    """
    return [
        _panel("L3", "above", _lumbar_above),
        _panel("L3", "left", _lumbar_left),
        _panel("C4", "above", _cervical_above),
    ]


def distances(name: str) -> tuple[np.ndarray, dict[str, float]]:
    """Signed distance to the surface of a mean adult vertebra on the box, `(I, J, K)` mm, and its dimensions in mm."""
    size = {column: float(values[IDS[name] - 1]) for column, values in (dimensions() | mean_endplates()).items()}
    size |= {"unit": 1.0, "arch": 1.0, "wedge": 0.0, "lip": 0.0} | healthy_size()
    x, y, z = (torch.arange(low, high, SPACING_MM) for low, high in BOX_MM)
    body, arch = vertebra(name, size, x.abs()[:, None, None], y[None, :, None], z[None, None, :])
    return torch.minimum(body, arch).expand(len(x), len(y), len(z)).numpy(), size


def _panel(name, side, parts_of):
    distance, size = distances(name)
    picture, bone = _lit(distance, side, to_rgb(vertebra_palette()[name]))
    across, down = (0, 1) if side == "above" else (1, 2)
    # both axes run against their index: right and front are on the left, front and top are at the top
    extent = (0.0, picture.shape[1] * SPACING_MM, picture.shape[0] * SPACING_MM, 0.0)
    parts = {part: (BOX_MM[across][1] - a, BOX_MM[down][1] - b) for part, (a, b) in parts_of(size).items()}
    sides = ("R", "L", "A", "P") if side == "above" else ("A", "P", "S", "I")
    title = f"{name} from {'above' if side == 'above' else 'the left'}"
    return {"picture": picture, "extent": extent, "bone": bone, "sides": sides, "parts": parts, "name": title}


def _lit(distance, side, colour):
    """Surface nearest to the viewer, shaded by the angle between its normal and the lamp."""
    axis = 2 if side == "above" else 0
    inside = (
        np.flip(distance, axis) <= 0 if side == "above" else distance <= 0
    )  # the viewer is at the axis' end or start
    first = inside.argmax(axis)
    if side == "above":
        first = distance.shape[axis] - 1 - first
    bone = inside.any(axis)
    at = np.expand_dims(first, axis)
    normal = np.stack([np.take_along_axis(g, at, axis).squeeze(axis) for g in np.gradient(distance)])
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    lamp = np.clip(np.tensordot(LIGHT[side], normal, 1), 0, 1)
    shade = np.where(bone, 0.25 + 0.85 * lamp, 0.0)
    picture = np.clip(shade[..., None] * (0.35 + 0.65 * np.asarray(colour)), 0, 1)
    return picture.transpose(1, 0, 2)[::-1, ::-1], bone.T[::-1, ::-1]


def _lumbar_above(size):
    back, canal, side = -size["body_depth"] / 2, size["canal_depth"], size["canal_width"] / 2
    return {
        "body": (0.0, 2.0),
        "vertebral canal": (0.0, back - canal / 2),
        "transverse process": (-size["transverse_span"] / 2 + 9.0, back - 0.62 * canal - 2.0),
        "articular process": (side + 7.5, back - 0.62 * canal - 2.5),
        "lamina": (0.5 * side, back - canal - 3.0),
        "spinous process": (0.0, size["body_depth"] / 2 - size["total_depth"] + 12.0),
    }


def _lumbar_left(size):
    back, canal, height = -size["body_depth"] / 2, size["canal_depth"], size["body_height"]
    return {
        "upper endplate": (0.0, height / 2 - 1.0),
        "body": (2.0, -1.0),
        "pedicle": (back - 2.0, 0.2 * height),
        "articular process, upper": (back - 0.62 * canal - 2.5, height / 2 + 7.0),
        "articular process, lower": (back - canal - 4.0, -height / 2 - 8.0),
        "spinous process": (size["body_depth"] / 2 - size["total_depth"] + 12.0, -size["spinous_drop"] + 4.0),
    }


def _cervical_above(size):
    back, canal, side = -size["body_depth"] / 2, size["canal_depth"], size["canal_width"] / 2
    return {
        "body": (0.0, 1.0),
        "canal of the artery": (side + 6.3, back + 3.4),
        "transverse process": (-size["transverse_span"] / 2 + 5.0, back + 2.0),
        "vertebral canal": (0.0, back - canal / 2),
        "articular process": (side + 5.6, back - 0.48 * canal - 1.0),
        "spinous process": (0.0, size["body_depth"] / 2 - size["total_depth"] + 7.0),
    }
