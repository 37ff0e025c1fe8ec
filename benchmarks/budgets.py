"""Networks, losses and training lengths under equal budgets: the demo's phantoms, the same seeds, phantoms of no split.

Run `python benchmarks/budgets.py WORKDIR [--jobs 8] [--minutes 8] [--only TEXT ...] [--out budgets.json]`: on a GPU in
a quarter of an hour with eight processes side by side, on one core of a CPU, where the setting is smaller, in some
hours. Networks take the fine stage's place in the cascade, behind one coarse network for all: the same number of steps,
then as many as their own take the time of ours; step times are taken first, with nothing beside them. Losses are
compared where 26 classes are told apart, in the coarse stage. Rows that are in the output already are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import budget_training
import torch
from budget_rows import FIRST_SEED, GUIDE, LOSS_ALONE, NETWORKS, RATE, SETTINGS, Row, configured, rows
from run import machine, versions
from side_by_side import Workers

from spineseg import paths
from spineseg.config import Config
from spineseg.data.atomic import write_text
from spineseg.data.store import prepare_cohort

OUTPUTS = {"cpu": "budgets.json", "cuda": "budgets_gpu.json", "tiny": "budgets_tiny.json"}
MAKERS = 12  # processes that make the cohort, where there are as many cores


def attempted(job: tuple[Row, Config, int]) -> dict:
    """`budget_training.take`, or what went wrong: one row stops no other."""
    try:
        return budget_training.take(*job)
    except Exception:
        return dataclasses.asdict(job[0]) | {"error": traceback.format_exc()}


def prepare(config: Config, losses: Config, workers: Workers, scans: int) -> None:
    """Make the cohort and the phantoms of no split, and prepare the cohort for both kinds of training."""
    makers = max(1, min(MAKERS, (os.cpu_count() or 1) - 1)) if workers.processes else 1
    for one in (config, losses):
        prepare_cohort(dataclasses.replace(one, cluster=dataclasses.replace(one.cluster, workers=makers)))
    make = functools.partial(budget_training.scan_file, config.cohort.spacing_mm)
    list(workers.each(make, range(scans)))


def main(arguments=None) -> int:
    """Run the rows that the output does not have; it is written anew after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose part, name or seed holds one of these")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which what is not done is left")
    parser.add_argument("--tiny", action="store_true", help="toy sizes: that everything runs, not how well")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    until = began + 60 * options.minutes
    os.environ["SPINESEG_HOME"] = str(options.workdir.resolve())
    name = "tiny" if options.tiny else options.device
    setting, out = SETTINGS[name], options.out or paths.results_folder() / OUTPUTS[name]
    settings = json.loads(json.dumps({
        "profile": "demo", "first_seed": FIRST_SEED, "scans": setting.scans, **setting.shared, "guide": setting.guide,
        "losses": setting.losses | LOSS_ALONE, "networks": NETWORKS, "rate": RATE,
    }))  # fmt: skip
    kept = json.loads(out.read_text()) if out.is_file() else {"settings": settings, "alone": {}, "rows": []}
    if kept["settings"] != settings:
        parser.error(f"{out} was measured with other settings; delete it and {options.workdir} to start afresh")
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    kept |= {"machine": machine() | {"device": device}, "versions": versions()}

    def note(found: dict) -> None:
        if "error" in found:
            print(f"{found['part']} {found['name']} {found['seed']} failed\n{found['error']}", flush=True)
            return
        kept["held"] = found.pop("held")  # alike for all
        said = (
            f"{time.monotonic() - until + 60 * options.minutes:.0f} s: {found['part']} {found['name']} {found['seed']}"
        )
        print(f"{said}: {found['seconds']} s, {found['steps']} steps, {found.pop('said')}", flush=True)
        kept["rows"].append(found)
        write_text(out, json.dumps(kept) + "\n")

    def wanted(row: Row) -> bool:
        words = " ".join(map(str, dataclasses.astuple(row)))
        return dataclasses.astuple(row) not in done and any(text in words for text in options.only)

    workers = Workers(options.jobs)
    try:
        guide = configured(GUIDE, setting, {})
        prepare(guide, configured(Row("loss", "logistic"), setting, {}), workers, setting.scans)
        if not any(r["part"] == "guide" for r in kept["rows"]):
            note(attempted((GUIDE, guide, setting.scans)))
        for network in NETWORKS:
            if network not in kept["alone"]:
                config = configured(Row("steps", network), setting, {})
                kept["alone"][network] = budget_training.times_alone(config, options.device, setting.scans)
                print(f"{network}: {kept['alone'][network]}", flush=True)
        write_text(out, json.dumps(kept) + "\n")
        done = {(r["part"], r["name"], r["seed"]) for r in kept["rows"]}
        jobs = [(row, configured(row, setting, kept["alone"]), setting.scans) for row in rows() if wanted(row)]
        for found in workers.each(attempted, jobs, until=until):
            note(found)
    finally:
        workers.kill()
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
