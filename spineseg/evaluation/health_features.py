"""What a call is made from: measurements of a vertebra or a disc against its level and against its own neighbours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.clinical import VERTEBRA_COLUMNS
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.levels import dimensions
from spineseg.evaluation.findings import neighbours_median

_MEAN = dimensions()
OF_VERTEBRA = {  # feature: what it is, as pages show it
    "level": "level, 1 (C1) to 25 (S1)",
    "front_to_back": "height in front / behind",
    "middle_to_back": "height in the middle / behind",
    "front_to_neighbours": "height in front / its neighbours', for its level",
    "middle_to_neighbours": "height in the middle / its neighbours'",
    "back_to_neighbours": "height behind / its neighbours'",
    "wedge_degrees": "wedge angle",
    "wedge_to_neighbours": "wedge angle less its neighbours'",
    "hollow_top": "deepest point of the upper endplate, mm",
    "hollow_bottom": "deepest point of the lower endplate, mm",
    "hollow_difference": "the deeper endplate less the other, mm",
    "hollow_to_neighbours": "the deeper endplate less its neighbours', mm",
    "pit": "deepest point of an endplate below its usual shape, mm",
    "pit_difference": "pits of both endplates, difference in mm",
    "pit_to_neighbours": "the deeper pit less its neighbours', mm",
    "dip": "the deeper dip of an endplate's bright layer, mm",
    "dip_difference": "dips of both bright layers, difference in mm",
    "dip_to_neighbours": "the deeper dip less its neighbours', mm",
    "lip_top": "upper front edge before the waist, mm",
    "lip_bottom": "lower front edge before the waist, mm",
    "lip_to_neighbours": "the larger edge less its neighbours', mm",
    "hu": "HU of the inner body",
    "hu_to_neighbours": "HU less its neighbours'",
    "hu_spread": "spread of HU in the inner body",
    "plate_top": "HU under the upper endplate less the inner body's",
    "plate_bottom": "HU under the lower endplate less the inner body's",
}
OF_DISC = {
    "level": "level of the vertebra above",
    "height": "height in the middle / usual for level and size",
    "height_to_neighbours": "the same / its neighbours'",
    "front_to_middle": "height in front / in the middle",
    "back_to_middle": "height behind / in the middle",
    "least": "least of the three heights, mm",
    "angle": "angle across the disc",
    "angle_to_neighbours": "angle less its neighbours'",
    "slip": "slip / depth",
    "slip_to_neighbours": "slip less its neighbours', mm",
    "hu": "HU of the disc",
    "hu_to_neighbours": "HU less its neighbours'",
    "gas": "share of gas",
    "plate_above": "HU under the endplate above less that body's",
    "plate_below": "HU under the endplate below less that body's",
    "plates_to_neighbours": "the lesser of these two less its neighbours'",
    "lips": "edges of the endplates at the disc before the waist, mm",
}


def features_of(vertebrae: pd.DataFrame, discs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of one scan.

    Args:
        vertebrae: Of `clinical.examine`, one scan, from the head down.
        discs: Likewise.

    Returns:
        One row per row of each table, columns of `OF_VERTEBRA` and `OF_DISC`; nan where a measure is missing.
    """
    bone = vertebrae.reset_index(drop=True)
    bone = bone.reindex(columns=bone.columns.union(VERTEBRA_COLUMNS, sort=False))  # older tables have fewer
    level = bone["vertebra"].map(IDS)
    number = {
        name: bone[name].astype(float)
        for name in bone
        if name.endswith(("_mm", "_hu", "hu_median", "hu_spread", "_degrees"))
    }

    def scaled(place):
        return number[f"height_{place}_mm"] / level.map(lambda i: _MEAN["body_height"][i - 1])

    front, middle, back = (scaled(p) for p in ("anterior", "middle", "posterior"))
    usual = neighbours_median(back)
    deeper = np.maximum(number["hollow_top_mm"], number["hollow_bottom_mm"])
    pit, dip = (np.fmax(number[f"{name}_top_mm"], number[f"{name}_bottom_mm"]) for name in ("pit", "dip"))
    larger = np.maximum(number["lip_top_mm"], number["lip_bottom_mm"])
    plate = {end: number[f"endplate_{end}_hu"] - number["hu_median"] for end in ("top", "bottom")}
    first = pd.DataFrame(
        {
            "level": level.astype(float),
            "front_to_back": front / back,
            "middle_to_back": middle / back,
            "front_to_neighbours": front / usual,
            "middle_to_neighbours": middle / usual,
            "back_to_neighbours": back / usual,
            "wedge_degrees": number["wedge_degrees"],
            "wedge_to_neighbours": number["wedge_degrees"] - neighbours_median(number["wedge_degrees"]),
            "hollow_top": number["hollow_top_mm"],
            "hollow_bottom": number["hollow_bottom_mm"],
            "hollow_difference": (number["hollow_top_mm"] - number["hollow_bottom_mm"]).abs(),
            "hollow_to_neighbours": deeper - neighbours_median(deeper),
            "pit": pit,
            "pit_difference": (number["pit_top_mm"] - number["pit_bottom_mm"]).abs(),
            "pit_to_neighbours": pit - neighbours_median(pit),
            "dip": dip,
            "dip_difference": (number["dip_top_mm"] - number["dip_bottom_mm"]).abs(),
            "dip_to_neighbours": dip - neighbours_median(dip),
            "lip_top": number["lip_top_mm"],
            "lip_bottom": number["lip_bottom_mm"],
            "lip_to_neighbours": larger - neighbours_median(larger),
            "hu": number["hu_median"],
            "hu_to_neighbours": number["hu_median"] - neighbours_median(number["hu_median"]),
            "hu_spread": number["hu_spread"],
            "plate_top": plate["top"],
            "plate_bottom": plate["bottom"],
        }
    )
    size = float(np.nanmedian(back)) if back.notna().any() else float("nan")
    return first, _of_discs(discs.reset_index(drop=True), bone, plate, size)


