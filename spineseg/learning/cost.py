"""What one training step of a network costs, before any step is taken: parameters, arithmetic, memory.

The network is run on torch's meta device, which knows shapes and allocates nothing; what the way back keeps is what
autograd itself says that it keeps.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spineseg.config import Config
from spineseg.learning.cascade import build
from spineseg.learning.convolution import Conv3d
from spineseg.learning.sampling import padded
from spineseg.learning.vnet import count_parameters

WHOLE_SCAN_MM = (400.0, 400.0, 900.0)  # a trunk with arms down; the coarse stage sees scans whole
# float32 each: weight, gradient, moving average, momentum, second moment (AdamW's; what Muon's step makes comes when
# activations are gone)
STATE_BYTES = 5 * 4
WIDE_COPIES = 3  # of the widest activation, alive at one time on the way back: its gradient, one before, one being made
HALVED_COPIES = 4  # instead, on a CPU where a single fp32 item is halved (`convolution`): of what one takes and gives
GPU_CONTEXT_GB = 0.5  # that CUDA and its libraries take for themselves
CARD_GB = 12.0  # an RTX 3060's


@dataclass(frozen=True)
class Cost:
    """One training step.

    Attributes:
        network: `baseline`, `coarse` or `fine`.
        shape: `(N, I, J, K)` voxels of a batch.
        parameters: Trainable values.
        flops: Of a forward pass, two for a multiplication and addition; the way back takes about twice as many.
        kept_bytes: Activations kept for the way back.
        peak_bytes: All of it: weights, gradients, moments, moving average, activations, loss and what is being made.
    """

    network: str
    shape: tuple[int, int, int, int]
    parameters: int
    flops: float
    kept_bytes: int
    peak_bytes: int


def training_cost(config: Config, name: str, *, bf16: bool, device: str = "cuda") -> Cost:
    """Cost of a step of one stage.

    Args:
        config: Its batch, patch, network and whether levels are computed again.
        name: `baseline`, `coarse` or `fine`.
        bf16: Activations in bf16 in place of fp32.
        device: `cuda` or `cpu`.

    Returns:
        The cost; of the coarse stage for one scan of `WHOLE_SCAN_MM`.
    """
    stage = getattr(config, name)
    shape = (stage.batch, *stage.patch)
    if name == "coarse":
        whole = [round(mm / config.preparation.coarse_spacing_mm) for mm in WHOLE_SCAN_MM]
        shape = (stage.batch, *padded(whole, stage.patch))
    with torch.device("meta"):
        network = build(config, name)
    return network_cost(network, shape, bf16=bf16, recompute=config.training.recompute, device=device, name=name)


def network_cost(
    network: nn.Module, shape, *, bf16: bool, recompute: bool = False, device: str = "cuda", name: str = ""
) -> Cost:
    """Cost of a step of a network on the meta device.

    Args:
        network: On the meta device.
        shape: `(N, I, J, K)`.
        bf16: As in `training_cost`.
        recompute: Whether levels are computed again.
        device: `cuda` or `cpu`.
        name: For the answer.
    """
    parameters = count_parameters(network)
    dtype = torch.bfloat16 if bf16 else torch.float32
    network = network.to(dtype)
    if bf16 and device == "cuda":
        _leave_bf16(network, dtype)
    image = torch.empty(shape[0], network.in_channels, *shape[1:], device="meta", dtype=dtype)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), _convolved(network) as most:
        network(image)
    kept, widest = _kept(network, image, recompute)
    voxels = int(torch.Size(shape).numel())
    halved = device == "cpu" and shape[0] == 1 and not bf16
    made = HALVED_COPIES * most["bytes"] if halved else WIDE_COPIES * widest
    # logits in float32 beside the network's own, and the loss's gradient by them
    loss = voxels * network.out_channels * 4 * 2
    copies = parameters * dtype.itemsize if bf16 else 0  # autocast keeps the weights that it has cast
    peak = parameters * STATE_BYTES + copies + kept + loss + made
    return Cost(name, tuple(shape), parameters, float(counter.get_total_flops()), kept, peak)


@contextlib.contextmanager
def _convolved(network: nn.Module) -> Iterator[dict[str, int]]:
    """While the network runs, under `bytes` the most that one convolution takes and gives together."""
    most = {"bytes": 0}

    def see(_module, inputs, output: Tensor) -> None:
        most["bytes"] = max(most["bytes"], inputs[0].nbytes + output.nbytes)

    hooks = [m.register_forward_hook(see) for m in network.modules() if isinstance(m, Conv3d)]
    yield most
    for hook in hooks:
        hook.remove()


def _leave_bf16(network: nn.Module, dtype: torch.dtype) -> None:
    """Let layers compute in fp32 that autocast on a GPU keeps from bf16, as transformers have them; ours do not."""
    for module in network.modules():
        if isinstance(module, nn.LayerNorm | nn.Softmax):
            module.float()
            module.register_forward_pre_hook(lambda _, inputs: tuple(x.float() for x in inputs))
            module.register_forward_hook(lambda _, __, output: output.to(dtype))


def ways_to_fit(config: Config, name: str, *, bf16: bool, room_gb: float) -> list[tuple[str, Cost]]:
    """Changes of the configuration that bring a step into a GPU's memory.

    Args:
        config: The configuration that does not fit.
        name: `baseline`, `coarse` or `fine`.
        bf16: As in `training_cost`.
        room_gb: Memory in GB (1e9 bytes).

    Returns:
        Command-line options and the cost with them, the least change first: recomputing, then a batch of one, both,
        smaller patches with both. Empty if nothing helps.
    """
    stage = getattr(config, name)
    changes: list[dict] = [{"training.recompute": True}, {f"{name}.batch": 1}]
    changes.append(changes[0] | changes[1])
    multiple = 2 ** (len(stage.network.channels) - 1)
    if name != "coarse":  # which sees scans whole
        sides = range(max(stage.patch) - multiple, 0, -multiple)
        changes += [changes[2] | {f"{name}.patch": tuple(min(side, n) for n in stage.patch)} for side in sides]
    else:
        wider = {"preparation.coarse_spacing_mm": config.preparation.coarse_spacing_mm * 1.5}
        changes.append(changes[2] | wider)
    found = []
    for change in changes:
        cost = training_cost(_changed(config, change), name, bf16=bf16)
        if cost.peak_bytes / 1e9 + GPU_CONTEXT_GB <= room_gb:
            found.append((_options(change), cost))
        if len(found) == 2 or (found and len(change) > 2):
            break
    return found


def remedy(config: Config, name: str, *, bf16: bool, room_gb: float) -> str:
    """One line: which options bring a step that does not fit into a memory; as `ways_to_fit`."""
    ways = ways_to_fit(config, name, bf16=bf16, room_gb=room_gb)
    told = [f"{o} ({c.peak_bytes / 1e9 + GPU_CONTEXT_GB:.1f} GB)" for o, c in ways] or ["a smaller network"]
    return f"{name} in {'bf16' if bf16 else 'fp32'} does not fit into {room_gb:.3g} GB; try {', or '.join(told)}"


def _changed(config: Config, values: dict) -> Config:
    """The configuration with dotted values in place of its own."""
    for dotted, value in values.items():
        *groups, last = dotted.split(".")
        nodes = [config]
        for group in groups:
            nodes.append(getattr(nodes[-1], group))
        for node, field in zip(reversed(nodes), reversed([*groups, last]), strict=True):
            value = dataclasses.replace(node, **{field: value})
        config = value
    return config


def _options(values: dict) -> str:
    """Dotted values as options of `spineseg train`."""
    words = []
    for dotted, value in values.items():
        option = "--" + dotted.replace("_", "-")
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else "" if value is True else f"{value:g}"
        words.append(f"{option} {shown}".strip())
    return " ".join(words)


def forecast(config: Config, names, *, room_gb: float = CARD_GB) -> str:
    """What `spineseg train --dry-run` says.

    Args:
        config: The configuration.
        names: Networks.
        room_gb: Memory of the GPU, GB.

    Returns:
        A table, and for each network that does not fit what would bring it in.
    """
    lines = [f"{'network':9} {'batch x voxels':>20} {'type':>5} {'parameters':>11} {'TFLOP a step':>13} "
             f"{'activations':>12} {'GPU memory':>11}"]  # fmt: skip
    advice = []
    for name in names:
        for bf16 in (False, True):
            cost = training_cost(config, name, bf16=bf16)
            kind, total = "bf16" if bf16 else "fp32", cost.peak_bytes / 1e9 + GPU_CONTEXT_GB
            shape = " x ".join(map(str, cost.shape))
            lines.append(
                f"{name:9} {shape:>20} {kind:>5} {cost.parameters / 1e6:>9.2f} M {3 * cost.flops / 1e12:>13.3f} "
                f"{cost.kept_bytes / 1e9:>9.2f} GB {total:>8.2f} GB"
            )
            if total > room_gb:
                advice.append(remedy(config, name, bf16=bf16, room_gb=room_gb))
    return "\n".join([*lines, *advice])


def _kept(network: nn.Module, image: Tensor, recompute: bool) -> tuple[int, int]:
    """Bytes that autograd keeps of a forward pass, and bytes of the widest single activation.

    With `recompute`: what is kept between levels, and the most that one level keeps while it is computed again.
    """
    own = {p.untyped_storage()._cdata for p in network.parameters()}
    between: dict[int, int] = {}  # bytes by storage, of what lies between levels ...
    levels = [between]  # ... and of what each level keeps inside
    current, held = between, []  # no storage may take the number of one that is gone

    def keep(t: Tensor, where: dict[int, int]) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in own and not any(storage._cdata in known for known in levels):
            where[storage._cdata] = storage.nbytes()
        held.append(t)
        return t

    def run(level, *inputs: Tensor, **_how) -> Tensor:
        nonlocal current
        for t in inputs:
            keep(t, between)
        current = {}
        levels.append(current)
        result = level(*inputs)
        current = between
        return result

    network.recompute = recompute
    with (
        mock.patch("torch.utils.checkpoint.checkpoint", run),  # through which a network has parts computed again
        torch.autograd.graph.saved_tensors_hooks(lambda t: keep(t, current), lambda t: t),
    ):
        network(image)
    network.recompute = False
    kept = sum(between.values()) + max((sum(level.values()) for level in levels[1:]), default=0)
    return kept, max(size for level in levels for size in level.values())
