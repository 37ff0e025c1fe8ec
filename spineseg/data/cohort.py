"""Folder layouts to one table of cases; the phantom cohort, made when it is first asked for."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg.config import CohortConfig, Config
from spineseg.data import atomic, nifti
from spineseg.data.digest import hash_files
from spineseg.data.parallel import map_cases
from spineseg.data.presence import presence
from spineseg.errors import CaseError
from spineseg.paths import raw_folder

__all__ = [
    "case_name",
    "cases",
    "cohort_folder",
    "headers",
    "make_phantoms",
    "n_phantoms",
    "presence",
    "source_hash",
    "truth",
]

SUFFIXES = (".nii.gz", ".nii")
TRUTH = ["case", "vertebra", "full_ml", "visible_ml", "visible_share"]


def cohort_folder(config: Config) -> Path:
    """Folder of the cohort's files."""
    return raw_folder(config.cohort.folder or f"phantom-{config.profile}")


def cases(config: Config, *, progress: bool = True) -> pd.DataFrame:
    """The cohort as a table; a phantom cohort is made or completed first.

    Layouts: `phantom` and `kaggle` hold `volumes/<case>.nii` and `segmentations/<case>.nii`, `pairs` holds
    `<case>_ct.nii.gz` and `<case>_seg.nii.gz`; either suffix is accepted anywhere. Files that begin with `._` are
    skipped, and a scan without its segmentation (or the reverse) is left out with a warning that names it.

    Args:
        config: `cohort` says which layout and folder.
        progress: Show a bar while phantoms are made.

    Returns:
        DataFrame with `case` (name), `ct` and `segmentation` (absolute paths), sorted by case.

    Raises:
        CaseError: If the folder is missing or empty, or a case has two files; the message says what to do.
    """
    folder = make_phantoms(config, progress=progress) if config.cohort.layout == "phantom" else cohort_folder(config)
    if config.cohort.layout == "pairs":
        scans, masks = _files(folder, "_ct"), _files(folder, "_seg")
        expected = "files named <case>_ct.nii.gz and <case>_seg.nii.gz"
    else:
        scans, masks = _files(folder / "volumes"), _files(folder / "segmentations")
        expected = "files volumes/<case>.nii and segmentations/<case>.nii"
    if config.cohort.layout == "phantom":  # a larger cohort may lie in the folder
        names = {case_name(i) for i in range(n_phantoms(config))}
        scans, masks = ({n: p for n, p in files.items() if n in names} for files in (scans, masks))
    both = sorted(scans.keys() & masks.keys())
    if not both:
        remedy = "download the data set into this folder (data/README.md), or set cohort.folder to where it is"
        found = (
            "no such folder" if not folder.is_dir() else f"{len(scans)} scans and {len(masks)} segmentations, no pair"
        )
        raise CaseError("cohort", folder, found, expected, remedy)
    for files, what in ((scans, "segmentation"), (masks, "scan")):
        if alone := sorted(files.keys() - set(both)):
            shown = ", ".join(alone[:5]) + (" ..." if len(alone) > 5 else "")
            warnings.warn(f"{folder}: {len(alone)} cases left out, no {what}: {shown}", stacklevel=2)
    rows = [(name, str(scans[name]), str(masks[name])) for name in both]
    return pd.DataFrame(rows, columns=["case", "ct", "segmentation"])


