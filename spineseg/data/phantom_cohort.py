"""The phantom cohort on disk: made when it is first asked for, completed when a part is missing or out of date."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg.config import CohortConfig, Config
from spineseg.data import atomic, nifti
from spineseg.data.digest import hash_files
from spineseg.data.parallel import map_cases
from spineseg.errors import CaseError
from spineseg.paths import raw_folder

TRUTH = ["case", "vertebra", "full_ml", "visible_ml", "visible_share"]


def cohort_folder(config: Config) -> Path:
    """Folder of the cohort's files."""
    return raw_folder(config.cohort.folder or f"phantom-{config.profile}")


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
        generate: Takes the seed, `spacing_mm`, `spread`, `needs` and `bone_only`, returns a phantom; None is the
            project's own.
        progress: Show a bar.

    Returns:
        The cohort's folder: `volumes/`, `segmentations/`, `truth/`, `truth.csv`, `cases.csv`, `cohort.json`.

    Raises:
        CaseError: If the folder holds something else, or a case could not be made or written.
    """
    folder = cohort_folder(config)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "truth").is_dir():
        found, remedy = (
            "a folder with other files",
            "set cohort.layout to what it holds (or auto), or name another folder",
        )
        raise CaseError("not-phantoms", folder, found, "an empty folder or a phantom cohort", remedy)
    if generate is None:
        from spineseg.anatomy.phantom import generate
    recipe = {"spacing_mm": config.cohort.spacing_mm, "spread": config.cohort.spread, "code": source_hash(generate)}
    own = [recipe | wish(i, config.cohort) for i in range(n_phantoms(config))]
    done = recipe | {"count": len(own), "recipes": hashlib.sha256(json.dumps(own).encode()).hexdigest()}
    seal = folder / "cohort.json"
    jobs = [(generate, folder, i, recipe) for i, recipe in enumerate(own) if not _is_made(folder, i, recipe)]
    tables = (folder / "truth.csv", folder / "cases.csv")
    if not jobs and seal.is_file() and json.loads(seal.read_text()) == done and all(t.is_file() for t in tables):
        return folder
    seal.unlink(missing_ok=True)
    (folder / "truth").mkdir(parents=True, exist_ok=True)  # first: it tells our folder from others
    title, files = "phantoms", [_truth_file(folder, i) for _, _, i, _ in jobs]
    for result in map_cases(_make_one, jobs, cluster=config.cluster, title=title, progress=progress, files=files):
        if isinstance(result, CaseError):
            raise result
    _write_tables(folder, config)
    atomic.write_text(seal, json.dumps(done, indent=1))
    return folder


def wish(index: int, cohort: CohortConfig, *, trains: bool = False) -> dict:
    """Seed of a phantom, what its view must hold and whether it is bone alone: both spread evenly over the cases."""
    neck = _is_due(index, cohort.neck_share)
    bone = (trains or index < cohort.train) and _is_due(index, cohort.bone_only_share)
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
    asked = {k: recipe[k] for k in ("spacing_mm", "spread", "needs", "bone_only")}
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
