"""Scans to files: a label map and a table of vertebrae for each, here or on the workers of a cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import pandas as pd
import torch

from spineseg import paths
from spineseg.config import ClusterConfig, Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.data.digest import code_version, hash_files
from spineseg.data.parallel import map_cases
from spineseg.errors import CaseError
from spineseg.learning.boxed import card
from spineseg.learning.inference import Predictor
from spineseg.learning.provenance import weights_of
from spineseg.learning.review import vertebra_table
from spineseg.learning.training import METHODS, load_network

BOXED = "boxed"  # as a method: the networks that come with the project, whatever the run
HERE = ClusterConfig(workers=1)


@dataclass(frozen=True)
class Job:
    """One scan to predict.

    Attributes:
        ct: The scan.
        target: Its label map.
        table: Its table of vertebrae, CSV.
        config: Of the run whose networks are used, as JSON; empty for those that come with the project.
        method: `baseline` or `cascade`, of a run.
        version: Of networks and code as `predict_jobs` found them; a worker that has others refuses.
    """

    ct: Path
    target: Path
    table: Path
    config: str = ""
    method: str = "cascade"
    version: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was found in a scan.

    Attributes:
        table: As it was written, see `review.vertebra_table`.
        changes: What the sequence changed or misses, one sentence each.
    """

    table: pd.DataFrame
    changes: list[str]


def predict_one(job: Job) -> Outcome:
    """Predict a scan and write its label map, after its table; a process loads the networks once.

    Raises:
        CaseError: If the CT or the networks cannot be used, memory does not suffice, or this process has other networks
            or other code than the one that asks.
    """
    volume = nifti.read_ct(job.ct)  # a bad file is named before any network is loaded
    if job.version not in ("", version := _version(job.config, job.method)):
        remedy = "give the workers the same checkout and folder of runs, and start them again"
        raise CaseError("other-networks", job.ct, "a worker with other networks or code", "those of the caller", remedy)
    predictor = _predictor(job.config, job.method, version)
    try:
        prediction = predictor(volume)
    except (MemoryError, torch.OutOfMemoryError):
        found, remedy = f"a scan of {volume.array.shape} voxels", "use fewer workers, or a machine with more memory"
        raise CaseError("memory", job.ct, found, "one that fits into memory", remedy) from None
    table = vertebra_table(prediction.found, prediction.affine, predictor.config.inference.sure)
    write_text(job.table, table.to_csv(index=False))
    nifti.write(job.target, prediction.labels, prediction.affine)
    return Outcome(table, list(prediction.found.changes))


def _version(config: str, method: str) -> str:
    """What the label maps of these networks depend on besides the configuration."""
    if config:
        known = weights_of(json.loads(config)["run"])
        digests = [known.get(name, {}).get("sha256", "") for name in METHODS[method]]
    else:
        digests = [network["sha256"] for network in card()["networks"].values()]
    return hashlib.sha256("/".join([*digests, code_version(), _sources()]).encode()).hexdigest()


@cache
def _sources() -> str:
    return hash_files(sorted(Path(__file__).parent.glob("*.py")))


@lru_cache(maxsize=1)
def _predictor(config: str, method: str, _version: str) -> Predictor:
    return Predictor.of_run(Config.from_dict(json.loads(config)), method) if config else Predictor.boxed()


def predict_jobs(jobs: Iterable[Job], cluster: ClusterConfig = HERE, *, title: str = "predict") -> list:
    """Predict scans; a bad one stops no other.

    Args:
        jobs: The scans.
        cluster: One worker and no scheduler: one scan after the other, here, with all threads. Else processes with
            one thread each beside this one, which does the first scans, and a scan whose process was killed is
            predicted again by another.
        title: Of the progress bar.

    Returns:
        One `Outcome` or `CaseError` per job.
    """
    version = cache(_version)
    jobs = [dataclasses.replace(job, version=version(job.config, job.method)) for job in jobs]
    return map_cases(predict_one, jobs, cluster=cluster, title=title, files=[job.ct for job in jobs])


def predict_files(
    config: Config, method: str, files: dict[str, Path], folder: Path, *, label: str = "predict"
) -> pd.DataFrame:
    """Predict CTs whose label map is not in `folder` yet.

    Args:
        config: Names the run; its `cluster.scheduler`, if there is one, has the workers.
        method: Trained method of the run, or `boxed`.
        files: CT by case name.
        folder: Gets `<case>.nii.gz` and `<case>_vertebrae.csv` each.
        label: Of the progress bar.

    Returns:
        `case, prediction` with the path of each label map.

    Raises:
        CaseError: If a CT cannot be used; the others are predicted nevertheless.
    """
    own = "" if method == BOXED else json.dumps(config.to_dict())
    targets = {case: folder / f"{case}.nii.gz" for case in files}
    missing = [c for c, t in targets.items() if not t.is_file() or t.stat().st_mtime < Path(files[c]).stat().st_mtime]
    cluster = config.cluster if config.cluster.scheduler else HERE
    jobs = [Job(Path(files[c]), targets[c], folder / f"{c}_vertebrae.csv", own, method) for c in missing]
    for outcome in predict_jobs(jobs, cluster, title=label):
        if isinstance(outcome, CaseError):
            raise outcome
    return pd.DataFrame({"case": list(targets), "prediction": list(targets.values())}, columns=["case", "prediction"])


def predict_cohort(config: Config, method: str, cases: pd.DataFrame, which: str = "test") -> pd.DataFrame:
    """Predict the cases of one split with a trained method of the run, or only those still missing.

    Predictions are kept under a hash of what made them, so more training does not meet old label maps.

    Args:
        config: Names the run.
        method: `baseline` or `cascade`.
        cases: `case, ct` of the cohort.
        which: Split.

    Returns:
        `case, prediction` with the path of each label map.

    Raises:
        CaseError: As `predict_files`, or if the run was trained on cases of other names.
    """
    splits = pd.read_csv(paths.run_folder(config.run) / "splits.csv", dtype=str)
    chosen = splits.case[splits.split == which]
    files = cases.assign(case=cases.case.astype(str)).set_index("case").ct
    if lost := set(chosen) - set(files.index):
        place, found = paths.run_folder(config.run) / "splits.csv", f"{len(lost)} cases that the cohort lacks"
        remedy = "set cohort as in the run's config.json (names: cohort.pseudonyms), or train a new run"
        raise CaseError("other-cases", place, found, f"the {which} cases of the cohort", remedy)
    files = files[chosen].to_dict()
    return predict_files(config, method, files, predictions_folder(config, method), label=method)


def predictions_folder(config: Config, method: str) -> Path:
    """Folder of the label maps of a method as it is trained and set now: `predictions/<method>-<key>` of the run.

    Besides the run's methods there is `boxed`. The key is a hash of the weights, of the inference and preparation
    settings and of the sources that use them.
    """
    if method == BOXED:
        states = [network["sha256"] for network in card()["networks"].values()]
    else:
        states = [load_network(config, name)[1]["sha256"] for name in METHODS[method]]
    parts = [*states, config.hash("inference", "order", "preparation"), code_version(), _sources()]
    key = hashlib.sha256("/".join(parts).encode()).hexdigest()[:10]
    return paths.run_folder(config.run) / "predictions" / f"{method}-{key}"
