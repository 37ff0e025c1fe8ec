"""Where a call comes from: phantoms made for it, or a group's own measured scans with their labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tqdm import tqdm

from spineseg import paths
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.planted_cohort import TRUE, planted_case
from spineseg.config import Config
from spineseg.data.verse_grades import is_verse_table, read_grades
from spineseg.learning import health

BOXED = "health.json"  # the call that comes with the project, in the folder of the weights
COLUMNS = ("scan", "place", "kind")


def boxed() -> Path:
    """File of the call that comes with the project."""
    return paths.weights_folder() / BOXED


def phantom_tables(count: int, seed: int, config: Config) -> dict[str, pd.DataFrame]:
    """Features and truths of phantoms with planted pathology, severity .3 to 1; scans without a spine count too."""
    made = [planted_case(s, Pathology(), config.morphometry) for s in tqdm(range(seed, seed + count), unit="phantom")]
    vertebrae, discs = (pd.concat(tables, ignore_index=True) for tables in zip(*made, strict=True))
    return health.with_features(vertebrae, discs)


def labelled_tables(measured: Path, labels: Path) -> dict[str, pd.DataFrame]:
    """Features of a group's own scans with the group's own labels.

    Args:
        measured: Folder with one folder per scan, as `spineseg measure` writes them.
        labels: CSV with columns `scan` (name of the folder), `place` (a vertebra such as L1, or a disc such as L4-L5)
            and `kind` (any word). What a listed scan has no row for is healthy; a scan that is healthy altogether has
            one row with place and kind empty. Scans that are not listed are left out. Or VerSe's table of Genant
            grades, as `data.verse_grades` reads it.

    Returns:
        Tables `vertebrae` and `discs` with a column `true_<kind>` for every kind of that sort of place.

    Raises:
        ValueError: If a column is missing, a place is neither, or a scan was not measured.
    """
    table = pd.read_csv(labels, dtype=str).fillna("")
    if is_verse_table(table.columns):
        return graded_tables(measured, labels)
    if missing := [c for c in COLUMNS if c not in table]:
        raise ValueError(f"{labels} must have the columns {', '.join(COLUMNS)}, lacks {', '.join(missing)}")
    for row in table[table["place"] != ""].itertuples():
        names = row.place.split("-")
        if len(names) > 2 or any(name not in IDS for name in names) or not row.kind:
            raise ValueError(
                f"{labels}: place and kind must be such as L1 and fracture or L4-L5 and narrow, got {row.place!r} and "
                f"{row.kind!r}"
            )
    parts: dict[str, list[pd.DataFrame]] = {"vertebrae": [], "discs": []}
    for scan in dict.fromkeys(table["scan"]):
        for part, found in parts.items():
            file = measured / scan / f"{part}.csv"
            if not file.is_file():
                raise ValueError(f"{labels} lists {scan!r}, which has no {file}; run spineseg measure on it")
            found.append(pd.read_csv(file, keep_default_na=True).assign(seed=scan))
    both = [pd.concat(found, ignore_index=True) for found in parts.values()]
    for part, name, is_disc in ((both[0], "vertebra", False), (both[1], "disc", True)):
        own = table[(table["place"] != "") & (table["place"].str.contains("-") == is_disc)]
        for kind in dict.fromkeys(own["kind"]):
            listed = set(map(tuple, own[own["kind"] == kind][["scan", "place"]].to_numpy()))
            here = [pair in listed for pair in part[["seed", name]].itertuples(index=False, name=None)]
            part[TRUE + kind] = pd.Series(here, index=part.index).map({True: 1.0, False: float("nan")})
    return health.with_features(*both)


def graded_tables(measured: Path, labels: Path) -> dict[str, pd.DataFrame]:
    """Features of VerSe's measured scans with their Genant grades: a grade of 1 or more is a fracture.

    Args:
        measured: Folder with one folder per scan, named such as verse004 or sub-verse004; scans without one are left
            out.
        labels: VerSe's table as CSV.

    Returns:
        Tables `vertebrae`, the graded ones with a column `true_fracture` (the grade, nan for 0), and `discs`, without
        a truth.

    Raises:
        ValueError: If no graded scan was measured.
    """
    grades, parts = read_grades(labels), {"vertebrae": [], "discs": []}
    known: dict[tuple[str, str], int] = {}
    for names, own in grades.groupby("names", sort=False):
        scan = next((name for name in names if (measured / name / "vertebrae.csv").is_file()), None)
        if scan is None:
            continue
        for part, found in parts.items():
            found.append(pd.read_csv(measured / scan / f"{part}.csv").assign(seed=scan))
        known |= {(scan, place): grade for place, grade in zip(own["place"], own["grade"], strict=True)}
    if not known:
        raise ValueError(f"{measured} has no folder such as verse004 of a scan in {labels}; run spineseg measure first")
    bone, gaps = (pd.concat(found, ignore_index=True) for found in parts.values())
    truth = pd.Series([known.get(pair) for pair in zip(bone["seed"], bone["vertebra"], strict=True)], dtype=float)
    tables = health.with_features(bone.assign(**{f"{TRUE}fracture": truth.where(truth > 0)}), gaps)
    graded = [pair in known for pair in zip(tables["vertebrae"]["seed"], tables["vertebrae"]["vertebra"], strict=True)]
    return tables | {"vertebrae": tables["vertebrae"][graded].reset_index(drop=True)}


def train(tables: dict[str, pd.DataFrame], source: str, out: Path, config: Config) -> list[str]:
    """Fit, write the model and say of how many cases each kind was learnt.

    Args:
        tables: From either of the above.
        source: Words for what they are, kept with the model.
        out: JSON file.
        config: `health` says how.

    Returns:
        A line per kind.

    Raises:
        ValueError: If no kind has enough cases.
    """
    model, lines, about = health.fit(tables, config.health), [], {"source": source, "kinds": {}}
    for part, rows in tables.items():
        for column in [c for c in rows if c.startswith(TRUE)]:
            kind, cases = column.removeprefix(TRUE), int(rows[column].notna().sum())
            fitted = kind in model[part]
            about["kinds"][kind] = {"of": part, "cases": cases, "rows": len(rows), "fitted": fitted}
            lines.append(f"{kind}: {cases} of {len(rows)} {part}" + ("" if fitted else ", too few, not fitted"))
    if not any(model.values()):
        raise ValueError(f"no kind has {config.health.least_cases} cases with and without it: {'; '.join(lines)}")
    health.save(model, out, about)
    return lines
