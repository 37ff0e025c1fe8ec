"""Weights as safetensors, state as JSON, each written whole or not at all and checked when read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from spineseg.data.atomic import atomic_path, write_text
from spineseg.errors import CaseError

FORMAT = 2  # raised whenever older files can no longer be read as they are


def save(path: Path, tensors: dict[str, Tensor], state: dict) -> None:
    """Write `path` (safetensors) and beside it `path` with the suffix .json, which holds the state and a sha256.

    Args:
        path: Ends in .safetensors.
        tensors: Contiguous tensors by name; moved to the CPU.
        state: Plain values.
    """
    payload = save_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(payload).hexdigest()
    with atomic_path(path) as temporary:
        temporary.write_bytes(payload)
    write_text(path.with_suffix(".json"), json.dumps(state | {"format": FORMAT, "sha256": digest}, indent=1))


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read a checkpoint.

    Returns:
        Tensors by name and the state.

    Raises:
        CaseError: If a file is missing, of another format, or its bytes are not those that were written.
    """
    sidecar = path.with_suffix(".json")
    for p in (path, sidecar):
        if not p.is_file():
            raise CaseError("checkpoint-missing", p, "no such file", "a checkpoint", "train the run first")
    try:
        state = json.loads(sidecar.read_text())
    except ValueError:
        remedy = "delete it and the .safetensors and train again, or bring both back from a copy"
        raise CaseError("checkpoint-damaged", sidecar, "not JSON", "the state as written", remedy) from None
    if state.get("format") != FORMAT:
        found, wanted = f"format {state.get('format')}", f"format {FORMAT}"
        raise CaseError("checkpoint-format", path, found, wanted, "train again, or use the version that wrote it")
    payload = path.read_bytes()
    if hashlib.sha256(payload).hexdigest() != state["sha256"]:
        remedy = "delete it and its .json and train again, or bring both back from a copy"
        raise CaseError("checkpoint-damaged", path, "other bytes than were written", "the recorded sha256", remedy)
    return load_bytes(payload), state


def pack(network: torch.nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that a training step depends on, as one flat dict of tensors."""
    tensors = {f"network.{name}": t for name, t in network.state_dict().items()}
    tensors |= {f"average.{name}": t for name, t in average.items()}
    for i, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(t) for name, t in values.items()}
    return tensors


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def unpack_optimizer(tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Put the moments written by `pack` back into an optimizer of the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, t in part(tensors, "optimizer").items():
        i, key = name.split(".", 1)
        state.setdefault(int(i), {})[key] = t
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
