"""What each network costs: parameters, arithmetic, memory foretold and measured, and the largest patch of a card.

Run `python benchmarks/architectures.py [--out architectures.json]`. Forecasts are for a GPU, from shapes alone. Each
measurement is one training step in a process of its own: its peak on a CPU, or the GPU's where there is one. Rows that
are in the output already are not measured again.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness
import torch
from budgets import NETWORKS as TRAINED
from run import machine, versions
from stepping import CLIP

from spineseg import paths
from spineseg.anatomy.labels import N_CLASSES
from spineseg.config import Config, NetworkConfig
from spineseg.data.atomic import write_text
from spineseg.learning.architectures import make_network
from spineseg.learning.cascade import LEVEL_CHANNELS, PHASES
from spineseg.learning.cost import GPU_CONTEXT_GB, network_cost
from spineseg.learning.losses import dice_ce_loss
from spineseg.learning.schedule import MovingAverage

WIDTHS = (32, 64, 128, 256, 320)  # of the U-Nets
TWO = (2,) * 5
NETWORKS = {  # in their published or usual sizes
    "V-Net, 3-cubed": NetworkConfig(),
    "V-Net, 5-cubed": NetworkConfig(kernel=5, norm="none"),
    "3D U-Net": NetworkConfig("unet", WIDTHS, TWO),
    "3D ResU-Net": NetworkConfig("resunet", WIDTHS, TWO),
    "Attention ResU-Net": NetworkConfig("attention", WIDTHS, TWO),
    "CNN + transformer": NetworkConfig("hybrid", WIDTHS, (2, 2, 2, 2, 12)),
    "Swin UNETR": NetworkConfig("swin", tuple(48 * k for k in (1, 1, 2, 4, 8, 16)), (2,) * 6, norm="instance"),
}
NARROW = Config.load("demo").fine.network
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CARDS_GB = (8, 12, 16, 24)
PARTS = ("forecast", "measured")
SMALLEST = 64  # side of a patch: a Swin UNETR's instance norm cannot be trained on less
STEP = 32  # voxels between the patches that are tried: every network's sides divide by it
SMALL = ((64, 1, True, False), (64, 1, False, False), (64, 1, True, True), (96, 1, True, False))


@dataclasses.dataclass(frozen=True)
class Step:
    """One configuration of a training step."""

    network: str
    side: int
    batch: int
    bf16: bool
    recompute: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.batch, *(self.side,) * 3)


@functools.cache
def forecast(step: Step, device: str) -> dict:
    """What the package says, in GB."""
    with torch.device("meta"):
        network = make_network(1, N_CLASSES, NETWORKS[step.network])
    cost = network_cost(network, step.shape, bf16=step.bf16, recompute=step.recompute, device=device)
    return {
        "parameters": cost.parameters, "tflop": round(3 * cost.flops / 1e12, 4),
        "kept_gb": round(cost.kept_bytes / 1e9, 4), "peak_gb": round(cost.peak_bytes / 1e9, 4),
    }  # fmt: skip


def as_trained(name: str) -> dict:
    """Cost of a narrow network as `budgets.py` trains it in the fine stage, for one 96-cubed patch in bf16."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in TRAINED[name].items()}
    with torch.device("meta"):
        network = make_network(2 + LEVEL_CHANNELS, 1 + PHASES, dataclasses.replace(NARROW, **values))
    cost = network_cost(network, (1, 96, 96, 96), bf16=True)
    return {
        "network": name,
        "parameters": cost.parameters,
        "tflop": 3 * cost.flops / 1e12,
        "peak_gb": cost.peak_bytes / 1e9,
    }


def largest_side(network: str, card_gb: float, recompute: bool) -> int:
    """Side of the largest cube that trains on a card in bf16, one at a time; 0 if none does."""
    fits = 0
    for side in itertools.count(SMALLEST, STEP):
        step = Step(network, side, 1, True, recompute)
        if forecast(step, "cuda")["peak_gb"] + GPU_CONTEXT_GB > card_gb:
            return fits
        fits = side


def take(step: Step, side: int) -> None:
    """A small training step, which makes gradients and moments, and one of the side asked for."""
    network = make_network(1, N_CLASSES, NETWORKS[step.network]).to(DEVICE)
    network.recompute = step.recompute
    average = MovingAverage(network, 0.99)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for n in filter(
        None, (max(32, 2 * network.multiple), side)
    ):  # below that a Swin UNETR's instance norm cannot be trained
        image = torch.rand(step.batch, 1, n, n, n, device=DEVICE)
        labels = torch.randint(0, N_CLASSES, (step.batch, n, n, n), dtype=torch.uint8, device=DEVICE)
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=step.bf16):
            loss = dice_ce_loss(network(image).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        average.update(network)


def measure(step: Step) -> None:
    """Print the peak in MB."""
    take(step, 0)
    harness.print_peak_on(DEVICE, lambda: take(step, step.side))


def main(arguments=None) -> int:
    """Foretell, then measure; the output is written anew after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    name = "architectures.json" if DEVICE == "cpu" else "architectures_gpu.json"
    parser.add_argument("--out", type=Path, default=paths.results_folder() / name)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.measure:
        measure(Step(*json.loads(options.measure)))
        return 0
    answer = json.loads(options.out.read_text()) if options.out.is_file() else {"measured": []}
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    answer |= {"machine": machine() | {"device": device}, "versions": versions()}
    sizes = list(itertools.product((96, 128), (1, 2), (False, True), (False, True)))
    if "forecast" in options.only:
        steps = [Step(n, *size) for n in NETWORKS for size in sizes]
        answer["forecast"] = [dataclasses.asdict(s) | forecast(s, "cuda") for s in steps]
        answer["trained"] = [as_trained(n) for n in TRAINED]
        answer["largest"] = [
            {"network": n, "card_gb": gb, "recompute": again, "side": largest_side(n, gb, again)}
            for n in NETWORKS
            for gb in CARDS_GB
            for again in (False, True)
        ]
        write_text(options.out, json.dumps(answer, indent=1) + "\n")
    if "measured" not in options.only:
        return 0
    done = {tuple(r[f.name] for f in dataclasses.fields(Step)) for r in answer["measured"]}
    for size, n in itertools.product(SMALL if DEVICE == "cpu" else sizes, NETWORKS):
        step = Step(n, *size)
        if dataclasses.astuple(step) in done:
            continue
        words = [sys.executable, __file__, "--measure", json.dumps(dataclasses.astuple(step))]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        peak_gb = float(json.loads(said[-1])) * 2**20 / 1e9
        row = dataclasses.asdict(step) | {"predicted_gb": forecast(step, DEVICE)["peak_gb"]}
        answer["measured"].append(row | {"measured_gb": round(peak_gb, 4)})
        write_text(options.out, json.dumps(answer, indent=1) + "\n")
        print(f"{row}: {peak_gb:.2f} GB, {row['predicted_gb'] / peak_gb:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
