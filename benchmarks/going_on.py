"""The demo asked for 40 epochs and then for 70, beside one that is planned for 70: same seed, same phantoms.

Run `python benchmarks/going_on.py WORKDIR [--seeds 0 1 2] [--out going_on.json]`; three quarters of an hour a seed on
one core, the 40 epochs of all seeds first. What the demo itself reaches and how long it trains is
`--plans 40 --seeds 0 1 2 --threads 2 --out benchmarks/results/demo.json`. Both stages go on, as
`spineseg train --profile demo -p epochs 70` lets them, and are scored on phantoms of no split. Rows that are in the
output already are not run again, and a training that was cut off goes on.
"""

import argparse
import itertools
import json
import operator
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spineseg import paths
from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.anatomy.phantom import generate
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.data.store import prepare_cohort
from spineseg.evaluation.scores import case_scores, score_case
from spineseg.learning import training
from spineseg.learning.inference import Predictor

FIRST_SEED, SCANS = 720_000_000, 20  # every second one must show C3
FIRST, LAST = 40, 70  # epochs
PLANNED, SHORT, CONTINUED = f"{LAST}", f"{FIRST}", f"{FIRST}, then {LAST}"
PLANS = (SHORT, CONTINUED, PLANNED)
# pinned: a timed probe could choose another precision for the second training
SETTINGS = {"cluster.workers": 1, "training.precision": "bf16"}
# written down, so that rows of an earlier demo are not taken for rows of this one
OF_THE_DEMO = (
    "training.optimizer", "training.turned_share", "training.blur_share", "coarse.learning_rate",
    "coarse.steps_per_epoch", "fine.batch", "fine.steps_per_epoch",
)  # fmt: skip


def configured(plan: str, seed: int) -> Config:
    """The demo of one seed; the short training and the one that goes on are one run."""
    epochs = FIRST if plan == SHORT else LAST
    run = f"planned-{seed}" if plan == PLANNED else f"continued-{seed}"
    return Config.load("demo", run, **SETTINGS, **{"training.seed": seed, "training.epochs": epochs})


def curves(config: Config) -> dict:
    """Validation of both stages, from the run's history."""
    history = pd.read_csv(paths.run_folder(config.run) / "history.csv")
    columns = ["epoch", "validation_loss", *(f"dice_{r}" for r in REGIONS), "dice_mean", "dice_binary"]
    seen = history[history.validation_loss.notna()]
    return {
        stage: {c: [round(float(v), 4) for v in rows[c]] for c in columns} for stage, rows in seen.groupby("network")
    }


def scored(config: Config) -> pd.DataFrame:
    """Scores of the phantoms of no split, false vertebrae too."""
    predictor, tables = Predictor.of_run(config, "cascade"), []
    for i in range(SCANS):
        needs = ["C3"] if i % 2 else None
        phantom = generate(FIRST_SEED + i, spacing_mm=config.cohort.spacing_mm, needs=needs)
        found = predictor(nifti.Volume(phantom.ct_hu, phantom.affine, ())).labels
        tables.append(score_case(f"{i:02d}", phantom.labels, found, phantom.affine, config=config.evaluation))
    return pd.concat(tables, ignore_index=True)


def main(arguments=None) -> int:
    """Train and score what the output does not have; it is written anew after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--plans", nargs="+", choices=PLANS, default=PLANS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "going_on.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    os.environ["SPINESEG_HOME"] = str(options.workdir.resolve())
    settings = {"profile": "demo", "first_seed": FIRST_SEED, "scans": SCANS, "epochs": [FIRST, LAST], **SETTINGS}
    demo = Config.load("demo")
    settings |= {name: operator.attrgetter(name)(demo) for name in OF_THE_DEMO}
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {"settings": settings, "rows": []}
    if kept["settings"] != settings:
        parser.error(f"{options.out} was measured with other settings; delete it to start afresh")
    done = {(row["plan"], row["seed"]) for row in kept["rows"]}
    for plan, seed in itertools.product(options.plans, options.seeds):
        if (plan, seed) in done:
            continue
        config = configured(plan, seed)
        prepare_cohort(config)
        start = time.perf_counter()
        training.train(config, "cascade")
        minutes = (time.perf_counter() - start) / 60
        scores = scored(config)
        table = scores[scores.reference_voxels > 0]
        kept["held"] = [[int(r.case), VERTEBRAE.index(r.vertebra) + 1] for r in table.itertuples()]  # alike for all
        row = {"plan": plan, "seed": seed, "minutes": round(minutes, 2), "history": curves(config)}
        row |= {"dice": table.dice.round(4).tolist(), "identified": table.identified.astype(int).tolist()}
        bone = case_scores(scores[scores.case.isin(table.case)])  # without a vertebra there is no bone to outline
        row |= {"binary": bone.binary_dice.round(4).tolist()}
        kept["rows"].append(row)
        write_text(options.out, json.dumps(kept) + "\n")
        print(
            f"{plan} epochs, seed {seed}: Dice {table.dice.mean():.3f}, bone {np.mean(row['binary']):.3f}", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
