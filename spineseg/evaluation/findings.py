"""What stands out among measurements, by fixed rules that a reader can check against the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.clinical import Examination
from spineseg.config import MorphometryConfig

COLUMNS = ("place", "finding", "value", "rule")
SHAPES = {
    "wedge": "lower in front",
    "biconcave": "lower in the middle",
    "crush": "lower than its neighbours let expect",
}
ROMAN = ("", "I", "II", "III", "IV", "V")


def findings_of(exam: Examination, config: MorphometryConfig) -> pd.DataFrame:
    """List what is outside fixed limits.

    Args:
        exam: From `clinical.examine`.
        config: Limits.

    Returns:
        One row each, from the head down within a kind: `place`, `finding`, `value` (with its unit), `rule`.
    """
    rows = []
    for v in exam.vertebrae.itertuples():
        if v.genant_grade >= 1:
            lost = getattr(v, f"loss_{v.genant_kind}")
            rows.append(
                (v.vertebra, SHAPES[v.genant_kind], f"{lost:.0%}, grade {v.genant_grade:.0f}", "height loss >= 20 %")
            )
        if v.hu_median < config.low_density_hu:
            rows.append(
                (v.vertebra, "low density", f"{v.hu_median:.0f} HU", f"< {config.low_density_hu:g} HU, no contrast")
            )
    for d in exam.discs.itertuples():
        if d.meyerding_grade >= 1:
            grade = ROMAN[int(d.meyerding_grade)]
            rows.append((d.disc, "slip forwards", f"{d.slip_mm:.1f} mm, grade {grade}", ">= 8 % of the depth and 2 mm"))
        if d.gas_share > config.gas_share:
            rows.append(
                (
                    d.disc,
                    "gas in the disc",
                    f"{d.gas_share:.0%} of it",
                    f"> {config.gas_share:.0%} below {config.gas_hu:g} HU",
                )
            )
        if d.height_middle_mm < config.touching_mm:
            rows.append(
                (
                    d.disc,
                    "bodies touch",
                    f"{d.height_middle_mm:.1f} mm",
                    f"disc < {config.touching_mm:g} mm in the middle",
                )
            )
    if exam.angles["cobb"] >= config.scoliosis_degrees:
        place = "-".join(exam.cobb_between)
        rows.append(
            (place, "curve to the side", f"{exam.angles['cobb']:.0f} degrees", f"Cobb >= {config.scoliosis_degrees:g}")
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def flagged(findings: pd.DataFrame) -> set[str]:
    """Names of the vertebrae that a finding concerns; of a slip or a disc both neighbours."""
    return {name for place in findings["place"] for name in str(place).split("-")} if len(findings) else set()


def neighbours_median(values: pd.Series, reach: int = 2) -> pd.Series:
    """For each value the median of up to `reach` neighbours on either side, itself left out; nan without any."""
    array = values.to_numpy(float)
    found = np.full(len(array), np.nan)
    for i in range(len(array)):
        near = np.concatenate([array[max(i - reach, 0) : i], array[i + 1 : i + 1 + reach]])
        if np.isfinite(near).any():
            found[i] = np.nanmedian(near)
    return pd.Series(found, index=values.index)
