"""Training steps, phantoms and a prediction on a GPU, beside MONAI's V-Net; on a CPU with `--tiny` to try the script.

Run `python benchmarks/gpu.py [--out gpu.json]`, or `make bench-gpu`. A step is forward, loss, backward, clipping and
AdamW. The share of the roofline is the least time that a device with the measured matrix product and copy could take,
divided by the time taken. bf16 losses are held against fp32 over the same steps. With `--only`, what the file has of
the same device stays as it is.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path

import harness
import torch
from roofline import device_limits, seconds, serial_seconds, synchronise
from run import machine, versions
from stepping import stepper

from spineseg import paths
from spineseg.anatomy.labels import N_CLASSES
from spineseg.anatomy.phantom import generate
from spineseg.config import Config, NetworkConfig
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.learning.cost import network_cost
from spineseg.learning.inference import Predictor
from spineseg.learning.losses import dice_ce_loss
from spineseg.learning.vnet import VNet

KERNELS = {"V-Net 3-cubed": {}, "V-Net 5-cubed": {"kernel": 5, "norm": "none"}}
TINY = {"channels": (4, 8, 16), "convolutions": (1, 1, 1)}
CURVE_STEPS = 20
PARTS = ("phantoms", "prediction", "curves", "steps", "variants")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one step is measured with."""

    side: int
    batch: int
    bf16: bool


def batch_of(setting: Setting, device: str):
    """Image and labels; ours take `(N, I, J, K)` labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (setting.batch, *(setting.side,) * 3)
    image = torch.rand((setting.batch, 1, *shape[1:]), generator=generator)
    return image.to(device), torch.randint(0, N_CLASSES, shape, generator=generator, dtype=torch.uint8).to(device)


def step_of(network, loss, setting: Setting, device: str, *, last: bool = False):
    """A function that takes one step and returns the loss on the device; `last`: channels last in memory."""
    image, labels = batch_of(setting, device)
    if last:
        image = image.contiguous(memory_format=torch.channels_last_3d)
    return stepper(network.to(device), lambda z, g: loss(z.float(), g), image, labels, setting.bf16)


def variants(config: NetworkConfig, setting: Setting, device: str) -> list[dict]:
    """The same step with the channels last in memory, compiled, and both."""
    rows = []
    for last, compiled in ((False, False), (True, False), (False, True), (True, True)):
        torch.manual_seed(0)
        network = VNet(1, N_CLASSES, config).to(device)
        if last:
            network = network.to(memory_format=torch.channels_last_3d)
        if compiled:
            network.compile(dynamic=False)
        row = {"channels_last": last, "compiled": compiled, **dataclasses.asdict(setting)}
        try:
            start = time.perf_counter()
            step = step_of(network, dice_ce_loss, setting, device, last=last)
            step()
            synchronise(device)
            row["first_step_s"] = round(time.perf_counter() - start, 1)
            row["step_ms"] = round(1000 * statistics.median(seconds(step, device)), 2)
        except Exception as error:  # a compiler that is missing or fails is a finding, not an end
            row["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        rows.append(row)
    return rows


def monai_sides():
    """MONAI's V-Net and loss, or None."""
    nets, losses = harness.peer("monai.networks.nets"), harness.peer("monai.losses")
    if not nets:
        return None
    loss = losses.DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    return lambda: nets.VNet(in_channels=1, out_channels=N_CLASSES), lambda z, g: loss(z, g[:, None].long())


def measured(name: str, make, loss, setting: Setting, device: str, limits: dict, ours: bool) -> dict:
    """One row: time, arithmetic, share of the roofline, memory."""
    torch.manual_seed(0)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    row = {"network": name, **dataclasses.asdict(setting)}
    try:
        times = seconds(step_of(make(), loss, setting, device), device)
    except torch.OutOfMemoryError:
        return row | {"out_of_memory": True}
    row["step_ms"] = round(1000 * statistics.median(times), 2)
    row["step_ms_range"] = [round(1000 * min(times), 2), round(1000 * max(times), 2)]
    if device == "cuda":
        row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    if ours:
        with torch.device("meta"):
            network = make()
        shape, itemsize = (setting.batch, *(setting.side,) * 3), 2 if setting.bf16 else 4
        flops_per_s, bytes_per_s = limits[setting.bf16]
        least = serial_seconds(network, (setting.batch, 1, *shape[1:]), itemsize, flops_per_s, bytes_per_s)
        cost = network_cost(network, shape, bf16=setting.bf16, device=device)
        row["tflop_per_s"] = round(3 * cost.flops / statistics.median(times) / 1e12, 2)
        row["roofline_share"] = round(least / statistics.median(times), 3)
        row["predicted_gb"] = round(cost.peak_bytes / 1e9, 3)
    return row


