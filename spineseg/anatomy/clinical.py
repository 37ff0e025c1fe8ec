"""A spine measured as a radiologist would: one row a vertebra, one row a disc, and the angles of the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spineseg.anatomy import alignment, discs, heights, pits, rims
from spineseg.anatomy.bodies import Body, bodies_of
from spineseg.anatomy.density import body_hu, disc_hu
from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.parts import body_volumes_ml
from spineseg.anatomy.row import row_of
from spineseg.config import MorphometryConfig

VERTEBRA_COLUMNS = (
    "vertebra", "height_anterior_mm", "height_middle_mm", "height_posterior_mm", "body_volume_ml", "hu_median",
    "hu_spread", "endplate_top_hu", "endplate_bottom_hu", "volume_ml", "width_mm", "depth_mm", "canal_mm",
    "wedge_degrees", "hollow_top_mm", "hollow_bottom_mm", "pit_top_mm", "pit_bottom_mm", "dip_top_mm", "dip_bottom_mm",
    "lip_top_mm", "lip_bottom_mm", "loss_wedge", "loss_biconcave", "loss_crush", "genant_grade", "genant_kind", "cut",
    "whole",
)  # fmt: skip
DISC_COLUMNS = (
    "disc", "height_anterior_mm", "height_middle_mm", "height_posterior_mm", "index", "angle_degrees", "slip_mm",
    "meyerding_grade", "disc_hu", "gas_share",
)  # fmt: skip


@dataclass(frozen=True)
class Examination:
    """What was measured.

    Attributes:
        vertebrae: One row per vertebra from the head down, `VERTEBRA_COLUMNS`; nan where a measure cannot be taken.
        discs: One row per pair of neighbours that are both in the scan, `DISC_COLUMNS`.
        angles: Degrees by name, `cobb` among them; nan where an end vertebra is missing.
        cobb_between: Names of the end vertebrae of the Cobb angle, empty without one.
        bodies: By label, for pictures.
    """

    vertebrae: pd.DataFrame
    discs: pd.DataFrame
    angles: dict[str, float]
    cobb_between: tuple[str, str]
    bodies: dict[int, Body]


def examine(
    labels: np.ndarray, affine: np.ndarray, ct_hu: np.ndarray | None = None, *, config: MorphometryConfig
) -> Examination:
    """Measure a label map, and the HU of a scan on the same grid.

    A vertebra that the border of the array cuts keeps what is still seen whole: its body's measures if both endplates
    lie clear of the border, none of its volumes otherwise.

    Args:
        labels: `(I, J, K)` uint8, 0 to 25.
        affine: `(4, 4)`, voxel index to RAS+ mm; the patient lies with the head up within some 30 degrees.
        ct_hu: `(I, J, K)`; without it HU are nan.
        config: Lattice and thresholds.

    Returns:
        The tables; empty ones for a map without vertebrae.

    Raises:
        ValueError: If the labels are not a volume, or the scan has another shape.
    """
    if ct_hu is not None and np.shape(ct_hu) != np.shape(labels):
        raise ValueError(
            f"ct_hu must lie on the grid of the labels, {np.shape(labels)}, got {np.shape(ct_hu)}; resample one of them"
        )
    row = row_of(labels, affine, step_mm=config.step_mm)
    bodies = bodies_of(row, step_mm=config.step_mm)
    scan = None if ct_hu is None else (np.asarray(ct_hu), row.affine)
    volumes = body_volumes_ml(row, bodies)
    voxel_ml = abs(np.linalg.det(row.affine[:3, :3])) / 1000.0
    seen = {}
    for level, place in row.places.items():
        cut = row.is_cut(level)
        seen[level] = {"cut": cut, "volume_ml": float("nan") if cut else len(place) * voxel_ml}
        body = bodies.get(level)
        if body is not None and body.is_whole:
            seen[level]["body_volume_ml"] = volumes[level]
    return examination_of(bodies, seen, scan, config)


def examination_of(bodies: dict[int, Body], seen: dict[int, dict], scan, config: MorphometryConfig) -> Examination:
    """The tables of bodies that were found.

    Args:
        bodies: By label.
        seen: What is known of each vertebra besides: `cut`, `volume_ml`, `body_volume_ml`.
        scan: HU and affine, or None.
        config: Lattice and thresholds.

    Returns:
        The tables.
    """
    tall = {level: heights.heights_of(body) for level, body in bodies.items()}
    expected = heights.expected_posterior(tall)
    rows = []
    for level, known in seen.items():
        row = {"vertebra": VERTEBRAE[level - 1], "whole": False} | known
        if level in bodies:
            row |= _vertebra(bodies[level], tall[level], expected[level], scan, config)
        rows.append(row)
    pairs = [(bodies[i], bodies[i + 1]) for i in sorted(bodies) if i + 1 in bodies]
    below = [_disc(upper, lower, tall, scan, config) for upper, lower in pairs]
    cobb, *between = alignment.cobb_of(bodies)
    return Examination(
        pd.DataFrame(rows, columns=list(VERTEBRA_COLUMNS)),
        pd.DataFrame(below, columns=list(DISC_COLUMNS)),
        alignment.curves_of(bodies) | {"cobb": cobb},
        tuple(between),
        bodies,
    )


def _vertebra(body, tall, expected_mm, scan, config):
    lost = heights.losses(tall, expected_mm)
    grade, kind = heights.genant(lost)
    row = {f"height_{place}_mm": value for place, value in tall.items()}
    row |= {f"loss_{name}": value for name, value in lost.items()}
    row |= {"width_mm": body.width_mm, "depth_mm": body.depth_mm} if body.has_top else {}
    row |= {"canal_mm": heights.canal_mm(body), "wedge_degrees": alignment.own_angle(body), "whole": body.is_whole}
    for name, measure in (("hollow", rims.hollow_mm), ("pit", pits.pit_mm), ("lip", rims.lip_mm)):
        row |= {f"{name}_{end}_mm": measure(body, end) for end in ("top", "bottom")}
    row |= {"genant_grade": grade, "genant_kind": kind}
    if scan:
        row |= body_hu(*scan, body, blank_share=config.blank_share)
        if np.isfinite(row["hu_median"]):  # else the scan shows no marrow
            row |= {f"dip_{end}_mm": pits.dip_mm(*scan, body, end) for end in ("top", "bottom")}
    return row


def _disc(upper, lower, tall, scan, config):
    gap = discs.disc_heights(upper, lower)
    bone = [tall[body.level][place] for body in (upper, lower) for place in heights.PLACES]
    bone = [value for value in bone if np.isfinite(value)]
    mean, slip = float(np.mean(list(gap.values()))), discs.slip_mm(upper, lower)
    row = {"disc": f"{upper.name}-{lower.name}"} | {f"height_{place}_mm": value for place, value in gap.items()}
    row |= {"index": mean / float(np.mean(bone)) if bone else float("nan")}
    row |= {"angle_degrees": alignment.segment_angle(upper, lower), "slip_mm": slip}
    row |= {"meyerding_grade": discs.meyerding(slip, lower.depth_mm)}
    if scan:
        row |= disc_hu(*scan, upper, lower, gap["middle"], gas_hu=config.gas_hu, step_mm=config.step_mm)
    return row