def _of_discs(discs, bone, plate, size):
    above = discs["disc"].map(lambda d: d.split("-")[0])
    below = discs["disc"].map(lambda d: d.split("-")[1])
    place = {name: i for i, name in enumerate(bone["vertebra"])}

    def at(values, names):
        return pd.Series([values[place[n]] if n in place else np.nan for n in names], dtype=float, index=discs.index)

    level = above.map(IDS)
    front, middle, back = (discs[f"height_{p}_mm"].astype(float) for p in ("anterior", "middle", "posterior"))
    height = middle / (level.map(lambda i: _MEAN["disc_below"][i - 1]) * size)
    angle, slip = discs["angle_degrees"].astype(float), discs["slip_mm"].astype(float)
    plates = [at(plate["bottom"], above), at(plate["top"], below)]
    both = np.minimum(*plates)
    lips = [at(bone["lip_bottom_mm"].astype(float), above), at(bone["lip_top_mm"].astype(float), below)]
    hu = discs["disc_hu"].astype(float)
    return pd.DataFrame(
        {
            "level": level.astype(float),
            "height": height,
            "height_to_neighbours": height / neighbours_median(height),
            "front_to_middle": front / middle.where(middle > 0),
            "back_to_middle": back / middle.where(middle > 0),
            "least": np.minimum(np.minimum(front, middle), back),
            "angle": angle,
            "angle_to_neighbours": angle - neighbours_median(angle),
            "slip": slip / at(bone["depth_mm"].astype(float), below),
            "slip_to_neighbours": slip - neighbours_median(slip),
            "hu": hu,
            "hu_to_neighbours": hu - neighbours_median(hu),
            "gas": discs["gas_share"].astype(float),
            "plate_above": plates[0],
            "plate_below": plates[1],
            "plates_to_neighbours": both - neighbours_median(both),
            "lips": np.fmax(*lips),
        }
    )
