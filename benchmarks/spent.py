"""Where the time goes in a short demo training and in one prediction of a large scan, read off Python's profiler.

Run `python benchmarks/spent.py [--out spent.json] [--name after]`; an answer is kept under its name, so that a change
can be held against what was before it. One thread; a step that calls another is charged only for its own.
"""

import argparse
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from prediction import scan

from spineseg import paths
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.learning import training
from spineseg.learning.inference import Predictor

TRAINING = {"cohort.train": 24, "cohort.validation": 4, "training.epochs": 4, "training.precision": "bf16"}
# what a step is called, and the functions that it is (file, function), none inside another
STEPS = {
    "prediction": {
        "read the scan": [("nifti.py", "read_ct")],
        "bring it onto the grids": [("preparation.py", "prepare_arrays")],
        "coarse network": [("cascade.py", "coarse_logits")],
        "fine network": [("cascade.py", "fine_logits")],
        "guidance for its windows": [("cascade.py", "upsampled")],
        "vertebrae and their order": [("assembly.py", "assemble")],
        "back onto the scan": [("geometry.py", "back_to_original")],
        "write": [("nifti.py", "write")],
    },
    "training": {
        "draw items": [("sampling.py", "__getitem__")],
        "forward and loss": [("tasks.py", "loss")],
        "backward": [("module.py", "manual_backward")],
        "optimiser and clipping": [("muon.py", "step"), ("clip_grad.py", "clip_grad_norm_")],
        "moving average": [("schedule.py", "update")],
        "validation": [("module.py", "validate_now")],
        "checkpoints": [("module.py", "_save")],
    },
}


def spent(function, steps: dict) -> dict:
    """Seconds of each step, of the rest, and in all."""
    profiler = cProfile.Profile(time.process_time)  # of the processor: other work beside it does not count
    profiler.runcall(function)
    stats = pstats.Stats(profiler)
    answer = {}
    for step, functions in steps.items():
        times = [
            cumulative
            for (file, _, name), (_, _, _, cumulative, _) in stats.stats.items()
            if any(name == wanted and Path(file).name == where for where, wanted in functions)
        ]
        answer[step] = round(sum(times), 2)
    answer["the rest"] = round(stats.total_tt - sum(answer.values()), 2)
    return answer | {"total": round(stats.total_tt, 2)}


def prediction(shape) -> dict:
    """A scan as in `prediction.py`, from file to file."""
    array, affine = scan(shape)
    with tempfile.TemporaryDirectory() as folder:
        nifti.write(Path(folder) / "scan.nii.gz", array, affine)

        def go():
            volume = nifti.read_ct(Path(folder) / "scan.nii.gz")
            found = Predictor.boxed()(volume)
            nifti.write(Path(folder) / "out.nii.gz", found.labels, found.affine)

        return spent(go, STEPS["prediction"])


def short_training() -> dict:
    """A few epochs of the demo's cascade on a small cohort that is prepared before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SPINESEG_HOME"] = folder
        training.train(Config.load("demo", "warm", **TRAINING | {"training.epochs": 1}), "cascade")
        config = Config.load("demo", "spent", **TRAINING)
        return spent(lambda: training.train(config, "cascade"), STEPS["training"])


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="now")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 400))
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "spent.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    known = json.loads(options.out.read_text()) if options.out.is_file() else {}
    known[options.name] = {"prediction": prediction(options.shape), "training": short_training()}
    print(json.dumps(known[options.name], indent=1))
    write_text(options.out, json.dumps(known, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
