"""Tables of phantoms that pathology was planted in: what is measured beside what is there."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.clinical import Examination, examine
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.planting import FRACTURES, OF_DISC, OF_VERTEBRA, Pathology
from spineseg.config import MorphometryConfig

VERTEBRA_KINDS = ("fracture", "node", "spur", "low_density")
DISC_KINDS = ("narrow", "vacuum", "sclerosis", "fused", "slip")
SPACING_MM = 1.5
TRUE = "true_"  # before the name of a kind: its severity, 0 to 1, nan where it was not planted


def planted_case(seed: int, pathology: Pathology, config: MorphometryConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make one phantom, a crop around the spine at 1.5 mm, measure it in its own labels, and say what is there.

    Args:
        seed: Decides everything.
        pathology: What is planted.
        config: As for `clinical.examine`.

    Returns:
        As `with_truth`, with a column `seed`.
    """
    scan = generate(seed, spacing_mm=SPACING_MM, anisotropic=False, pathology=pathology, tight=True)
    exam = examine(scan.labels, scan.affine, scan.ct_hu, config=config)
    return tuple(table.assign(seed=seed) for table in with_truth(exam, scan.truth["planted"]))


def with_truth(found: Examination, planted: list[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of an examination with a column for each kind that could have been planted.

    Args:
        found: From `clinical.examine`, vertebrae under their true names.
        planted: `truth["planted"]` of the phantom.

    Returns:
        Vertebrae and discs; `true_<kind>` holds the severity, nan where there is none. Fractures of all shapes are one
        kind; gas comes with a narrow disc, which therefore is both.
    """
    vertebrae, discs = found.vertebrae.copy(), found.discs.copy()
    for table, kinds in ((vertebrae, VERTEBRA_KINDS), (discs, DISC_KINDS)):
        for kind in kinds:
            table[TRUE + kind] = np.nan
    for row in planted:
        kind, severity = row["kind"], row["severity"]
        if kind in OF_VERTEBRA:
            name = "fracture" if kind in FRACTURES else kind
            vertebrae.loc[vertebrae["vertebra"] == row["place"], TRUE + name] = severity
        elif kind in OF_DISC:
            here = discs["disc"] == row["place"]
            discs.loc[here, TRUE + kind] = severity
            if kind == "vacuum":
                discs.loc[here, TRUE + "narrow"] = severity
        elif kind == "low_density":
            vertebrae[TRUE + kind] = severity
    return vertebrae, discs


def renamed(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """A predicted label map whose vertebrae bear the names of those that they lie on.

    So that findings are held against the right vertebra where only its name is wrong; what lies on none is removed,
    and of two that lie on the same one the larger is kept.

    Args:
        labels: `(I, J, K)` predicted.
        reference: `(I, J, K)`.

    Returns:
        `(I, J, K)` uint8.
    """
    count = np.zeros((26, 26), int)
    np.add.at(count, (labels.ravel(), reference.ravel()), 1)
    count[0], count[:, 0] = 0, 0
    table = np.zeros(26, np.uint8)
    for label in np.argsort(count.max(1), kind="stable"):  # the largest last
        if count[label].any():
            name = count[label].argmax()
            table[table == name] = 0
            table[label] = name
    return table[labels]
