"""Make the phantoms of the health study: tables of measurements with truth, and crops of vertebrae for a network.

Run `python benchmarks/pathology_cohort.py WORK [--part train] [--count N] [--predicted] [--jobs N]`. Each phantom is a
crop around the spine at 1.5 mm. What is in WORK already is not made again; what other code or other weights made lies
elsewhere, and predicted masks lie apart from what is measured in them, so that a new measure needs no new prediction.
Parts: train (severity .3 to 1), test (likewise, other patients), mild (severity 0 to .3, milder than any trained on).
"""

import argparse
import functools
import hashlib
import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch

import spineseg
from spineseg.anatomy.clinical import examine
from spineseg.anatomy.phantom import Phantom, generate
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom_truth import scan_poses, true_cobb
from spineseg.anatomy.planted_cohort import TRUE, renamed, with_truth
from spineseg.config import MorphometryConfig
from spineseg.data.atomic import atomic_path, write_text
from spineseg.data.digest import hash_files
from spineseg.data.nifti import Volume
from spineseg.learning import health
from spineseg.learning.boxed import card
from spineseg.learning.inference import Predictor
from spineseg.learning.vertebra_crops import crop_of

PARTS = {  # first seed, count, of which predicted too, severity
    "train": (20280000, 160, 160, (0.3, 1.0)),
    "test": (20290000, 40, 40, (0.3, 1.0)),
    "mild": (20300000, 40, 0, (0.0, 0.3)),
}
PREDICTING = ("inference", "windows", "assembly", "cascade", "second_look", "ordering", "vnet")
KINDS, KEPT = ("perfect", "predicted"), "masks"


def weights_sha() -> str:
    """Of both boxed networks, short."""
    known = card()["networks"]
    return hashlib.sha256("".join(known[name]["sha256"] for name in sorted(known)).encode()).hexdigest()[:12]


def folder_of(work: Path, kind: str, part: str) -> Path:
    """Where a part of the cohort lies that this code made, and for predicted masks these weights.

    Args:
        work: That all parts lie in.
        kind: Of `KINDS` for what was measured in such masks, or `KEPT` for the predicted masks themselves.
        part: A name of `PARTS`.

    Returns:
        The folder; it need not be there.
    """
    package = Path(spineseg.__file__).parent
    made_by = [] if kind == KEPT else [hash_files(sorted((package / "anatomy").rglob("*.py")))]
    if kind != "perfect":
        made_by += [hash_files(package / "learning" / f"{name}.py" for name in PREDICTING), weights_sha()]
    return work / "-".join([kind, *made_by]) / part


def read(work: Path, kind: str, part: str) -> dict[str, pd.DataFrame]:
    """Features and truths of a part of the cohort, places that could be measured."""
    return health.with_features(*(rows_of(work, kind, part, table) for table in ("vertebrae", "discs")))


def rows_of(work: Path, kind: str, part: str, table: str) -> pd.DataFrame:
    """A table of all phantoms of a part: `vertebrae`, `discs` or `scan`; empty if there are none."""
    files = sorted(folder_of(work, kind, part).glob(f"*_{table}.csv"))
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True) if files else pd.DataFrame()


def predicted_labels(scan: Phantom, seed: int, folder: Path, predictor) -> np.ndarray:
    """`(I, J, K)` uint8 that the predictor finds in a phantom; from the folder if it has seen this scan before."""
    file, shown = folder / f"{seed}.npz", hashlib.sha256(scan.ct_hu.tobytes() + scan.affine.tobytes()).hexdigest()
    if file.is_file():
        with np.load(file) as kept:
            if str(kept["scan"]) == shown:
                return kept["labels"]
    labels = predictor(Volume(scan.ct_hu, scan.affine, Path(str(seed)))).labels
    with atomic_path(file) as path, path.open("wb") as opened:
        np.savez_compressed(opened, labels=labels, scan=shown)
    return labels