def headers(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the headers say, without reading voxels.

    Args:
        table: From `cases`.

    Returns:
        The table with `shape`, `spacing` (mm), `orientation`, `voxels`, `extent_mm` (three numbers) and `error` (empty
        where the header is fine; the other new columns are missing where it is not).
    """
    rows = []
    for path in table["ct"]:
        try:
            head = nifti.header(path)
        except CaseError as error:
            rows.append({"error": str(error)})
            continue
        extent = tuple(n * s for n, s in zip(head.shape, head.spacing, strict=True))
        row = {"shape": head.shape, "spacing": head.spacing, "orientation": head.orientation}
        rows.append(row | {"voxels": int(np.prod(head.shape)), "extent_mm": extent, "error": ""})
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(rows)], axis=1)


def truth(config: Config) -> pd.DataFrame:
    """Exact volumes in the phantoms: `case, vertebra, full_ml, visible_ml, visible_share`; a row per vertebra."""
    table = pd.read_csv(make_phantoms(config) / "truth.csv")
    return table[table["case"].isin({case_name(i) for i in range(n_phantoms(config))})].reset_index(drop=True)


def case_name(index: int) -> str:
    """Name of phantom `index`."""
    return f"case_{index:04d}"


def n_phantoms(config: Config) -> int:
    """Phantoms of all three parts of the split."""
    return config.cohort.train + config.cohort.validation + config.cohort.test


def make_phantoms(config: Config, *, generate: Callable | None = None, progress: bool = True) -> Path:
    """Make the phantom cohort, or what is missing of it: the seed of case i is `cohort.seed + i`.

    Each case is written atomically, its truth last; a case is made again when seed, voxel size or the generator's
    source changed. The tables are written when all cases exist.

    Args:
        config: `cohort` says how many, where, from which seed.
        generate: Takes the seed, `spacing_mm`, `needs` and `bone_only`, returns a phantom; None is the project's own.
        progress: Show a bar.

    Returns:
        The cohort's folder: `volumes/`, `segmentations/`, `truth/`, `truth.csv`, `cases.csv`, `cohort.json`.

    Raises:
        CaseError: If a case could not be made or written.
    """
    folder = cohort_folder(config)
    if generate is None:
        from spineseg.anatomy.phantom import generate
    recipe = {"spacing_mm": config.cohort.spacing_mm, "code": source_hash(generate)}
    own = [recipe | _wish(i, config.cohort) for i in range(n_phantoms(config))]
    done = recipe | {"count": len(own), "recipes": hashlib.sha256(json.dumps(own).encode()).hexdigest()}
    seal = folder / "cohort.json"
    jobs = [(generate, folder, i, recipe) for i, recipe in enumerate(own) if not _is_made(folder, i, recipe)]
    tables = (folder / "truth.csv", folder / "cases.csv")
    if not jobs and seal.is_file() and json.loads(seal.read_text()) == done and all(t.is_file() for t in tables):
        return folder
    seal.unlink(missing_ok=True)
    for result in map_cases(_make_one, jobs, workers=config.cohort.workers, title="phantoms", progress=progress):
        if isinstance(result, CaseError):
            raise result
    _write_tables(folder, config)
    atomic.write_text(seal, json.dumps(done, indent=1))
    return folder


def _wish(index: int, cohort: CohortConfig) -> dict:
    """Seed of a phantom, what its view must hold and whether it is bone alone: both spread evenly over the cases."""
    neck = _is_due(index, cohort.neck_share)
    bone = index < cohort.train and _is_due(index, cohort.bone_only_share)
    return {"seed": cohort.seed + index, "needs": ["C3"] if neck else None, "bone_only": True if bone else None}


def _is_due(index: int, share: float) -> bool:
    return int((index + 1) * share) > int(index * share)


def source_hash(function: Callable) -> str:
    """Short hash of the sources that a generator lives in: its package's files, or its own file outside a package."""
    file = Path(inspect.getfile(function))
    package = (file.parent / "__init__.py").is_file()
    return hash_files(sorted(file.parent.rglob("*.py")) if package else [file])


def _make_one(job) -> None:
    generate, folder, index, recipe = job
    name = case_name(index)
    asked = {k: recipe[k] for k in ("spacing_mm", "needs", "bone_only")}
    phantom = generate(recipe["seed"], **asked)
    nifti.write(folder / "volumes" / f"{name}.nii", np.asarray(phantom.ct_hu, np.int16), phantom.affine)
    nifti.write(folder / "segmentations" / f"{name}.nii", np.asarray(phantom.labels, np.uint8), phantom.affine)
    record = {"recipe": recipe, "truth": phantom.truth}
    atomic.write_text(_truth_file(folder, index), json.dumps(record))


def _truth_file(folder: Path, index: int) -> Path:
    return folder / "truth" / f"{case_name(index)}.json"


def _is_made(folder: Path, index: int, recipe: dict) -> bool:
    name = f"{case_name(index)}.nii"
    if not ((folder / "volumes" / name).is_file() and (folder / "segmentations" / name).is_file()):
        return False
    try:
        return json.loads(_truth_file(folder, index).read_text())["recipe"] == recipe
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_tables(folder: Path, config: Config) -> None:
    rows, drawn = [], []
    parts = ["train"] * config.cohort.train + ["validation"] * config.cohort.validation + ["test"] * config.cohort.test
    for i, part in enumerate(parts):
        record = json.loads(_truth_file(folder, i).read_text())
        truth = record["truth"]
        rows += [{"case": case_name(i)} | row for row in truth["vertebrae"]]
        plain = pd.json_normalize({k: v for k, v in truth.items() if k != "vertebrae"}).to_dict("records")
        values = plain[0] if plain else {}
        row = {"case": case_name(i), "seed": record["recipe"]["seed"], "split": part}
        drawn.append(row | {k: json.dumps(v) if isinstance(v, list) else v for k, v in values.items() if k not in row})
    table = pd.DataFrame(rows, columns=None if rows else TRUTH)
    atomic.write_text(folder / "truth.csv", table[TRUTH].to_csv(index=False))
    atomic.write_text(folder / "cases.csv", pd.DataFrame(drawn).to_csv(index=False))


def _files(folder: Path, ending: str = "") -> dict[str, Path]:
    """Case name to file."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        stem = next((path.name[: -len(s)] for s in SUFFIXES if path.name.endswith(s)), None)
        if stem is None or path.name.startswith(".") or not stem.endswith(ending) or not stem.removesuffix(ending):
            continue
        name = stem.removesuffix(ending)
        if name in found:
            remedy = "keep the one that you trust and move the other away"
            raise CaseError("two-files", path, f"a second file of {name} beside {found[name].name}", "one file", remedy)
        found[name] = path.absolute()
    return found
