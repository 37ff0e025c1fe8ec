"""Put a trained cascade into the box that comes with the project."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save as save_bytes

from spineseg import paths
from spineseg.config import Config
from spineseg.data.atomic import atomic_path, write_text
from spineseg.learning.boxed import CARD, HISTORY
from spineseg.learning.cascade import STAGES
from spineseg.learning.provenance import provenance
from spineseg.learning.training import load_network

DEPENDS_ON = ("preparation.", "guidance.", "coarse.network.", "coarse.patch", "fine.network.")  # to be run at all
LOWER = "lower_heads."  # of a network: heads that only training uses
STATE = ("epochs", "steps", "skipped", "seconds", "precision")  # of a checkpoint, kept in the card


def pack(config: Config, folder: Path | None = None, stages: tuple[str, ...] = STAGES) -> Path:
    """Put the best networks of a trained cascade into a folder, in bf16.

    Args:
        config: Names the run.
        folder: Where to; `data/weights` when None.
        stages: Networks to take; another one that lies in the folder stays, with what its card said of it.

    Returns:
        The card, which is written last: what the networks depend on, provenance, and per network its file's sha256,
        steps and seconds. Where training began with boxed weights, `earlier` has the same of those that lay in the
        folder. The history of the training, and of those before it, lies beside it.

    Raises:
        CaseError: If the run is not trained.
        ValueError: If only one stage is to be packed and training did not begin with what lies in the folder, or had
            other values of what the other stage depends on.
    """
    folder = folder or paths.weights_folder()
    folder.mkdir(parents=True, exist_ok=True)
    before = json.loads((folder / CARD).read_text()) if (folder / CARD).is_file() else {}
    if set(stages) < set(STAGES) and not (before and config.training.start):
        raise ValueError(
            f"stages must be {' and '.join(STAGES)} unless training began with the weights of {folder}, got {stages}"
        )
    values = {name: value for name, value in dotted(config.to_dict()) if name.startswith(DEPENDS_ON)}
    own = tuple(f"{name}." for name in stages)
    kept = {k: v for k, v in before.get("values", {}).items() if set(stages) < set(STAGES) and not k.startswith(own)}
    if changed := [k for k, v in kept.items() if json.loads(json.dumps(values.get(k, v))) != v]:
        raise ValueError(f"the network that stays was made with other values of {', '.join(changed)}")
    networks = {name: before["networks"][name] for name in STAGES if before and name not in stages}
    for name in stages:
        network, state = load_network(config, name)
        payload = save_bytes({k: _stored(t).contiguous() for k, t in network.state_dict().items() if LOWER not in k})
        with atomic_path(folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(payload)
        networks[name] = {"sha256": hashlib.sha256(payload).hexdigest()} | {k: state[k] for k in STATE}
    networks = {name: networks[name] for name in STAGES}
    record = json.loads((paths.run_folder(config.run) / "provenance.json").read_text())
    packed = provenance(config)
    record |= {"packed": packed["written"], "packed_by": packed["commit"], "packed_on": packed["device"]}
    card = {"profile": config.profile, "values": values, "provenance": record, "networks": networks}
    card["earlier"] = _earlier(before, networks, config.training.start)
    history = (paths.run_folder(config.run) / "history.csv").read_text()
    if not card["earlier"]:
        write_text(folder / HISTORY, history)
    elif before["networks"] != networks:  # the same ones packed once more are in it
        learnt = pd.read_csv(io.StringIO(history))
        both = gone_on(pd.read_csv(folder / HISTORY), learnt[learnt["network"].isin(stages)])
        write_text(folder / HISTORY, both.to_csv(index=False))
    write_text(folder / CARD, json.dumps(card, indent=1))
    return folder / CARD


def gone_on(before: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """One history of weights that were trained again: epochs and steps counted on, column `call` from 0 on.

    Args:
        before: History in the box, of one or more calls.
        history: Of the training that began with those weights.

    Returns:
        Rows of both; `learning_rate` and all else as each call wrote it.
    """
    before = before.assign(call=before.get("call", 0))
    history = history.assign(call=int(before["call"].max()) + 1)
    for column in ("epoch", "step"):
        done = before.groupby("network")[column].max()
        history[column] += history["network"].map(done).fillna(0).astype(int)
    return pd.concat([before, history], ignore_index=True)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor


def _earlier(before: dict, networks: dict, start: str) -> list[dict]:
    """What was packed before and gone on from, oldest first; the same networks packed once more add nothing."""
    if not start or not before:
        return []
    known = before.get("earlier", [])
    if before["networks"] == networks:
        return known
    return [*known, {key: before[key] for key in ("provenance", "networks")}]


def dotted(values: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested values by their dotted names."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
