"""Kill a training again and again at random and see whether it ends as an undisturbed one, byte for byte.

Run `python benchmarks/kills.py FOLDER [--kills 100] [--epochs 150]`; half an hour for a hundred kills. After each kill
the checkpoint that the next call would go on from is read.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from spineseg import paths
from spineseg.data.atomic import write_text
from spineseg.errors import CaseError
from spineseg.learning import checkpoints

COMMAND = "import sys; from spineseg.cli import main; sys.exit(main())"
NETWORK = "baseline"


def start(run: str, epochs: int) -> subprocess.Popen:
    """`spineseg train` of the smoke profile's baseline."""
    words = ["train", "--profile", "smoke", "--run", run, "--method", NETWORK, "--epochs", str(epochs)]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def checkpoint_folder(run: str) -> Path:
    """Where a run's checkpoints lie."""
    return paths.run_folder(run) / "checkpoints"


def read(run: str) -> int:
    """Steps of the checkpoint that is gone on from, 0 if there is none; -1 if there are files and none can be read."""
    folder = checkpoint_folder(run)
    try:
        found = checkpoints.latest(folder / f"{NETWORK}-last.safetensors", folder / f"{NETWORK}-previous.safetensors")
    except CaseError:
        return -1
    return found[1]["steps"] if found else 0


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="home of the two runs")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=3.0, help="seconds after a step was seen to be done")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "kills.json")
    options = parser.parse_args()
    os.environ["SPINESEG_HOME"] = str(options.folder.resolve())
    began = time.monotonic()
    if start("whole", options.epochs).wait() != 0:
        raise SystemExit("the undisturbed training failed")
    undisturbed = time.monotonic() - began
    draw, steps, kills, unreadable = random.Random(options.seed), 0, 0, 0
    while True:
        child = start("killed", options.epochs)
        if kills < options.kills:
            while child.poll() is None and read("killed") <= steps:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, options.longest))
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                kills += 1
        if child.wait() == 0:
            break
        now = read("killed")
        unreadable += now < 0
        steps = max(steps, now)
        print(f"kill {kills}: step {now}", flush=True)
    names = [f"{NETWORK}-{which}.safetensors" for which in ("last", "best", "previous")]
    same = {
        n: (checkpoint_folder("whole") / n).read_bytes() == (checkpoint_folder("killed") / n).read_bytes()
        for n in names
    }
    answer = {
        "kills": kills, "epochs": options.epochs, "unreadable": unreadable, "equal": same,
        "seconds_undisturbed": round(undisturbed, 1), "seconds": round(time.monotonic() - began - undisturbed, 1),
    }  # fmt: skip
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    print(answer)
    return 0 if all(same.values()) and not unreadable else 1


if __name__ == "__main__":
    sys.exit(main())
