"""A run is a folder: what it was asked for, where it came from, and what it has so far."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from spineseg import paths
from spineseg.config import Config
from spineseg.data.atomic import atomic_folder, write_text
from spineseg.errors import CaseError
from spineseg.learning.provenance import provenance

COLUMNS = ["case", "split", "content"]  # of splits.csv
FREE = ("training.epochs", "training.recompute", "training.patience")  # may change from one call to the next
FREE_SECTIONS = (
    "cluster",
    "inference",
    "order",
    "evaluation",
    "report",
    "morphometry",
    "health",
)  # say nothing about the weights


def open_run(config: Config, splits: pd.DataFrame) -> Path:
    """Create the run's folder, or open it if it was made with the same configuration.

    Args:
        config: Names the run.
        splits: `case, split, content` (a hash of the scan); written on creation, compared afterwards.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder belongs to another configuration or other splits; the differences are listed.
    """
    folder = paths.run_folder(config.run)
    record = folder / "config.json"
    if record.is_file():
        check(config)
        known = pd.read_csv(folder / "splits.csv", dtype=str, keep_default_na=False)
        if not known.equals(splits[COLUMNS].astype(str).reset_index(drop=True)):
            remedy = "choose another run name, or delete the folder to start afresh"
            raise ValueError(
                f"run {config.run!r} in {folder} was made with other cases or scans (splits.csv); {remedy}"
            )
    else:
        write_text(folder / "splits.csv", splits[COLUMNS].to_csv(index=False))
        write_text(record, json.dumps(config.to_dict(), indent=1))
    return folder


def check(config: Config) -> None:
    """Refuse a configuration that differs from the run's own in what the weights depend on.

    Raises:
        ValueError: Naming each difference.
    """
    folder = paths.run_folder(config.run)
    record = folder / "config.json"
    if not record.is_file():
        return
    changed = differences(_config_of(record).to_dict(), config.to_dict())
    if changed:
        remedy = f"choose another run name (with --fork {config.run} it goes on from here), or delete the folder"
        raise ValueError(f"run {config.run!r} in {folder} was made with other values: {'; '.join(changed)}; {remedy}")


def fork(config: Config, source: str) -> Path:
    """Begin a run with the networks of another one, under a configuration of its own.

    Args:
        config: Names the new run. Its networks must have the shapes of the other's.
        source: Name of a trained run.

    Returns:
        The new run's folder with a copy of the other's checkpoints and history; training goes on from them.

    Raises:
        CaseError: If there is nothing to begin with, or the new run is there already.
    """
    old, new = paths.run_folder(source), paths.run_folder(config.run)
    if not list((old / "checkpoints").glob("*-last.safetensors")):
        raise CaseError(
            "run-missing", old, "no checkpoint", "a trained run", f"train it: spineseg train --run {source}"
        )
    if new.exists():
        raise CaseError("run-exists", new, "a folder of this name", "a new run", "choose another --run")
    with atomic_folder(new) as folder:
        shutil.copytree(old / "checkpoints", folder / "checkpoints")
        for name in ("history.csv", "history_vertebrae.csv"):
            shutil.copyfile(old / name, folder / name)
        write_text(folder / "fork.json", json.dumps({"source": source, "differences": _fork_differences(old, config)}))
    return new


def _fork_differences(old: Path, config: Config) -> list[str]:
    return differences(_config_of(old / "config.json").to_dict(), config.to_dict())


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder against a second training; the hold ends with the process, however it ends.

    Raises:
        CaseError: If another process holds it.
    """
    import fcntl  # not on Windows, where nothing else here needs it

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            found = f"another process works in it ({file.read().strip() or 'unknown'})"
            remedy = "wait for it, end it, or choose another run name"
            raise CaseError("run-busy", folder, found, "a folder of one process", remedy) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def refuse_lost_checkpoint(folder: Path, network: str, checkpoint: Path) -> None:
    """Refuse to train a network anew whose history says that it was trained.

    A first epoch is let pass: its row is written before its checkpoint, and whatever came between costs that epoch.

    Raises:
        CaseError: If the history has more than one epoch of it.
    """
    history = folder / "history.csv"
    if not history.is_file():
        return
    epochs = int((pd.read_csv(history)["network"] == network).sum())
    if epochs > 1:
        found, remedy = "no such file", "bring it back from a copy, or delete the run's folder to start afresh"
        raise CaseError("checkpoint-missing", checkpoint, found, f"the checkpoint of {epochs} epochs", remedy)


def record_training(config: Config) -> None:
    """Note what this training call was asked for and ran on; a call that finds nothing to do leaves the notes alone."""
    folder = paths.run_folder(config.run)
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=1))
    write_text(folder / "provenance.json", json.dumps(provenance(config), indent=1))


def load_config(run: str) -> Config:
    """The configuration that a run was made with.

    Raises:
        CaseError: If there is no such run, or another version of the package wrote it.
    """
    record = paths.run_folder(run) / "config.json"
    if not record.is_file():
        raise CaseError("run-missing", record, "no such file", "a trained run", f"train it: spineseg train --run {run}")
    return _config_of(record)


def _config_of(record: Path) -> Config:
    try:
        return Config.from_dict(json.loads(record.read_text()))
    except ValueError as error:
        raise CaseError("run-version", record, str(error), "this version's parameters", "train a new run") from error


def differences(before: dict, after: dict, prefix: str = "") -> list[str]:
    """Dotted names whose values differ in a way that matters to the weights, as `name: before -> after`."""
    out = []
    for name in sorted(before.keys() | after.keys()):
        full = f"{prefix}{name}"
        if full in FREE or full in FREE_SECTIONS:
            continue
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            out += differences(old, new, f"{full}.")
        elif old != new:
            out.append(f"{full}: {old} -> {new}")
    return out


def append_rows(path: Path, rows: list[dict], key: list[str]) -> pd.DataFrame:
    """Add rows to a CSV file, replacing those with the same key; the file is rewritten in one step.

    Args:
        path: The file; may be absent.
        rows: New rows.
        key: Columns that identify a row.

    Returns:
        The whole table.
    """
    table = pd.DataFrame(rows)
    if path.is_file():
        old = pd.read_csv(path)
        table = pd.concat([old, table], ignore_index=True) if len(table) else old
        table = table.drop_duplicates(key, keep="last", ignore_index=True)
    if table.empty:
        return table  # no row yet: a file without columns could not be read again
    write_text(path, table.to_csv(index=False))
    return table
