"""Where a run's numbers come from: code, libraries, machine, seed, data, weights."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from spineseg import paths
from spineseg.config import Config
from spineseg.learning.architectures import NEEDED

COMMIT = "SPINESEG_COMMIT"  # environment variable that names the commit where a copy of the code runs
PACKAGES = ("torch", "numpy", "pandas", "lightning", "nibabel", "safetensors", "spineseg")
OF_WEIGHTS = ("sha256", "epochs", "steps", "seconds", "threads", "precision")


def provenance(config: Config) -> dict:
    """What a call of training runs on.

    Args:
        config: Names the run; hashes of its cases and of their split are there once the run's folder is.

    Returns:
        Plain values: commit and whether tracked files differ from it, hash of the configuration, of the split, of the
        scans' contents and of the file that pins the libraries; seed, versions, device, threads, time. What cannot be
        told is empty.
    """
    peers = any(stage.network.architecture != "vnet" for stage in (config.baseline, config.coarse, config.fine))
    packages = (*PACKAGES, *(NEEDED if peers else ()))
    return {
        "commit": os.environ.get(COMMIT, "") or _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "config_hash": config.hash(),
        **_hashes_of_cases(paths.run_folder(config.run) / "splits.csv"),
        "lock_hash": _hash_of_pins(),
        "seed": config.training.seed,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def weights_of(run: str) -> dict[str, dict]:
    """The networks that a run has, as their checkpoints say.

    Args:
        run: Name of the run.

    Returns:
        By network `sha256, epochs, steps, seconds, threads, precision` of the best weights, and `legs` of the whole
        training: each total of epochs that was asked for, with the step at which the training for it began; empty
        where an older version trained it.
    """
    found = {}
    for path in sorted((paths.run_folder(run) / "checkpoints").glob("*-best.json")):
        name, best = path.stem.removesuffix("-best"), json.loads(path.read_text())
        last = path.with_name(f"{name}-last.json")
        legs = json.loads(last.read_text()).get("legs", []) if last.is_file() else []
        found[name] = {key: best[key] for key in OF_WEIGHTS} | {"legs": legs}
    return found


def _hashes_of_cases(splits: Path) -> dict[str, str]:
    if not splits.is_file():
        return {"data_hash": "", "split_hash": ""}
    table = pd.read_csv(splits, dtype=str, keep_default_na=False).sort_values("case")
    parts = {"data_hash": table["content"].sort_values(), "split_hash": table["case"] + "/" + table["split"]}
    return {name: hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12] for name, rows in parts.items()}


def _hash_of_pins() -> str:
    pins = paths.pins_file()
    return hashlib.sha256(pins.read_bytes()).hexdigest()[:12] if pins.is_file() else ""


def _processor() -> str:
    """The processor's own name where Linux tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*words: str) -> str:
    try:  # of the code that runs, wherever the runs lie
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
