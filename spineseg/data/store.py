"""Prepared cases on disk, keyed by the content of the scan, the preparation's parameters and the code that prepares."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import time
from pathlib import Path

import blosc2
import numpy as np
import pandas as pd

from spineseg.config import Config
from spineseg.data import atomic, cohort, resources
from spineseg.data.case import Case
from spineseg.data.digest import code_version, content_hash
from spineseg.data.parallel import map_cases
from spineseg.data.preparation import PreparedCase, prepare_arrays, prepare_case
from spineseg.data.reference import no_scan, reference_hash
from spineseg.data.voxels import foreground_of, read_box, unit
from spineseg.errors import CaseError
from spineseg.paths import store_folder

__all__ = ["PreparedCase", "Store", "key", "prepare_arrays", "prepare_case", "prepare_cohort", "prune"]

CHUNK, BLOCK = 64, 32  # voxels per side: compressed together, and the least that is decompressed
LEFTOVER_S = 24 * 3600.0  # an unfinished folder that nobody has written to for so long is nobody's
ARRAYS = ("image", "labels", "coarse_image", "coarse_labels")


class Store:
    """Prepared cases of one cohort.

    A case that is missing, half-written or damaged is prepared again when it is asked for. Pickles without open files.

    Args:
        config: `preparation` is part of each key.
        table: From `cohort.cases`; None asks it for the configured cohort.

    Attributes:
        table: The usable cases.
        failures: One `CaseError` for each case that could not be prepared.
    """

    def __init__(self, config: Config, table: pd.DataFrame | None = None):
        self.config = config
        self.table = cohort.cases(config) if table is None else table
        self.failures: list[CaseError] = []
        self._rows = {str(row.case): Case.of(row) for row in self.table.itertuples(index=False)}
        self._paths: dict[str, Path] = {}
        self._open: dict[str, dict] = {}

    def __getstate__(self):
        return self.__dict__ | {"_open": {}}

    def path(self, case: str) -> Path:
        """Folder of one prepared case; its name is the hash of scan, segmentation, preparation and code."""
        if case not in self._rows:
            raise KeyError(f"case must be one of the store's {len(self._rows)}, got {case!r}")
        if case not in self._paths:
            self._paths[case] = store_folder() / key(self._rows[case], self.config)
        return self._paths[case]

    def load(self, case: str) -> PreparedCase:
        """Read one case whole."""
        arrays = self._arrays(case)
        values = {name: np.asarray(arrays[name][:]) if name in arrays else None for name in ARRAYS}
        geometry_of = {k: np.array(arrays["meta"][k]) for k in ("affine", "coarse_affine", "original_affine")}
        for name in ("image", "coarse_image"):
            values[name] = unit(values[name])
        shape, scan_hash = tuple(arrays["meta"]["original_shape"]), arrays["meta"]["scan_hash"]
        return PreparedCase(case=case, original_shape=shape, scan_hash=scan_hash, **values, **geometry_of)

    def load_coarse(self, case: str) -> dict[str, np.ndarray]:
        """The coarse scan alone: `coarse_image` float32 in [0, 1], `coarse_labels`, `coarse_affine`, `fine_affine`."""
        arrays = self._arrays(case)
        return {
            "coarse_image": unit(np.asarray(arrays["coarse_image"][:])),
            "coarse_labels": np.asarray(arrays["coarse_labels"][:]),
            "coarse_affine": np.array(arrays["meta"]["coarse_affine"]),
            "fine_affine": np.array(arrays["meta"]["affine"]),
        }

    def read_patch(self, case: str, start, shape) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a box of the fine grid; only the chunks that it touches are decompressed.

        Args:
            case: Name.
            start: First voxel along I, J, K; may lie outside.
            shape: Voxels; what lies outside the scan is 0 (air) and background.

        Returns:
            Image float32 in [0, 1] and labels uint8 (None without segmentation), both of `shape`.
        """
        arrays = self._arrays(case)
        labels = read_box(arrays["labels"], start, shape) if "labels" in arrays else None
        return unit(read_box(arrays["image"], start, shape)), labels

    def shape(self, case: str) -> tuple[int, int, int]:
        """Voxels of the fine grid."""
        return tuple(self._arrays(case)["image"].shape)

    def scan_hash(self, case: str) -> str:
        """Equal for two copies of a scan, however they were stored, turned or mirrored."""
        meta = self.path(case) / "meta.json"
        if not meta.is_file():
            self._arrays(case)
        return json.loads(meta.read_text())["scan_hash"]

    def foreground(self, case: str) -> dict[int, np.ndarray]:
        """Coordinates of up to `FOREGROUND_VOXELS` voxels of each class present, `(n, 3)` int32 on the fine grid."""
        return self._arrays(case)["foreground"]

    def _arrays(self, case: str) -> dict:
        if case not in self._open:
            folder = self.path(case)
            if (opened := _open(folder)) is None:
                shutil.rmtree(folder, ignore_errors=True)
                _prepare_one((self._rows[case], self.config, code_version()))
                if (opened := _open(folder)) is None:
                    remedy = "check the disk that holds data/derived"
                    raise CaseError(
                        "store", folder, "a prepared case that is damaged again", "what was written", remedy
                    )
            self._open[case] = opened
        return self._open[case]


def key(row, config: Config) -> str:
    """Name of a prepared case: hash of the scan's and segmentation's bytes, the preparation and this floor's code."""
    _, ct_path, segmentation_path, scheme = Case.of(row)
    if not ct_path:
        raise no_scan(segmentation_path)
    hashes = [content_hash(ct_path)]
    if segmentation_path:
        hashes += [reference_hash(segmentation_path), scheme]
    parts = [*hashes, config.hash("preparation"), code_version()]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:24]


