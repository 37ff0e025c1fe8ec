"""Where things live. The only module that names a folder."""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """Folder of `runs/` and `data/`: `$SPINESEG_HOME`, else the checkout above the working folder, else here."""
    if home := os.environ.get("SPINESEG_HOME"):
        return Path(home).resolve()
    here = Path.cwd().resolve()
    return next((p for p in (here, *here.parents) if (p / "spineseg" / "config.py").is_file()), here)


def run_folder(run: str) -> Path:
    """Folder of one run: configuration, provenance, history, checkpoints, predictions, scores."""
    return project_root() / "runs" / run


def raw_folder(name: str) -> Path:
    """Folder of one data set as it was made or downloaded."""
    return project_root() / "data" / "raw" / name


def store_folder() -> Path:
    """Folder of prepared cases, one sub-folder per key."""
    return project_root() / "data" / "derived" / "store"


def pseudonyms_folder() -> Path:
    """Folder of links to cases under pseudonyms and of the tables that say who is who; for the owner's eyes alone."""
    return project_root() / "data" / "pseudonyms"


def weights_folder() -> Path:
    """Folder of the weights that come with the project, `$SPINESEG_WEIGHTS` or `data/weights` of this checkout."""
    default = Path(__file__).resolve().parents[1] / "data" / "weights"
    return Path(os.environ.get("SPINESEG_WEIGHTS", default))


def results_folder() -> Path:
    """Folder of what the benchmarks of this checkout measured, `benchmarks/results`."""
    return Path(__file__).resolve().parents[1] / "benchmarks" / "results"


def pins_file() -> Path:
    """The file of this checkout that locks the libraries; absent where the package is installed without one."""
    return Path(__file__).resolve().parents[1] / "requirements.txt"


def real_ct_folder() -> Path:
    """Folder of real CT pairs outside the project, `$SPINESEG_REALCT` or `../shared/data/realct`; may be absent."""
    default = project_root().parent / "shared" / "data" / "realct"
    return Path(os.environ.get("SPINESEG_REALCT", default))


def build_folder(run: str) -> Path:
    """Folder in which the report of one run is staged and built."""
    return project_root() / "_build" / run
