"""A thousand cases as they come, faults planted among them, workers killed meanwhile: what is found, lost, how long.

    python benchmarks/rehearsal.py WORK_FOLDER [--cases 1089] [--out results.json]

The set is made once in WORK_FOLDER and kept (small phantoms in the Kaggle layout, gaps in the numbering as there).
Every fault of `defects.py` is planted into one case of a copy. The copy is audited and prepared three times:
undisturbed, with a worker process killed every few seconds, and undisturbed again, which the second is compared with.
Then some cases of realistic size are audited and prepared for time and memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from defects import DEFECTS, Pair

from spineseg.anatomy.phantom import generate
from spineseg.config import ClusterConfig, Config
from spineseg.data import nifti
from spineseg.data.affine import to_canonical
from spineseg.data.audit import Severity, audit
from spineseg.data.layouts import list_cases
from spineseg.data.parallel import map_cases
from spineseg.data.store import Store, prepare_cohort
from spineseg.paths import store_folder

CASES, NUMBERS = 1089, 1225  # of the Kaggle set: so many of so many numbers are there
SEED, SPACING_MM = 5_000_000, 6.0  # of the small phantoms
KILL_EVERY_S = 5.0
LARGE, LARGE_SHAPE, LARGE_MM = 20, (300, 300, 400), 1.2
REAL_VOXELS = 17.0e6  # mean of 218 scans of the Kaggle set at 1.5 mm (prada-1/nnunet-spine-segmentation)
LEAST_LABELS, LEAST_WIDTH_MM = 9, 260.0  # of a case that every fault can be planted into
CLUSTER = ClusterConfig(workers=2)


def numbers(cases: int) -> list[int]:
    """Numbers of the cases: from 0 to 1224 with gaps, or as many of them as are asked for."""
    inner = np.random.default_rng(CASES).choice(np.arange(1, NUMBERS - 1), CASES - 2, replace=False)
    return sorted([0, NUMBERS - 1, *inner.tolist()])[:cases]


def make_small(job) -> None:
    """One small pair without sidecars, as others write them."""
    folder, number = job
    files = [folder / part / f"case_{number:04d}.nii" for part in ("volumes", "segmentations")]
    if not files[1].is_file():
        made = generate(SEED + number, spacing_mm=SPACING_MM)
        for file, array in zip(files, (made.ct_hu, made.labels), strict=True):
            nifti.write(file, np.asarray(array), made.affine)
            file.with_name(file.name + ".sha256").unlink()


def make_large(job) -> None:
    """One compressed pair of realistic size: a phantom, cut or filled up with air, with noise of its own."""
    folder, base, number = job
    files = [folder / f"large{number:02d}_{ending}.nii.gz" for ending in ("ct", "seg")]
    if files[1].is_file():
        return
    ct = to_canonical(nifti.read(base / "ct.nii").array, nifti.read(base / "ct.nii").affine)[0]
    labels, affine = to_canonical(nifti.read(base / "seg.nii").array, nifti.read(base / "seg.nii").affine)
    whole, named = np.full(LARGE_SHAPE, -1000, np.int16), np.zeros(LARGE_SHAPE, np.uint8)
    common = tuple(slice(0, min(a, b)) for a, b in zip(LARGE_SHAPE, ct.shape, strict=True))
    whole[common], named[common] = ct[common], labels[common]
    noise = np.random.default_rng(number).integers(-12, 13, LARGE_SHAPE, np.int16)
    for file, array in zip(files, (whole + noise, named), strict=True):
        nifti.write(file, array, affine)


def plant(folder: Path, names: list[str]) -> dict[str, str]:
    """Plant every fault into a case of its own; returns fault to case."""
    suited = []
    for name in names:
        labels = nifti.read(folder / "segmentations" / f"{name}.nii")
        width = to_canonical(labels.array, labels.affine)[0].shape[0] * SPACING_MM
        present = set(np.unique(labels.array)) - {0}
        if len(present) >= LEAST_LABELS and width >= LEAST_WIDTH_MM and {13, 17, 18, 20} <= present:
            ct = nifti.read_ct(folder / "volumes" / f"{name}.nii").array
            if (ct < -500).mean() > 0.05:  # air in and around the body: no bone-only scan
                suited.append(name)
        if len(suited) == 2 * len(DEFECTS):
            break
    if len(suited) < 2 * len(DEFECTS):
        raise SystemExit(f"{len(suited)} cases are wide enough for {len(DEFECTS)} faults and as many sources")
    placed = {}
    for i, (kind, defect) in enumerate(DEFECTS.items()):
        case, other = suited[2 * i : 2 * i + 2]
        files = [folder / part / f"{n}.nii" for n in (case, other) for part in ("volumes", "segmentations")]
        defect.plant(Pair(*files))
        placed[kind] = case
    for sidecar in folder.rglob("*.sha256"):
        sidecar.unlink()
    return placed


@contextmanager
def killer(every_s: float | None):
    """Kill a worker process every few seconds; yields the list of the killed."""
    killed, over = [], threading.Event()

    def kill() -> None:
        while not over.wait(every_s):
            forked = [p for p in psutil.Process().children(recursive=True) if p.ppid() != os.getpid()]
            if forked:
                victim = forked[len(killed) % len(forked)]
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
                    killed.append(victim.pid)

    thread = threading.Thread(target=kill) if every_s else None
    if thread:
        thread.start()
    try:
        yield killed
    finally:
        over.set()
        if thread:
            thread.join()


@contextmanager
def peak_memory():
    """Yields a dict that holds `mb` afterwards: the largest sum of resident memory of this process and its workers."""
    seen, over = {"mb": 0.0}, threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            total = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with suppress(psutil.Error, AttributeError):
                    total += process.memory_full_info().pss  # shared pages are counted once
            seen["mb"] = max(seen["mb"], total / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def run(folder: Path, home: Path, every_s: float | None) -> dict:
    """Audit and prepare a set into a fresh home."""
    shutil.rmtree(home, ignore_errors=True)
    os.environ["SPINESEG_HOME"] = str(home)
    os.sync()  # what was written before must not slow this down
    result: dict = {}
    with peak_memory() as memory, killer(every_s) as killed:
        started = time.perf_counter()
        listing = list_cases(folder)
        found = audit(listing, CLUSTER)
        result["audit_s"] = time.perf_counter() - started
        started = time.perf_counter()
        config = Config.load("smoke", **{"cohort.layout": listing.layout, "cohort.folder": str(folder)})
        store = prepare_cohort(config, listing.table)
        result["prepare_s"] = time.perf_counter() - started
    result |= {"peak_mb": memory["mb"], "kills": len(killed), "prepared": len(store.table)}
    result |= {"refused": len(store.failures), "listed": len(listing.table), "problems": len(listing.problems)}
    result["findings"] = sorted(str(f) for f in found.findings)
    result["found"] = found
    result["hashes"] = hashes(store)
    left = [p for p in store_folder().iterdir() if p.name.startswith(".")]
    result["half_written"] = len(left)
    return result


def hashes(store: Store) -> dict[str, str]:
    """Case to hash of everything that was stored of it."""
    result = {}
    for case in store.table["case"]:
        files = sorted(store.path(case).iterdir())
        digest = hashlib.sha256()
        for file in files:
            text = json.loads(file.read_text())["sha256"] if file.name == "meta.json" else file.read_bytes().hex()
            digest.update(f"{file.name} {text}".encode())
        result[case] = digest.hexdigest()
    return result


def judge(found, placed: dict[str, str]) -> dict:
    """Which planted faults were found, and what else was suspected."""
    by_case: dict[str, set[str]] = {}
    for f in found.findings:
        if f.severity is not Severity.NOTE or f.code == "squeezed":
            by_case.setdefault(f.case, set()).add(f.code)
    duplicates = {c for codes in by_case.values() for c in codes if c.startswith("duplicate")}
    missed = [k for k, case in placed.items() if not (by_case.get(case, set()) | duplicates) & set(DEFECTS[k].codes)]
    planted = set(placed.values())
    others: dict[str, list[str]] = {}
    for case, codes in by_case.items():
        for code in codes:
            if case not in planted and not code.startswith("duplicate"):
                others.setdefault(code, []).append(case)
    return {"planted": len(placed), "missed": missed, "others": {k: len(v) for k, v in sorted(others.items())}}


def large_cases(work: Path) -> dict:
    """Time and memory of cases of realistic size, and what follows for the whole set."""
    folder, base = work / "large", work / "large_base"
    if not (base / "seg.nii").is_file():
        made = generate(3, spacing_mm=LARGE_MM, anisotropic=False)
        nifti.write(base / "ct.nii", made.ct_hu, made.affine)
        nifti.write(base / "seg.nii", made.labels, made.affine)
    map_cases(make_large, [(folder, base, i) for i in range(LARGE)], cluster=CLUSTER, title="large cases")
    shutil.rmtree(work / "home-large", ignore_errors=True)
    os.environ["SPINESEG_HOME"] = str(work / "home-large")
    result: dict = {"cases": LARGE, "shape": LARGE_SHAPE}
    listing = list_cases(folder)
    with peak_memory() as memory:
        started = time.perf_counter()
        audit(listing, CLUSTER)
        result["audit_s"] = time.perf_counter() - started
    result["audit_peak_mb"] = memory["mb"]
    overrides = {"cohort.layout": "pairs", "cohort.folder": str(folder)}
    with peak_memory() as memory:
        started = time.perf_counter()
        prepare_cohort(Config.load("full", **overrides), listing.table)
        result["prepare_s"] = time.perf_counter() - started
    result["prepare_peak_mb"] = memory["mb"]
    share = REAL_VOXELS / np.prod(LARGE_SHAPE)
    for name in ("audit", "prepare"):
        minutes = result[f"{name}_s"] / LARGE * CASES / 60
        result[f"{name}_minutes_for_{CASES}"] = {"of_this_size": minutes, "of_the_real_mean_size": minutes * share}
    return result


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    work = options.work.resolve()
    clean, planted = work / "clean", work / "planted"
    os.environ["SPINESEG_HOME"] = str(work / "home-make")
    names = [f"case_{n:04d}" for n in numbers(options.cases)]
    map_cases(make_small, [(clean, n) for n in numbers(options.cases)], cluster=CLUSTER, title="small cases")
    shutil.rmtree(planted, ignore_errors=True)
    shutil.copytree(clean, planted)
    placed = plant(planted, names)
    run(planted, work / "home-calm", None)  # the first run pays for cold files
    wild = run(planted, work / "home-wild", KILL_EVERY_S)
    calm = run(planted, work / "home-calm", None)
    report = {"cases": options.cases} | judge(calm["found"], placed)
    report["same_findings"] = calm["findings"] == wild["findings"]
    report["same_store"] = calm["hashes"] == wild["hashes"]
    for name in (
        "listed",
        "problems",
        "prepared",
        "refused",
        "kills",
        "half_written",
        "audit_s",
        "prepare_s",
        "peak_mb",
    ):
        report[name] = {"undisturbed": calm[name], "killed": wild[name]}
    total = [run_["audit_s"] + run_["prepare_s"] for run_ in (calm, wild)]
    report["longer"] = total[1] / total[0] - 1
    report["large"] = large_cases(work)
    text = json.dumps(report, indent=1, default=lambda v: float(v))
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
