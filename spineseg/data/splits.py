"""Which case is for training, which for validation, which for the test."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from spineseg.config import Config

PARTS = ("train", "validation", "test")


def split(cases: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Assign every case to one part.

    Phantoms: the first `cohort.train` cases, then `cohort.validation`, then the test. Real data: the official part
    where the table's `split` names one (and `cohort.official_split` is on); the other cases, or a part that the
    official split does not have, are drawn. Patients (the cases, where the table has no `patient`) are put in an order
    drawn from `cohort.seed` and their own name and cut at the shares; adding or dropping cases moves few of the others.

    Args:
        cases: Table with `case`, from `cohort.cases`.
        config: `cohort` holds counts, shares and seed.

    Returns:
        DataFrame with `case` and `split` (train, validation or test), in the order of `cases`.

    Raises:
        ValueError: If there are too few cases for three parts, a case is listed twice, or the official split puts one
            patient in two parts or leaves none to train on.
    """
    names = cases["case"].astype(str).tolist()
    if len(set(names)) < len(names):
        twice = sorted(cases["case"][cases["case"].duplicated()])[0]
        raise ValueError(f"cases must be listed once, {twice!r} is there twice; drop one of the rows")
    if config.cohort.layout == "phantom":
        counts = (config.cohort.train, config.cohort.validation, config.cohort.test)
        if len(names) != sum(counts):
            raise ValueError(f"cases must hold all {sum(counts)} phantoms, got {len(names)}; make the cohort again")
        part_of = dict(zip(sorted(names, key=lambda n: (len(n), n)), np.repeat(PARTS, counts).tolist(), strict=True))
        return pd.DataFrame({"case": names, "split": [part_of[n] for n in names]})
    patients = cases["patient"].astype(str).tolist() if "patient" in cases else names
    official = cases["split"].astype(str).tolist() if "split" in cases else [""] * len(names)
    if not config.cohort.official_split:
        official = [""] * len(names)
    part_of = _official(patients, official)
    missing = [part for part in PARTS if part not in part_of.values()]
    free = set(patients) - part_of.keys()
    if missing:  # a part that the publisher left to the user comes out of training
        free |= {patient for patient, part in part_of.items() if part == "train"}
        missing = ["train", *(part for part in missing if part != "train")]
    part_of |= _drawn(free, missing or ["train"], config)
    if "train" not in part_of.values():
        raise ValueError("the official split leaves no case to train on; set cohort.official_split off, or add cases")
    return pd.DataFrame({"case": names, "split": [part_of[p] for p in patients]})


def _official(patients: list[str], parts: list[str]) -> dict[str, str]:
    part_of: dict[str, str] = {}
    for patient, part in zip(patients, parts, strict=True):
        if part and part_of.setdefault(patient, part) != part:
            both = f"{part_of[patient]} and {part}"
            raise ValueError(f"patient {patient!r} is in {both} of the official split; set cohort.official_split off")
    return part_of


def _drawn(patients: set[str], parts: list[str], config: Config) -> dict[str, str]:
    """Part of each patient; every part gets one at least."""
    order = sorted(patients, key=lambda p: hashlib.sha256(f"{config.cohort.seed}/{p}".encode()).digest())
    if not order:
        return {}
    if len(order) < len(parts):
        raise ValueError(f"cases must come from {len(parts)} patients or more to be split, got {len(order)}; add cases")
    train, validation = config.cohort.train_share, config.cohort.validation_share
    shares = {"train": train, "validation": validation, "test": 1 - train - validation}
    total = sum(shares[part] for part in parts)
    counts, left = [], len(order)
    for i, part in enumerate(parts):
        still = len(parts) - i - 1  # parts that need one patient each
        counts.append(max(1, min(round(len(order) * shares[part] / total), left - still)) if still else left)
        left -= counts[-1]
    return dict(zip(order, np.repeat(parts, counts).tolist(), strict=True))


def refuse_leaks(table: pd.DataFrame, digests: dict[str, str]) -> None:
    """Stop when the same scan is in two parts of the split.

    Args:
        table: From `split`.
        digests: Hash of each case's image.

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
