"""Time and memory against size: prediction by slices, a training step by patch, audit, preparing and scoring by cases.

Run `python benchmarks/growth.py [--only predict] [--out growth.json]`. Each point is a process of its own. The slope is
that of the logarithms: 1 is linear, below 1 a fixed cost is left in it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from stepping import stepper

from spineseg import paths
from spineseg.anatomy.labels import N_CLASSES
from spineseg.anatomy.phantom import generate
from spineseg.config import NetworkConfig
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.learning.losses import dice_ce_loss
from spineseg.learning.vnet import VNet

SEED, SPACING_MM, ACROSS = 20261127, 1.5, 220  # voxels across the body
SLICES, SIDES, CASES = (100, 200, 400, 800), (32, 48, 64, 96), (16, 32, 64, 128)
STEPS = 5


def timed(command: list[str], env: dict | None = None) -> tuple[float, float, str]:
    """Seconds, peak MB and what a process said."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=env)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, said


def predict(folder: Path) -> dict:
    """The box on phantoms mirrored along the spine until they have so many slices of 1.5 mm."""
    phantom = generate(SEED, spacing_mm=SPACING_MM, anisotropic=False, needs=["C7", "S1"])
    affine, points = np.diag([SPACING_MM] * 3 + [1.0]), []
    for count in SLICES:
        room = [(0, max(0, n - m)) for n, m in zip((ACROSS, ACROSS, count), phantom.ct_hu.shape, strict=True)]
        array = np.pad(phantom.ct_hu, room, mode="symmetric")[:ACROSS, :ACROSS, :count]
        nifti.write(folder / f"{count}.nii.gz", array.astype(np.int16), affine)
        points.append(timed(["-m", "spineseg.cli", "predict", f"{folder}/{count}.nii.gz", "--out", f"{folder}/out"]))
    return series("predict", "slices of 1.5 mm", SLICES, points)


def step(folder: Path) -> dict:
    """A training step of a four-level V-Net on one thread."""
    points = []
    for side in SIDES:
        _, peak, said = timed([__file__, "--side", str(side)], os.environ | {"OMP_NUM_THREADS": "1"})
        points.append((float(said), peak, said))
    return series("training step", "voxels of the patch", [side**3 for side in SIDES], points)


def print_step(side: int) -> None:
    """Print the mean seconds of some steps after a first one, which compiles."""
    torch.set_num_threads(1)
    network = VNet(1, N_CLASSES, NetworkConfig(channels=(16, 32, 64, 128), convolutions=(1, 2, 2, 2)))
    image, labels = torch.rand(1, 1, side, side, side), torch.randint(0, N_CLASSES, (1, side, side, side))
    go = stepper(network, dice_ce_loss, image, labels, False)
    go()
    start = time.perf_counter()
    for _ in range(STEPS):
        go()
    print((time.perf_counter() - start) / STEPS)


def cases(folder: Path) -> list[dict]:
    """Audit, preparing and scoring of phantoms of 3 mm, two workers."""
    points: dict[str, list] = {"audit": [], "prepare": [], "score": []}
    for count in CASES:
        home = folder / str(count)
        env = os.environ | {"SPINESEG_HOME": str(home)}
        data = home / "data" / "raw" / "growth"
        subprocess.run([sys.executable, "-m", "spineseg.cli", "phantom", str(data), "--cases", str(count)], check=True)
        cohort = ["--cohort.layout", "kaggle", "--cohort.folder", "growth"]
        audit = "import sys; from spineseg.cli import main; main(['audit', sys.argv[1]])"  # whatever it finds
        points["audit"].append(timed(["-c", audit, str(data)], env))
        points["prepare"].append(timed(["-m", "spineseg.cli", "prepare", "--profile", "demo", *cohort], env))
        labels = str(data / "segmentations")
        score = ["-m", "spineseg.cli", "score", "--reference", labels, "--prediction", labels]
        points["score"].append(timed(score, env))
    return [series(what, "cases", CASES, found) for what, found in points.items()]


def series(what: str, of: str, x, points) -> dict:
    """Points and slope of one curve."""
    seconds = [round(p[0], 3) for p in points]
    slope = float(np.polyfit(np.log(x), np.log(seconds), 1)[0])
    last = float(np.log(seconds[-1] / seconds[-2]) / np.log(x[-1] / x[-2]))
    answer = {"what": what, "of": of, "x": list(x), "seconds": seconds, "peak_mb": [round(p[1]) for p in points]}
    answer |= {"slope": round(slope, 2), "last_slope": round(last, 2)}
    print(json.dumps(answer), flush=True)
    return answer


PARTS = {"predict": predict, "step": step, "cases": cases}


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "growth.json")
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        print_step(options.side)
        return 0
    rows = json.loads(options.out.read_text())["curves"] if options.out.is_file() else []
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[name](Path(folder))
        new = found if isinstance(found, list) else [found]
        rows = [row for row in rows if row["what"] not in {n["what"] for n in new}] + new
        write_text(options.out, json.dumps({"cores": os.cpu_count(), "curves": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