def prepare_cohort(config: Config, table: pd.DataFrame | None = None, *, progress: bool = True) -> Store:
    """Prepare what is not prepared yet; bad cases are named and left out.

    Args:
        config: Cohort, preparation and workers.
        table: From `cohort.cases`; None asks it for the configured cohort.
        progress: Show a bar.

    Returns:
        The store of the usable cases; `failures` holds the others' errors.

    Raises:
        CaseError: The first one, if no case is usable; before the start, if the store cannot be written (code
            unwritable) or the cases do not fit the disk or the memory (codes disk and memory).
    """
    store = Store(config, table)
    resources.require_writable(store_folder())
    _sweep()
    jobs = [(row, config) for row in store._rows.values()]
    files = [row.ct for row in store._rows.values()]
    keys = map_cases(_key, jobs, cluster=config.cluster, title="check inputs", progress=progress, files=files)
    results = {name: k if isinstance(k, CaseError) else None for name, k in zip(store._rows, keys, strict=True)}
    waiting = [n for n in store._rows if results[n] is None and not (store.path(n) / "meta.json").is_file()]
    jobs = [(store._rows[name], config, code_version()) for name in waiting]
    files = [store._rows[name].ct for name in waiting]
    cluster = resources.require(files, config, store_folder())
    outcome = map_cases(_prepare_one, jobs, cluster=cluster, title="prepare", progress=progress, files=files)
    _sweep()
    results |= {name: r for name, r in zip(waiting, outcome, strict=True) if isinstance(r, CaseError)}
    failures = [error for error in results.values() if error]
    if failures and len(failures) == len(results):
        raise failures[0]
    usable = Store(config, store.table[[results[str(n)] is None for n in store.table["case"]]].reset_index(drop=True))
    usable.failures = failures
    return usable


def prune() -> int:
    """Delete prepared cases that other code versions left; returns how many. Not while another version is at work."""
    stale = [
        m.parent for m in store_folder().glob("*/meta.json") if json.loads(m.read_text())["code"] != code_version()
    ]
    for folder in stale:
        shutil.rmtree(folder)
    return len(stale)


def _key(job) -> str:
    return key(*job)


def _prepare_one(job) -> None:
    row, config, code = job
    if code != code_version():
        raise RuntimeError("spineseg/data changed on disk while this process was running; restart it (the kernel)")
    final = store_folder() / key(row, config)
    if (final / "meta.json").is_file():  # by another preparation, or by a worker that was killed before it could say so
        return
    prepared = prepare_case(row, config)
    if final.is_dir() and not (final / "meta.json").is_file():  # half an entry would stand in the way of ours
        shutil.rmtree(final, ignore_errors=True)
    try:
        _write(final, prepared, row, config)
    except (OSError, RuntimeError):
        if not (final / "meta.json").is_file():
            raise  # else another preparation was faster and swept our folder away


def _write(final: Path, prepared: PreparedCase, row, config: Config) -> None:
    with atomic.atomic_folder(final) as folder:
        for name in ARRAYS:
            array = getattr(prepared, name)
            if array is not None:
                _write_array(folder / f"{name}.b2nd", array)
        coordinates = foreground_of(prepared.labels) if prepared.labels is not None else {}
        np.savez(folder / "foreground.npz", **{str(value): where for value, where in coordinates.items()})
        meta = {k: getattr(prepared, k).tolist() for k in ("affine", "coarse_affine", "original_affine")}
        meta["scan_hash"] = prepared.scan_hash
        meta |= {"original_shape": prepared.original_shape, "case": prepared.case, "ct": Case.of(row).ct}
        meta |= {"preparation": dataclasses.asdict(config.preparation), "code": code_version()}
        meta["sha256"] = {p.name: _sha256(p) for p in sorted(folder.iterdir())}
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))


def _sweep() -> None:
    """Delete the unfinished folders that killed workers left."""
    for leftover in store_folder().glob(".*-*"):
        done = (store_folder() / leftover.name.rpartition("-")[2] / "meta.json").is_file()
        with contextlib.suppress(FileNotFoundError):
            if done or time.time() - leftover.stat().st_mtime > LEFTOVER_S:
                shutil.rmtree(leftover, ignore_errors=True)


def _write_array(path: Path, array: np.ndarray) -> None:
    # uint8 keeps a 1800 HU window in steps of 7 HU: half of float16, and it compresses three times better
    stored = array if array.dtype == np.uint8 else np.rint(array * 255).astype(np.uint8)
    chunks, blocks = (tuple(min(n, side) for n in stored.shape) for side in (CHUNK, BLOCK))
    # single bytes: the default shuffle would make a patch take three times as long and the file no smaller
    settings = {"codec": blosc2.Codec.LZ4, "clevel": 5, "nthreads": 1, "filters": [blosc2.Filter.NOFILTER]}
    blosc2.asarray(np.ascontiguousarray(stored), urlpath=str(path), chunks=chunks, blocks=blocks, cparams=settings)


def _open(folder: Path) -> dict | None:
    """Arrays of a prepared case; None when it is missing, incomplete or damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if any(_sha256(folder / name) != value for name, value in meta["sha256"].items()):
            return None
        with np.load(folder / "foreground.npz") as file:
            opened = {"meta": meta, "foreground": {int(value): file[value] for value in file.files}}
        for name in ARRAYS:
            if f"{name}.b2nd" in meta["sha256"]:
                opened[name] = blosc2.open(str(folder / f"{name}.b2nd"), mode="r", dparams={"nthreads": 1})
        return opened
    except (OSError, ValueError, KeyError):
        return None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