def loss_curves(make, setting: Setting, device: str) -> dict:
    """Losses over the same steps in fp32 and bf16, and their largest relative difference."""
    curves = {}
    for bf16 in (False, True):
        torch.manual_seed(0)
        step = step_of(make(), dice_ce_loss, dataclasses.replace(setting, bf16=bf16), device)
        curves["bf16" if bf16 else "fp32"] = [float(step()) for _ in range(CURVE_STEPS)]
    apart = max(abs(a - b) / abs(a) for a, b in zip(curves["fp32"], curves["bf16"], strict=True))
    return {**curves, "largest_relative_difference": round(apart, 4)}


def phantoms_per_second(device: str, spacing_mm: float, count: int) -> dict:
    """How fast phantoms are made on the device."""
    generate(0, spacing_mm=spacing_mm, device=device)
    synchronise(device)
    times = []
    for seed in range(1, count + 1):
        times += seconds(lambda seed=seed: generate(seed, spacing_mm=spacing_mm, device=device), device, 1)
    return {"spacing_mm": spacing_mm, "count": count, "seconds": round(statistics.median(times), 3)}


def prediction(device: str, spacing_mm: float) -> dict:
    """A phantom from array to named label map with the weights in the box."""
    phantom = generate(1, spacing_mm=spacing_mm)
    predictor = Predictor.boxed(device)
    volume = nifti.Volume(phantom.ct_hu, phantom.affine, ())
    times = seconds(lambda: predictor(volume), device, 2)
    return {"shape": list(phantom.ct_hu.shape), "seconds": round(statistics.median(times), 2)}


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="toy sizes: that everything runs, not how fast")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "gpu.json")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        parser.error("no CUDA device; --tiny tries the script on a CPU")
    torch.backends.cudnn.benchmark = True
    sides, batches = ((16,), (1, 2)) if options.tiny else ((96, 128), (1, 2))
    large = 256 if options.tiny else 8192
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    known = json.loads(options.out.read_text()) if options.out.is_file() else {}
    same = known.get("machine", {}).get("device") == name
    answer = (known if same else {}) | {"machine": machine() | {"device": name}, "versions": versions()}

    def note(**found) -> None:  # at once: what comes later may be cut off
        answer.update(found)
        write_text(options.out, json.dumps(answer, indent=1) + "\n")
        print(json.dumps(found), flush=True)

    limits = {b: device_limits(device, torch.bfloat16 if b else torch.float32, large) for b in (False, True)}
    shown = {"bf16" if b else "fp32": {"tflop_per_s": f / 1e12, "gb_per_s": w / 1e9} for b, (f, w) in limits.items()}
    note(limits=shown)
    networks = {
        name: (lambda c=changes: VNet(1, N_CLASSES, NetworkConfig(**c, **(TINY if options.tiny else {}))), dice_ce_loss)
        for name, changes in KERNELS.items()
    }
    settings = [Setting(s, n, b) for b in (True, False) for s in sides for n in reversed(batches)]
    if "phantoms" in options.only:
        note(phantoms=phantoms_per_second(device, 6.0 if options.tiny else 1.5, 2 if options.tiny else 20))
    if "prediction" in options.only:
        note(prediction=prediction(device, 6.0 if options.tiny else 1.0))
    if "curves" in options.only:
        note(loss_curves=loss_curves(networks["V-Net 3-cubed"][0], settings[0], device))
    if "steps" in options.only:
        note(steps=(rows := []))
        peer = monai_sides()
        for setting in settings:
            for name, (make, loss) in networks.items():
                rows.append(measured(name, make, loss, setting, device, limits, ours=True))
            if peer:
                theirs = dataclasses.replace(setting, side=max(setting.side, 32))  # it halves four times
                rows.append(measured("MONAI VNet", *peer, theirs, device, limits, ours=False))
            note(steps=rows)
    if "variants" in options.only:
        box = NetworkConfig(**TINY) if options.tiny else Config.load("boxed").fine.network
        note(variants=variants(box, Setting(sides[0], batches[-1], True), device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
