"""Memory of a training step as `spineseg train --dry-run` predicts it, beside a process's own peak (or the GPU's).

Run `python benchmarks/memory.py [--out memory.json]`. Each step runs in a process of its own, after a small one that
brings in the libraries.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness
import torch
from stepping import stepper

from spineseg import paths
from spineseg.anatomy.labels import N_CLASSES
from spineseg.config import NetworkConfig
from spineseg.data.atomic import write_text
from spineseg.learning.cost import network_cost
from spineseg.learning.losses import dice_ce_loss
from spineseg.learning.schedule import MovingAverage
from spineseg.learning.vnet import VNet

PAPER = {"kernel": 5, "norm": "none"}
NARROW = {"channels": (8, 16, 32, 64), "convolutions": (1, 2, 2, 2)}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclasses.dataclass(frozen=True)
class Step:
    """One configuration."""

    side: int
    batch: int = 1
    bf16: bool = True
    recompute: bool = False
    network: dict = dataclasses.field(default_factory=dict)

    @property
    def config(self) -> NetworkConfig:
        return NetworkConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in self.network.items()})


SMALL = (
    Step(64), Step(96), Step(64, batch=2), Step(96, recompute=True), Step(64, network=PAPER),
    Step(64, bf16=False), Step(64, batch=2, bf16=False), Step(64, bf16=False, recompute=True),
    Step(64, bf16=False, network={"norm": "none"}), Step(96, bf16=False, network=NARROW),
)  # fmt: skip
LARGE = tuple(
    Step(side, batch, bf16, recompute, network)
    for side in (96, 128)
    for batch in (1, 2)
    for bf16 in (False, True)
    for recompute in (False, True)
    for network in ({}, PAPER)
)


def take(step: Step, side: int) -> None:
    """Two training steps."""
    network = VNet(1, N_CLASSES, step.config).to(DEVICE)
    network.recompute = step.recompute
    image = torch.rand(step.batch, 1, side, side, side, device=DEVICE)
    labels = torch.randint(0, N_CLASSES, (step.batch, side, side, side), dtype=torch.uint8, device=DEVICE)
    average = MovingAverage(network, 0.99)
    go = stepper(network, lambda z, g: dice_ce_loss(z.float(), g), image, labels, step.bf16)
    for _ in range(2):
        go()
        average.update(network)


def measure(step: Step) -> None:
    """Print the peak in MB."""
    take(step, 32)
    harness.print_peak_on(DEVICE, lambda: take(step, step.side))


def predicted_mb(step: Step) -> float:
    """What the package says."""
    with torch.device("meta"):
        network = VNet(1, N_CLASSES, step.config)
    shape = (step.batch, *(step.side,) * 3)
    cost = network_cost(network, shape, bf16=step.bf16, recompute=step.recompute, device=DEVICE)
    return round(cost.peak_bytes / 2**20, 1)


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    name = "memory.json" if DEVICE == "cpu" else "memory_gpu.json"
    parser.add_argument("--out", type=Path, default=paths.results_folder() / name)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.measure:
        measure(Step(**json.loads(options.measure)))
        return 0
    rows = []
    for step in SMALL if DEVICE == "cpu" else LARGE:
        values = dataclasses.asdict(step)
        predicted = predicted_mb(step)
        done = [sys.executable, __file__, "--measure", json.dumps(values)]
        said = subprocess.run(done, capture_output=True, text=True, check=True).stdout
        measured = float(json.loads(said.splitlines()[-1]))
        rows.append({**values, "predicted_mb": predicted, "measured_mb": measured})
        print(
            f"{values}: {predicted:.0f} MB predicted, {measured:.0f} measured, {predicted / measured:.2f}", flush=True
        )
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    write_text(options.out, json.dumps({"device": device, "torch": torch.__version__, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
