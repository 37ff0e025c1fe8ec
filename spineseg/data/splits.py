"""Which case is for training, which for validation, which for the test."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from spineseg.config import Config

PARTS = ("train", "validation", "test")


def split(cases: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Assign every case to one part.

    Phantoms: the first `cohort.train` cases, then `cohort.validation`, then the test. Real data: cases (or patients,
    where the table has a `patient` column) are put in an order drawn from `cohort.seed` and their own name and cut at
    the shares; adding or dropping cases moves few of the others.

    Args:
        cases: Table with `case`, from `cohort.cases`.
        config: `cohort` holds counts, shares and seed.

    Returns:
        DataFrame with `case` and `split` (train, validation or test), in the order of `cases`.

    Raises:
        ValueError: If there are too few cases for three parts or a case is listed twice.
    """
    names = cases["case"].astype(str).tolist()
    if len(set(names)) < len(names):
        twice = sorted(cases["case"][cases["case"].duplicated()])[0]
        raise ValueError(f"cases must be listed once, {twice!r} is there twice; drop one of the rows")
    if config.cohort.layout == "phantom":
        counts = (config.cohort.train, config.cohort.validation, config.cohort.test)
        if len(names) != sum(counts):
            raise ValueError(f"cases must hold all {sum(counts)} phantoms, got {len(names)}; make the cohort again")
        part_of = dict(zip(sorted(names), np.repeat(PARTS, counts).tolist(), strict=True))
        return pd.DataFrame({"case": names, "split": [part_of[n] for n in names]})
    group = cases["patient"].astype(str).tolist() if "patient" in cases else names
    order = sorted(set(group), key=lambda g: hashlib.sha256(f"{config.cohort.seed}/{g}".encode()).digest())
    if len(order) < len(PARTS):
        raise ValueError(f"cases must come from 3 patients or more to be split, got {len(order)}; add cases")
    train = round(len(order) * config.cohort.train_share)
    validation = max(1, round(len(order) * config.cohort.validation_share))
    train = max(1, min(train, len(order) - validation - 1))
    validation = min(validation, len(order) - train - 1)
    counts = (train, validation, len(order) - train - validation)
    part_of = dict(zip(order, np.repeat(PARTS, counts).tolist(), strict=True))
    return pd.DataFrame({"case": names, "split": [part_of[g] for g in group]})


def refuse_leaks(table: pd.DataFrame, digests: dict[str, str]) -> None:
    """Stop when the same scan is in two parts of the split.

    Args:
        table: From `split`.
        digests: Content hash of each case's scan.

    Raises:
        ValueError: Naming the cases.
    """
    seen: dict[str, tuple[str, str]] = {}
    for case, part in zip(table["case"], table["split"], strict=True):
        other, other_part = seen.setdefault(digests[case], (case, part))
        if other_part != part:
            raise ValueError(
                f"cases {other!r} ({other_part}) and {case!r} ({part}) hold the same scan: a test on seen data; "
                "remove one of the two from the cohort's folder"
            )
