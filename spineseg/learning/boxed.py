"""Weights that come with the project: two networks trained on phantoms alone, ready for any CT."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from torch import Tensor, nn

from spineseg import paths
from spineseg.config import Config
from spineseg.errors import CaseError
from spineseg.learning.cascade import STAGES, build
from spineseg.learning.checkpoints import tensors_of

CARD, HISTORY = "weights.json", "history.csv"


def card(folder: Path | None = None) -> dict:
    """What is known of the weights in a folder, `data/weights` when None.

    Raises:
        CaseError: If there are none.
    """
    path = (folder or paths.weights_folder()) / CARD
    if not path.is_file():
        remedy = "run from a checkout of the project, or name a trained run with --run"
        raise CaseError("weights-missing", path, "no such file", "the weights that come with the project", remedy)
    return json.loads(path.read_text())


def weights(name: str, folder: Path | None = None) -> dict[str, Tensor]:
    """Weights of one network, float32; whole numbers as they are.

    Args:
        name: `coarse` or `fine`.
        folder: `data/weights` when None.

    Raises:
        CaseError: If the file is missing or its bytes are not those that the card names.
    """
    path = (folder or paths.weights_folder()) / f"{name}.safetensors"
    known = card(folder)["networks"][name]["sha256"]
    payload = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(payload).hexdigest() != known:
        found = "other bytes than were packed" if payload else "no such file"
        raise CaseError("weights-damaged", path, found, f"sha256 {known[:12]}", "check the file out again")
    tensors = tensors_of(payload, path).items()
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors}


def load_boxed(folder: Path | None = None) -> tuple[Config, dict[str, nn.Module], dict[str, str]]:
    """Configuration, networks and precision, as `inference.Predictor` takes them.

    Raises:
        CaseError: If the weights are missing, damaged, or of another version of the package.
    """
    known = card(folder)
    try:
        config = Config.load(known["profile"], **known["values"])
    except ValueError as error:
        file = (folder or paths.weights_folder()) / CARD
        raise CaseError("weights-version", file, str(error), "this version's parameters", "pack them again") from error
    config = dataclasses.replace(config, fine=dataclasses.replace(config.fine, deep_supervision=0))  # training's alone
    networks = {}
    for name in STAGES:
        networks[name] = build(config, name)
        networks[name].load_state_dict(weights(name, folder))
    return config, networks, dict.fromkeys(networks, "bf16")  # as they are stored


def start_from(network: nn.Module, name: str) -> None:
    """Put the weights that come with the project into a network that is about to be trained.

    Raises:
        ValueError: If it has another shape.
    """
    try:
        own = {k: t for k, t in network.state_dict().items() if k.startswith("lower_heads.")}
        network.load_state_dict(weights(name) | own)
    except RuntimeError as error:
        raise ValueError(f"parameter 'training.start': the boxed {name} network has another shape; {error}") from None
