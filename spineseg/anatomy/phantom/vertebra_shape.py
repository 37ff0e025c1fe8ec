"""One vertebra as two solids in its own frame, and the box that holds it.

Frame: origin at the centre of the body, x to the right, y anterior, z superior. Left and right mirror each other, so
x is taken without its sign. Body and arch are kept apart because their marrow differs.
"""

from __future__ import annotations

import torch

from spineseg.anatomy.phantom import sacrum
from spineseg.anatomy.phantom.vertebra_cervical import atlas, axis, subaxial
from spineseg.anatomy.phantom.vertebra_trunk import lumbar, thoracic

Corners = tuple[tuple[float, float, float], tuple[float, float, float]]


def vertebra(name: str, size: dict[str, float], x, y, z) -> tuple[torch.Tensor, torch.Tensor]:
    """Signed distances to body and arch of one vertebra.

    Args:
        name: Such as `"L1"`.
        size: mm, the columns of `levels.COLUMNS`; those of `endplates.mean_endplates`; `unit`, the patient's scale;
            `arch`, thickness of the arch against the plan's; `wedge`, anterior height lost; `lip`, how far worn
            endplates flare; `fish`, `spur_*`, `node_*` of top and bottom and `joint` as in `degeneration.Wear`;
            `wing`, stoutness of L5's processes; `is_block`, 1 in a block of fused vertebrae, whose ends are flat.
        x: Distance from the midplane, not negative.
        y: Forward of the centre of the body.
        z: Above it.

    Returns:
        `(body, arch)`, each of the broadcast shape; of C1 the lateral masses and the ring.
    """
    special = {"C1": atlas, "C2": axis, "S1": sacrum.first_segment}
    if name in special:
        return special[name](size, x, y, z)
    return {"C": subaxial, "T": thoracic, "L": lumbar}[name[0]](name, size, x, y, z)


def extent(name: str, size: dict[str, float]) -> Corners:
    """Corners of a box in the vertebra's frame that holds it and its label, x being signed.

    Args:
        name: Such as `"L1"`.
        size: As for `vertebra`.

    Returns:
        `(low, high)` in mm.
    """
    u, half_height, drop = size["unit"], size["body_height"] / 2, size["spinous_drop"]
    side = max(size["transverse_span"], 1.05 * size["body_width"] + 6.0) / 2 + 3.0 * u * size["wing"]
    back, front = size["body_depth"] / 2 - size["total_depth"] - 3.0, size["body_depth"] / 2 * (1 + size["lip"]) + 4.5
    front += max(size["spur_top"], size["spur_bottom"])
    low, high = {
        "C": (max(drop, half_height) + 7 * u, half_height + 8 * u),
        "T": (drop + 8 * u, half_height + 12 * u),
        "L": (max(drop + 8 * u, half_height + 14 * u), half_height + 14 * u),
        "S": (half_height + 2.0, half_height + 14 * u),
    }[name[0]]
    if name == "C1":
        front = 17 * u
        low, high, back = 14 * u, 14 * u, 16 * u - size["total_depth"] - 6.0
    if name == "C2":
        high = half_height + 17 * u
    if name == "S1":
        side = 0.6 * size["body_width"] + 4.0
    return (-side, back, -low - 2.0), (side, front, high + 2.0)
