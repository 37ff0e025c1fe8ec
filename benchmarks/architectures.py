"""What each network costs: parameters, arithmetic, memory foretold and measured, and the largest patch of a card.

Run `python benchmarks/architectures.py [--out architectures.json] [--minutes 4]`. Forecasts are for a GPU, from shapes
alone. On a CPU each measurement is two training steps in a process of its own, whose resident size it is; on a GPU it
is what torch had allocated at most in a step after the first, with its time, the device being otherwise idle, and for
the usual batch the same with cuDNN's search for the fastest convolutions. Rows that are in the output already are not
measured again; one that fails is kept with what it said.
"""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness
import torch
from budget_rows import NETWORKS as TRAINED
from roofline import synchronise
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
SIZES = {  # side, batch, bf16, recompute; those that say most first
    "cpu": ((64, 1, True, False), (64, 1, False, False), (64, 1, True, True), (96, 1, True, False)),
    "cuda": tuple(
        (side, batch, bf16, again)
        for again, bf16, side, batch in itertools.product((False, True), (True, False), (96, 128), (2, 1))
    ),
    "tiny": ((64, 1, True, False), (64, 1, False, True)),
}
SEARCHED = (96, 2, True, False)  # where cuDNN's search is measured too
REPEATS = 3  # steps that are timed
ON_CPU = 2  # steps; the first takes less memory than those that follow


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


def maker(step: Step):
    """A function that makes one training step after the other, with gradients and moments there from the beginning."""
    network = make_network(1, N_CLASSES, NETWORKS[step.network]).to(DEVICE)
    network.recompute = step.recompute
    average = MovingAverage(network, 0.99)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)

    def make(side: int) -> None:
        image = torch.rand(step.batch, 1, side, side, side, device=DEVICE)
        labels = torch.randint(0, N_CLASSES, (step.batch, side, side, side), dtype=torch.uint8, device=DEVICE)
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=step.bf16):
            loss = dice_ce_loss(network(image).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        average.update(network)

    make(max(32, 2 * network.multiple))  # below that a Swin UNETR's instance norm cannot be trained
    return make


def on_cpu(step: Step) -> dict:
    """Peak in GB of a process that makes some steps, a small one before them; see `harness.print_peak`."""

    def make() -> None:
        one = maker(step)
        for _ in range(ON_CPU):
            one(step.side)

    maker(step)
    return {"measured_gb": harness.peak_mb(make) * 2**20 / 1e9}


def on_gpu(step: Step) -> dict:
    """What a step after the first had allocated at most in GB, the first one's own peak, and median seconds."""
    make, found = maker(step), {}
    for searching in (False, True) if dataclasses.astuple(step)[1:] == SEARCHED else (False,):
        torch.backends.cudnn.benchmark = searching
        torch.cuda.empty_cache()
        peaks, times = [], []
        for _ in range(1 + REPEATS):
            torch.cuda.reset_peak_memory_stats()
            synchronise(DEVICE)
            start = time.perf_counter()
            make(step.side)
            synchronise(DEVICE)
            times.append(time.perf_counter() - start)
            peaks.append(torch.cuda.max_memory_allocated() / 1e9)
        taken = {"measured_gb": max(peaks[1:]), "first_gb": peaks[0], "step_s": statistics.median(times[1:])}
        found |= {f"{'searched_' if searching else ''}{k}": v for k, v in taken.items()}
    return found


def measure(steps: list[Step]) -> None:
    """Print a line of JSON for each step."""
    for step in steps:
        try:
            found = {k: round(v, 4) for k, v in (on_cpu if DEVICE == "cpu" else on_gpu)(step).items()}
        except torch.OutOfMemoryError:
            found = {"failed": "out of memory"}
        except RuntimeError as error:  # what a device does not have is a finding, not an end
            found = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(found), flush=True)
        if DEVICE == "cuda":
            torch.cuda.empty_cache()


def measured(steps: list[Step], until: float):
    """Steps with what was found, as it comes; a process that ends early is begun again behind the step it ended at."""
    while steps and time.monotonic() < until:
        some = steps[:1] if DEVICE == "cpu" else steps
        words = [sys.executable, __file__, "--measure", json.dumps([dataclasses.astuple(s) for s in some])]
        done = 0
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                with contextlib.suppress(json.JSONDecodeError):
                    yield steps[done], json.loads(line)
                    done += 1
                if time.monotonic() > until:
                    process.kill()
                    return
        if done < len(some):
            yield steps[done], {"failed": f"the process ended with status {process.returncode}"}
            done += 1
        steps = steps[done:]


def main(arguments=None) -> int:
    """Foretell, then measure; the output is written anew after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    name = "architectures.json" if DEVICE == "cpu" else "architectures_gpu.json"
    parser.add_argument("--out", type=Path, default=paths.results_folder() / name)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--minutes", type=float, default=1e6, help="after which what is not done is left")
    parser.add_argument("--tiny", action="store_true", help="few and small sizes: that everything runs")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.measure:
        measure([Step(*step) for step in json.loads(options.measure)])
        return 0
    until = time.monotonic() + 60 * options.minutes
    answer = json.loads(options.out.read_text()) if options.out.is_file() else {"measured": []}
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    answer |= {"machine": machine() | {"device": device}, "versions": versions()}
    if "forecast" in options.only:
        steps = [Step(n, *size) for n in NETWORKS for size in sorted(SIZES["cuda"], key=lambda s: (*s[:2], *s[2:]))]
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
    sizes = SIZES["tiny" if options.tiny else DEVICE]
    steps = [Step(n, *size) for size, n in itertools.product(sizes, options.networks)]
    for step, found in measured([s for s in steps if dataclasses.astuple(s) not in done], until):
        row = dataclasses.asdict(step) | {"predicted_gb": forecast(step, DEVICE)["peak_gb"]} | found
        answer["measured"].append(row)
        write_text(options.out, json.dumps(answer, indent=1) + "\n")
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
