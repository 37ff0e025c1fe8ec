"""Train by the book's two SLURM recipes under time limits that are too short, and see how the trainings end.

Run `python benchmarks/slurm.py FOLDER` where `sbatch` is and two nodes see FOLDER and the project; a quarter of an
hour. The recipes have themselves put back into the queue each time. Then both trainings are made again without SLURM
and without a limit, by as many processes, and the second by one process too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from spineseg import paths
from spineseg.data.atomic import write_text

RECIPES = Path(__file__).resolve().parents[1] / "book" / "recipes"
NETWORK = "baseline"
LIMIT = ["--time", "2", "--signal", "B:TERM@30"]  # which SLURM may send a minute earlier than that
POLL_S = 2.0


def words(run: str, epochs: int, batch: int) -> list[str]:
    """What a recipe hands to `spineseg train`."""
    shared = ["--profile", "smoke", "--run", run, "--method", NETWORK]
    return [*shared, "--epochs", str(epochs), f"--{NETWORK}.batch", str(batch)]


def submitted(recipe: str, log: Path, arguments: list[str], options: list[str]) -> dict:
    """Hand a recipe to SLURM and wait for its end.

    Returns:
        `restarts`, `state` as SLURM says it, `seconds` with those in the queue.
    """
    began = time.monotonic()
    command = ["sbatch", "--parsable", *LIMIT, *options, "-o", str(log), str(RECIPES / recipe), *arguments]
    job = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(";")[0]
    while True:
        shown = subprocess.run(["scontrol", "show", "job", job], check=True, capture_output=True, text=True).stdout
        state, restarts = (re.search(rf"\b{name}=(\w+)", shown)[1] for name in ("JobState", "Restarts"))
        if state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"):
            return {"restarts": int(restarts), "state": state, "seconds": round(time.monotonic() - began, 1)}
        time.sleep(POLL_S)


def same_bytes(run: str, other: str) -> dict[str, bool]:
    """Which checkpoints of two runs are equal."""
    folders = [paths.run_folder(name) / "checkpoints" for name in (run, other)]
    names = sorted(file.name for file in folders[0].glob("*.safetensors"))
    return {name: (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names}


def losses(run: str) -> pd.Series:
    """Training loss of each epoch."""
    return pd.read_csv(paths.run_folder(run) / "history.csv").set_index("epoch")["train_loss"]


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="home of the runs")
    parser.add_argument("--epochs", type=int, nargs=2, default=(90, 60), metavar=("ONE", "TWO"))
    parser.add_argument("--sbatch", default="", help="more options of sbatch, in one string")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "slurm.json")
    options = parser.parse_args()
    os.environ |= {"SPINESEG_HOME": str(options.folder.resolve()), "PER_NODE": "1", "OMP_NUM_THREADS": "1"}
    more = options.sbatch.split()
    answer: dict = {"slurm": subprocess.run(["sbatch", "--version"], capture_output=True, text=True).stdout.strip()}
    train = ["spineseg", "train"]
    together = ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "--", "spineseg.cli", "train"]
    parts = (("one", "train.sbatch", 1, train), ("two", "train_nodes.sbatch", 2, together))
    for epochs, (name, recipe, batch, undisturbed) in zip(options.epochs, parts, strict=True):
        print(name, flush=True)
        log = options.folder / f"{name}.log"
        answer[name] = {"epochs": epochs} | submitted(recipe, log, words(name, epochs, batch), more)
        subprocess.run([*undisturbed, *words(f"{name}-quiet", epochs, batch)], check=True)
        answer[name]["equal"] = same_bytes(name, f"{name}-quiet")
    subprocess.run([*train, *words("two-alone", options.epochs[1], 2)], check=True)
    apart = (losses("two") - losses("two-alone")).abs()
    answer["two"]["loss_differences"] = [float(f"{v:.2g}") for v in apart]  # by epoch
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))
    parts_equal = [all(answer[name]["equal"].values()) and answer[name]["restarts"] for name in ("one", "two")]
    return 0 if all(parts_equal) else 1


if __name__ == "__main__":
    sys.exit(main())
