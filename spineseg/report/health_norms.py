"""Measures of the real cases beside what has been published of the same levels, each number with its source."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

SOURCES = {
    # W. H. Cook and J. F. Baker, Comparative analysis of lumbar spine vertebral morphology between Maori and New
    # Zealand Europeans, International Journal of Spine Surgery 15(6), 1072-1081, 2021, table 6 (its superior length
    # stands for the depth here, its canal length for the canal)
    "cook2021": "196 patients, CT",
    # European Spine Journal 19(5), 768-773, 2010, doi 10.1007/s00586-009-1256-6, table 1: means of 120 women and of 120
    # men (its deviations, .04 and .05 degrees, are too small for adults and not used)
    "esj2010": "published, women to men",
    # V. Parihar et al., Computerized tomography-based morphometric analysis of cervical spinal canal in central Indian
    # population, Journal of Neurosciences in Rural Practice, abstract: the largest and the smallest level
    "parihar": "100 adults, CT",
    # D. Shin et al., Morphometric analysis of cervical disc space height and interpedicular distance using computed
    # tomography, Surgical Neurology International 2024, 196, abstract: C2 to T1, all levels together, 18 to 35 years
    "shin2024": "1000 young adults, CT",
    # F. J. Onishi et al., Morphometric analysis of 900 lumbar intervertebral discs, Interdisciplinary Neurosurgery 18,
    # 2019, abstract: means
    "onishi2019": "300 patients, MRI",
    # Measuring dimensions of lumbar intervertebral discs in normal subjects, Anatomical Sciences Journal, A-10-159-1,
    # abstract: 40 to 59 years
    "asj": "14 healthy, MRI",
    # S. Jang et al., Opportunistic osteoporosis screening at routine abdominal and thoracic CT, Radiology 291(2),
    # 360-367, 2019, abstract: from 90 years or older to younger than 30
    "jang2019": "20 374 adults, CT, old to young",
}
CERVICAL = ("C2-C3", "C3-C4", "C4-C5", "C5-C6", "C6-C7", "C7-T1")
ANGLES = {"inner_degrees": "inner part, median", "wedge_degrees": "rim to rim, median"}
SHOWN = {
    "height_anterior_mm": "height, front", "height_middle_mm": "height, middle", "height_posterior_mm": "height, back",
    "depth_mm": "depth", "canal_mm": "canal", "hu_median": "HU", "inner_degrees": "wedge, inner part",
    "wedge_degrees": "wedge, rim to rim",
}  # fmt: skip


@dataclass(frozen=True)
class Norm:
    """What a publication says of one measure at one place.

    Attributes:
        source: Key of `SOURCES`.
        column: Of the tables of `clinical.examine`, or `inner_degrees`, a wedge angle between planes.
        places: Vertebrae or discs that it is said of.
        means: One mean, or those of two groups.
        deviations: Standard deviation of each; empty where none is given.
    """

    source: str
    column: str
    places: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...] = ()

    @property
    def is_disc(self) -> bool:
        """Whether it is said of a disc."""
        return "-" in self.places[0]

    @property
    def where(self) -> str:
        """Such as L5, or `C2-C3 to C7-T1`."""
        return self.places[0] if len(self.places) == 1 else f"{self.places[0]} to {self.places[-1]}"

    @property
    def shown(self) -> str:
        """What it is of, in words."""
        return SHOWN[self.column].replace("height", "disc" if self.is_disc else "body")

    def says(self) -> str:
        """As a page shows it: means with deviations."""
        spread = [f" ± {d:g}" for d in self.deviations] or [""] * len(self.means)
        return " to ".join(f"{mean:g}{one}" for mean, one in zip(self.means, spread, strict=True))

    def is_near(self, value: float) -> bool:
        """Whether a value lies within two standard deviations of the means, or between them.

        Raises:
            ValueError: If no deviations are given.
        """
        if not self.deviations:
            raise ValueError(f"{self.source} gives no standard deviation of {self.column} at {self.where}")
        ends = [(m - 2 * d, m + 2 * d) for m, d in zip(self.means, self.deviations, strict=True)]
        return min(low for low, _ in ends) <= value <= max(high for _, high in ends)


def _each(source, column, places, means, deviations=None):
    """Norms of several places, one mean or pair of means each."""
    spread = deviations or [()] * len(means)
    pairs = zip(places, means, spread, strict=True)
    return [Norm(source, column, (place,), tuple(m), tuple(s)) for place, m, s in pairs]


_WEDGE = (
    ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"),
    [(2.8, 4.8), (2.6, 3.8), (4.6, 5.4), (3.5, 4.9), (2.6, 4.1), (0.7, 2.6), (-1.1, 1.3), (-3.1, -0.7), (-7.8, -4.6)],
)
_LUMBAR = ("L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1")
NORMS = (
    *_each("esj2010", "inner_degrees", *_WEDGE),
    *_each("esj2010", "wedge_degrees", *_WEDGE),
    Norm("cook2021", "height_anterior_mm", ("L5",), (30.3,), (1.9,)),
    Norm("cook2021", "height_posterior_mm", ("L5",), (26.3,), (1.9,)),
    Norm("cook2021", "depth_mm", ("L5",), (35.7,), (3.5,)),
    *_each("parihar", "canal_mm", ("C2", "C4"), [(14.4,), (12.77,)], [(1.63,), (1.48,)]),
    Norm("cook2021", "canal_mm", ("L5",), (15.6,), (2.1,)),
    Norm("jang2019", "hu_median", ("L1",), (89.0, 226.0), (38.0, 44.0)),
    Norm("shin2024", "height_anterior_mm", CERVICAL, (2.6,), (1.0,)),
    Norm("shin2024", "height_middle_mm", CERVICAL, (4.1,), (1.2,)),
    Norm("shin2024", "height_posterior_mm", CERVICAL, (1.8,), (1.0,)),
    *_each("onishi2019", "height_anterior_mm", _LUMBAR[2:], [(9.30,), (10.94,), (12.41,)]),
    *_each(
        "asj", "height_middle_mm", _LUMBAR, [(10.0,), (11.59,), (12.45,), (13.82,), (12.99,)],
        [(1.89,), (1.51,), (1.79,), (1.96,), (2.53,)],
    ),
    *_each(
        "asj", "height_posterior_mm", _LUMBAR, [(7.31,), (8.58,), (9.08,), (10.14,), (8.51,)],
        [(1.71,), (1.66,), (1.22,), (1.01,), (1.08,)],
    ),
)  # fmt: skip


def values_at(answer: dict, norm: Norm) -> pd.Series:
    """What was measured of the real cases at the places of a norm, whole bodies only; empty where nothing was."""
    table, key = ("discs", "disc") if norm.is_disc else ("vertebrae", "vertebra")
    rows = pd.DataFrame([row for case in answer["cases"].values() for row in case[table] if row.get("whole", True)])
    return (
        rows[rows[key].isin(norm.places)][norm.column].dropna().astype(float) if len(rows) else pd.Series(dtype=float)
    )


def norms_table(answer: dict) -> pd.DataFrame:
    """The real cases beside the norms, wedge angles apart: a row per norm that there is a value for.

    Args:
        answer: Of `real_measures.json`.

    Returns:
        Indexed by the measure; `where`, `n`, `median`, `range` (empty for one value), `published`, `of`.
    """
    rows = []
    for norm in NORMS:
        own = values_at(answer, norm)
        if norm.column in ANGLES or not len(own):
            continue
        spread = f"{own.min():.1f} to {own.max():.1f}" if len(own) > 1 else ""
        row = {"measure": norm.shown, "where": norm.where, "n": len(own), "median": f"{own.median():.1f}"}
        rows.append(row | {"range": spread, "published": norm.says(), "of": SOURCES[norm.source]})
    columns = ["measure", "where", "n", "median", "range", "published", "of"]
    return pd.DataFrame(rows, columns=columns).set_index("measure").rename_axis(None)


def wedge_table(answer: dict) -> pd.DataFrame:
    """Wedge angles of the real cases by level, taken both ways, beside the published means of women and men."""
    rows: dict[str, dict] = {}
    for norm in NORMS:
        own = values_at(answer, norm)
        if norm.column in ANGLES and len(own):
            row = rows.setdefault(norm.where, {"n": len(own)})
            row |= {ANGLES[norm.column]: f"{own.median():.1f}", SOURCES[norm.source]: norm.says()}
    columns = ["n", *ANGLES.values(), SOURCES["esj2010"]]
    return pd.DataFrame(rows.values(), index=list(rows), columns=columns)


def norms_words(answer: dict) -> dict:
    """How many medians lie within two standard deviations, which do not, and how far wedge angles are off.

    Args:
        answer: Of `real_measures.json`.

    Returns:
        `norms_near`, `norms_counted`, `norms_sources` that give deviations; `norms_far`, the others; `wedge_levels`;
        `inner_lower` and `rim_lower`, levels that lie below the published means of both sexes, in the inner part of
        endplates and from rim to rim; `inner_off` and `rim_off`, the median distance from the nearer mean, degrees.
    """
    near, counted, far, used = 0, 0, [], set()
    off: dict[str, list[float]] = {"inner_degrees": [], "wedge_degrees": []}
    for norm in NORMS:
        own = values_at(answer, norm)
        if not len(own):
            continue
        median = float(own.median())
        if norm.deviations:
            used.add(norm.source)
            counted, near = counted + 1, near + int(norm.is_near(median))
            far += [] if norm.is_near(median) else [f"{norm.where} ({norm.shown})"]
        elif norm.column in off:
            off[norm.column].append(median - min(max(median, min(norm.means)), max(norm.means)))
    plane, rim = (pd.Series(values, dtype=float) for values in off.values())
    return {
        "norms_near": near, "norms_counted": counted, "norms_sources": len(used), "norms_far": "; ".join(far) or "none",
        "wedge_levels": len(plane), "inner_lower": int((plane < 0).sum()), "inner_off": float(plane.abs().median()),
        "rim_lower": int((rim < 0).sum()), "rim_off": float(rim.abs().median()),
    }  # fmt: skip