def make(seed: int, severity, folders: dict[str, Path], predictor) -> int:
    """One phantom's tables and crops, in its own labels and, with a predictor, in predicted ones.

    Args:
        seed: Of the phantom.
        severity: Least and most.
        folders: By kind of mask, the kinds that are written; under `KEPT` where predicted masks are kept.
        predictor: `learning.inference.Predictor`; only used for the kind `predicted`.

    Returns:
        The number of vertebrae seen whole in its own labels.
    """
    pathology, config = Pathology(severity=severity), MorphometryConfig()
    scan = generate(seed, spacing_mm=1.5, anisotropic=False, pathology=pathology, tight=True)
    maps = {"perfect": scan.labels}
    if "predicted" in folders:
        maps["predicted"] = renamed(predicted_labels(scan, seed, folders[KEPT], predictor), scan.labels)
    exams = {kind: examine(labels, scan.affine, scan.ct_hu, config=config) for kind, labels in maps.items()}
    seen = [body.name for body in exams["perfect"].bodies.values() if body.is_whole]
    planted = {row["kind"]: row["severity"] for row in scan.truth["planted"]}
    poses, _ = scan_poses(seed, pathology=pathology)
    about = {"seed": seed, "phase": scan.truth["contrast"]}
    for kind, exam in exams.items():
        folder = folders[kind]
        folder.mkdir(parents=True, exist_ok=True)
        vertebrae, discs = with_truth(exam, scan.truth["planted"])
        row = about | exam.angles | {f"{TRUE}cobb": true_cobb(poses, seen), "vertebrae": len(seen)}
        row |= {f"{TRUE}scoliosis": planted.get("scoliosis", np.nan)}
        crops = {b.name: crop_of(b, scan.ct_hu, maps[kind], scan.affine) for b in exam.bodies.values() if b.is_whole}
        np.savez_compressed(folder / f"{seed}.npz", **crops)
        write_text(folder / f"{seed}_scan.csv", pd.DataFrame([row]).to_csv(index=False))
        write_text(folder / f"{seed}_discs.csv", discs.assign(**about).to_csv(index=False))
        write_text(folder / f"{seed}_vertebrae.csv", vertebrae.assign(**about).to_csv(index=False))
    return len(seen)


def missing_of(options) -> list[tuple]:
    """What is missing: arguments of `make_one`, one per phantom."""
    missing = []
    for part in options.part:
        first, number, predicted, severity = PARTS[part]
        folders = {kind: folder_of(options.work, kind, part) for kind in (*KINDS, KEPT)}
        for k, seed in enumerate(range(first, first + min(options.count or number, number))):
            wanted = KINDS if options.predicted and k < predicted else KINDS[:1]
            if all((folders[kind] / f"{seed}_vertebrae.csv").is_file() for kind in wanted):
                continue
            own = {kind: folders[kind] for kind in (wanted if len(wanted) == 1 else folders)}
            missing.append((seed, severity, own))
    return missing


@functools.cache
def boxed_predictor():
    """Of this process."""
    return Predictor.boxed()


def make_one(seed: int, severity, folders: dict[str, Path]) -> int:
    """`make` with the boxed weights, in a process of one thread."""
    warnings.simplefilter("ignore", RuntimeWarning)
    torch.set_num_threads(1)
    return make(seed, severity, folders, boxed_predictor() if "predicted" in folders else None)


def main(arguments=None) -> int:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--count", type=int, help="phantoms per part, the first of them")
    parser.add_argument("--predicted", action="store_true", help="masks that the boxed weights predict too")
    parser.add_argument("--jobs", type=int, default=1, help="processes, a core each")
    options = parser.parse_args(arguments)
    missing = missing_of(options)
    if options.jobs == 1:
        for seed, severity, folders in missing:
            print(seed, make_one(seed, severity, folders), "vertebrae", flush=True)
        return 0
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        made = {pool.submit(make_one, *one): one[0] for one in missing}
        try:
            for done in as_completed(made):
                print(made[done], done.result(), "vertebrae", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else the error is heard when all the others are done
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
