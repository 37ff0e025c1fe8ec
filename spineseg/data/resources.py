"""Whether a preparation fits this machine: disk, memory and a folder that can be written, asked before it starts."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

from spineseg.config import ClusterConfig, Config, PreparationConfig
from spineseg.data.affine import grid_at
from spineseg.data.header import header
from spineseg.errors import CaseError

# Measured on phantoms of 64 to 250 voxels a side, 3 and 1.5 mm, brought to 1.5 and 3 mm, plain and compressed: at the
# peak 14 to 19 bytes of memory a voxel of the larger of the two grids, on disk .51 to .80 bytes a fine voxel
MEMORY_PER_VOXEL = 24
MEMORY_OF_A_WORKER = 300 << 20  # with torch, before its first case
MEMORY_SHARE = 0.9  # of what is free
DISK_PER_VOXEL = 1.1  # both grids; a byte a voxel that does not compress at all, labels, and the file system's blocks
SPARE_BYTES = 64 << 20  # stay free beside what is written
DISK_PER_CASE = 5 << 18  # coordinates of 25 classes


class Demand(NamedTuple):
    """What preparing one case takes.

    Attributes:
        memory: Bytes at the peak, beside what a worker process takes anyway.
        disk: Bytes in the store.
    """

    memory: int
    disk: int


def demand(ct_path, preparation: PreparationConfig) -> Demand:
    """Estimate from the header what preparing a scan takes; no voxel is read.

    Raises:
        CaseError: If the header is unusable.
    """
    scan = header(ct_path)
    spacings = (preparation.spacing_mm, preparation.coarse_spacing_mm)
    fine, coarse = (math.prod(grid_at(scan.affine, scan.shape, spacing)[1]) for spacing in spacings)
    voxels = math.prod(scan.shape)
    read = max(scan.dtype.itemsize - 2, 0) * voxels  # int16 is what was measured
    return Demand(MEMORY_PER_VOXEL * max(voxels, fine) + read, int(DISK_PER_VOXEL * (fine + coarse)) + DISK_PER_CASE)


def require(ct_paths: Iterable, config: Config, folder: Path) -> ClusterConfig:
    """Refuse a preparation that does not fit, before it starts.

    Args:
        ct_paths: Scans that are to be prepared; those with an unusable header are left to the preparation.
        config: Its `preparation` and `cluster`.
        folder: Where prepared cases go.

    Returns:
        `config.cluster`, with fewer workers (and a warning) where memory is short. Workers of a scheduler may be on
        another machine, so theirs is not looked at.

    Raises:
        CaseError: If the disk is too small (code disk-full) or not even one case at a time fits the memory (code
            memory).
    """
    demands = {}
    for path in ct_paths:
        try:
            demands[path] = demand(path, config.preparation)
        except CaseError:
            continue
    need_space(folder, sum(d.disk for d in demands.values()), f"{len(demands)} prepared cases")
    if config.cluster.scheduler or not demands:
        return config.cluster
    return _fewer_workers(demands, config.cluster)


def require_writable(folder: Path) -> None:
    """Make a folder, and refuse one that cannot be written.

    Raises:
        CaseError: Code unwritable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        found = f"the system says: {error.strerror or type(error).__name__}"
        remedy = "change its permissions, or set SPINESEG_HOME to another folder"
        raise CaseError("unwritable", folder, found, "a folder that can be written", remedy) from None


def free_memory() -> int:
    """Bytes that can be taken without swapping, within the limit of a container."""
    free, group = psutil.virtual_memory().available, Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (group / "memory.stat").read_text().splitlines()
        cached = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):  # no container, or no limit: the file says "max"
        return free
    return max(0, min(free, limit - used + cached))


def _fewer_workers(demands: dict, cluster: ClusterConfig) -> ClusterConfig:
    free = int(MEMORY_SHARE * free_memory())
    largest = sorted((d.memory for d in demands.values()), reverse=True)[: cluster.workers]
    needed = [0]  # by 0, 1, 2 .. of the largest cases at once
    for memory in largest:
        needed.append(needed[-1] + memory + MEMORY_OF_A_WORKER)
    fitting = sum(total <= free for total in needed[1:])
    if fitting == 0:
        path = max(demands, key=lambda p: demands[p].memory)
        found = f"a scan whose preparation takes about {size_text(needed[1])} of memory, and {size_text(free)} free"
        raise CaseError("memory", path, found, "enough for one case", "close other programs, or leave the case out")
    if fitting < len(largest):
        text = f"{size_text(free)} of memory are free and {len(largest)} cases at once may take {size_text(needed[-1])}"
        warnings.warn(f"{text}: {fitting} workers in place of {cluster.workers}", stacklevel=4)
        return dataclasses.replace(cluster, workers=fitting)
    return cluster


def need_space(folder: Path, needed: int, purpose: str) -> None:
    """See that the disk has room before anything is written.

    Args:
        folder: An existing folder on the disk in question.
        needed: Bytes that will be written.
        purpose: What they are, for the message.

    Raises:
        CaseError: If it has not; code `disk-full`.
    """
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        expected = f"{size_text(needed)} for {purpose} and {size_text(SPARE_BYTES)} to spare"
        remedy = "free some space, or name a folder on another disk (SPINESEG_HOME for prepared cases)"
        raise CaseError("disk-full", folder, f"{size_text(free)} free", expected, remedy)


def size_text(size: float) -> str:
    """A number of bytes for people, such as `23.58 GB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= least:
            return f"{size / least:.2f} {unit}"
    return f"{size:.0f} bytes"
