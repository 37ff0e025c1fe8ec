"""Weights as safetensors, state as JSON, each written whole or not at all and checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from spineseg.data.atomic import atomic_path, write_text
from spineseg.errors import CaseError
from spineseg.learning.muon import KEPT

BEFORE = "before"  # in a state: that of the weights which were there when it was written
FORMAT = 4  # raised whenever older files can no longer be read as they are
MIGRATED = {3: {"legs": []}}  # by older format: what its states lack, and what that is taken for


def save(path: Path, tensors: dict[str, Tensor], state: dict, *, keep: Path | None = None) -> None:
    """Write `path` (safetensors) and beside it `path` with the suffix .json, which holds the state and a sha256.

    The state is written first and holds that of the weights still there too, so whenever the writing is cut short, the
    weights found and one of the two states belong together.

    Args:
        path: Ends in .safetensors.
        tensors: Contiguous tensors by name; moved to the CPU.
        state: Plain values.
        keep: Name under which the checkpoint that is replaced stays; None lets it go.

    Raises:
        CaseError: If the disk has no room; the checkpoint that is there stays.
    """
    payload = save_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(path.parent).free) < 2 * len(payload):
        found, wanted = f"{free / 1e6:.0f} MB free", f"{2 * len(payload) / 1e6:.0f} MB"
        raise CaseError(
            "disk-full", path, found, wanted, "make room and say the same again; the last checkpoint is whole"
        )
    if keep is not None and path.is_file() and path.with_suffix(".json").is_file():
        with atomic_path(keep) as temporary:
            _link(path, temporary)
        write_text(keep.with_suffix(".json"), path.with_suffix(".json").read_text())
    new = state | {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest()}
    sidecar = path.with_suffix(".json")
    write_text(sidecar, json.dumps(new | {BEFORE: _state_of(path)}, indent=1))
    with atomic_path(path) as temporary:
        temporary.write_bytes(payload)


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
    remedy = "bring both files back from a copy, or delete them and train again"
    try:
        state = json.loads(sidecar.read_text())
    except ValueError:
        raise CaseError("checkpoint-damaged", sidecar, "not JSON", "the state as written", remedy) from None
    if state.get("format") not in (FORMAT, *MIGRATED):
        found, wanted = f"format {state.get('format')}", f"format {', '.join(map(str, (*MIGRATED, FORMAT)))}"
        raise CaseError("checkpoint-format", path, found, wanted, "train again, or use the version that wrote it")
    payload = path.read_bytes()
    digest = hashlib.sha256(payload).hexdigest()
    for known in (state, state.get(BEFORE) or {}):
        if known.get("sha256") == digest:
            present = MIGRATED.get(known["format"], {}) | known
            return tensors_of(payload, path), {k: v for k, v in present.items() if k != BEFORE}
    raise CaseError("checkpoint-damaged", path, "other bytes than were written", "the recorded sha256", remedy)


def tensors_of(payload: bytes, path: Path) -> dict[str, Tensor]:
    """Tensors by name of the bytes of a safetensors file.

    Raises:
        CaseError: If they are no such file; it names `path`.
    """
    try:
        return load_bytes(payload)
    except SafetensorError as error:
        remedy = "bring the file back from a copy"
        raise CaseError("weights-damaged", path, f"no safetensors ({error})", "safetensors", remedy) from None


def latest(path: Path, keep: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The newest checkpoint that can be read: `path`, or the one before it with a warning; None if there is neither.

    Raises:
        CaseError: If there are files, and none of them can be read.
    """
    if not (path.is_file() or keep.is_file()):
        return None
    try:
        return load(path)
    except CaseError as error:
        if error.code == "checkpoint-format" or not keep.is_file():
            raise
        found = load(keep)
        warnings.warn(f"{error}; going on from the checkpoint before it, {keep}", stacklevel=2)
        return found


def _state_of(path: Path) -> dict | None:
    """State of the weights that lie at `path` now; None if nobody knows it."""
    try:
        _, state = load(path)
    except CaseError:
        return None
    return state


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # no second copy of the bytes
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


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
    """Put the moments written by `pack` back into an optimizer of the same parameters; those of another optimizer, as a
    fork may bring them, are left with a warning."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, t in part(tensors, "optimizer").items():
        i, key = name.split(".", 1)
        state.setdefault(int(i), {})[key] = t
    kinds = [group.get("muon", False) for group in optimizer.param_groups for _ in group["params"]]
    if any((KEPT in state[i]) != kinds[i] for i in state):
        warnings.warn("what the checkpoint keeps of the optimizer is another one's; it begins anew", stacklevel=2)
        return
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
