"""How phantoms stand to real masks, in numbers that a page can quote."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEAST_PATIENTS = 3  # a level that fewer show is drawn, but no sentence leans on it
WORDS = {
    "volume_ml": "volume", "width_mm": "width", "depth_mm": "depth", "height_mm": "height", "spacing_mm": "distance",
}  # fmt: skip


def ratios(phantoms: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """Median of the phantoms against that of the real masks, per level and measure.

    Args:
        phantoms: Columns `vertebra` and the measures.
        real: From `real_masks`.

    Returns:
        Columns `measure`, `vertebra`, `n` (patients), `ratio`; tilts, which have no ratio, and levels without phantoms
        are left out. From the head down within each measure.
    """
    medians = phantoms.groupby("vertebra")[list(WORDS)].median()
    rows = real[real["measure"].isin(list(WORDS)) & real["vertebra"].isin(medians.index)]
    drawn = [medians.loc[row.vertebra, row.measure] for row in rows.itertuples()]
    table = rows.assign(ratio=np.array(drawn, float) / rows["median"])[["measure", "vertebra", "n", "ratio"]]
    return table.dropna(subset=["ratio"]).reset_index(drop=True)


def agreement(phantoms: pd.DataFrame, real: pd.DataFrame) -> dict:
    """How close the phantoms come to the real masks.

    Args:
        phantoms: Columns `vertebra`, `tilt_degrees` and the measures.
        real: From `real_masks`.

    Returns:
        `volume_ratio`, `width_ratio`, `depth_ratio`, `height_ratio`, `distance_ratio`: median over the levels that at
        least three patients show; `farthest_level`, `farthest_measure`, `farthest_ratio`: which of those lengths is
        farthest from 1; `compared`, how many levels; `tilt_off`: typical difference of the medians in degrees. Nan
        without phantoms.
    """
    table = ratios(phantoms, real)
    table = table[table["n"] >= LEAST_PATIENTS]
    middle = table.groupby("measure")["ratio"].median().reindex(list(WORDS))
    numbers = {f"{WORDS[measure]}_ratio": float(value) for measure, value in middle.items()}
    lengths = table[table["measure"] != "volume_ml"]
    worst = lengths.loc[[lengths["ratio"].sub(1).abs().idxmax()]] if len(lengths) else lengths
    level, measure, ratio = next(worst[["vertebra", "measure", "ratio"]].itertuples(index=False), ("", "", np.nan))
    tilt = real[(real["measure"] == "tilt_degrees") & (real["n"] >= LEAST_PATIENTS)].set_index("vertebra")["median"]
    tilt_off = (phantoms.groupby("vertebra")["tilt_degrees"].median() - tilt).abs().median()
    farthest = {"farthest_level": level, "farthest_measure": WORDS.get(measure, ""), "farthest_ratio": float(ratio)}
    return numbers | farthest | {"tilt_off": float(tilt_off), "compared": int(table["vertebra"].nunique())}
