"""Networks: trained, trained again, put into the box, used."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from spineseg.config import ClusterConfig, Config
from spineseg.errors import CASE_ERROR, CaseError

Positional = tyro.conf.Positional


def train(config: Config, method: str, dry_run: bool = False, fork: str = "") -> int:
    """Train a method, or the epochs of it that the run does not have yet."""
    from spineseg import paths
    from spineseg.learning import runs, together
    from spineseg.learning.training import METHODS
    from spineseg.learning.training import train as train_method

    if dry_run:
        from spineseg.learning.cost import forecast

        names = [n for m in (METHODS if method == "both" else (method,)) for n in METHODS[m]]
        print(forecast(config, names))
        return 0
    group = together.group()
    if fork and group.is_first:
        runs.fork(config, fork)
    group.wait()
    for name in METHODS if method == "both" else (method,):
        history = train_method(config, name)
        if not group.is_first:
            continue
        best = history.groupby("network").dice_mean.max()
        for network in METHODS[name]:
            print(f"{network}: {config.training.epochs} epochs, best validation Dice {best[network]:.3f}")
    if group.is_first:
        print(paths.run_folder(config.run))
    return 0


def reproduce(run: Positional[str], name: str = "") -> int:
    """Train a run once more from its own record and say whether the numbers agree.

    Exit status: 0 they agree (weights equal to the bit, or mean Dice close enough), 1 they do not.

    Args:
        run: Trained run.
        name: Of the new run; <run>-again when empty.
    """
    from spineseg.report.reproduce import reproduce as reproduce_run

    comparison = reproduce_run(run, name)
    print(comparison)
    return 0 if comparison.agrees else CASE_ERROR


def pack(run: str = "boxed", stage: str = "") -> int:
    """Put a trained cascade into data/weights, for predict to use when no run is named.

    Args:
        run: Trained run whose best networks are taken.
        stage: coarse or fine alone, of a run that began with the weights there; both when empty.
    """
    from spineseg.learning.cascade import STAGES
    from spineseg.learning.packing import pack as pack_run
    from spineseg.learning.runs import load_config

    if stage and stage not in STAGES:
        raise ValueError(f"stage must be {' or '.join(STAGES)}, got {stage!r}")
    print(pack_run(load_config(run), stages=(stage,) if stage else STAGES))
    return 0


def predict(
    cts: Positional[tuple[Path, ...]],
    out: Path = Path("predictions"),
    run: str = "",
    method: str = "cascade",
    workers: int = 1,
    scheduler: str = ClusterConfig.scheduler,
    case_timeout_s: float = ClusterConfig.case_timeout_s,
) -> int:
    """Name and outline the vertebrae of CTs; each label map lies on its CT's own grid.

    Args:
        cts: NIfTI files.
        out: Folder; gets <name>_seg.nii.gz and <name>_vertebrae.csv each.
        run: Trained run whose networks are used; the weights that come with the project when empty.
        method: baseline or cascade, of a run.
        workers: Processes, each with one thread and memory of its own, beside this one; 1: this one alone, all threads.
        scheduler: Address of a dask scheduler whose workers are used; they must see the same files.
        case_timeout_s: Seconds after which a worker's scan is given up.
    """
    import json

    from spineseg.data.layouts.listing import stem_of
    from spineseg.learning.predicting import Job, predict_jobs
    from spineseg.learning.runs import load_config

    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    stems = [stem_of(ct) or ct.name for ct in cts]
    if twice := sorted({s for s in stems if stems.count(s) > 1}):
        raise ValueError(f"two scans would be written as {twice[0]}_seg.nii.gz; predict them into different folders")
    config = json.dumps(load_config(run).to_dict()) if run else ""
    out = out.resolve()
    jobs = [
        Job(ct.absolute(), out / f"{stem}_seg.nii.gz", out / f"{stem}_vertebrae.csv", config, method)
        for ct, stem in zip(cts, stems, strict=True)
    ]
    outcomes = predict_jobs(jobs, ClusterConfig(workers=workers, scheduler=scheduler, case_timeout_s=case_timeout_s))
    for ct, outcome in zip(cts, outcomes, strict=True):
        if isinstance(outcome, CaseError):
            print(outcome, file=sys.stderr)
            continue
        table = outcome.table
        names = f"{table.vertebra.iloc[0]}-{table.vertebra.iloc[-1]}" if len(table) else "no vertebra"
        print(f"{ct}: {names}, {len(table)} vertebrae, {int(table.review.sum())} to review")
        for change in outcome.changes:
            print(f"  {change}")
    return CASE_ERROR if any(isinstance(outcome, CaseError) for outcome in outcomes) else 0
