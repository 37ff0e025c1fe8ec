"""Tiny networks of every architecture, for the tests of what must hold for each of them."""

import importlib.util

import pytest

from spineseg.config import NetworkConfig

THERE = all(importlib.util.find_spec(name) for name in ("monai", "einops"))
needs_monai = pytest.mark.skipif(not THERE, reason="MONAI or einops is not installed: the extra `architectures`")

TINY = {
    "vnet": {"channels": (4, 8, 16), "convolutions": (1, 2, 2)},
    "unet": {"channels": (4, 8, 16), "convolutions": (2, 2, 2)},
    "resunet": {"channels": (4, 8, 16), "convolutions": (2, 2, 2)},
    "attention": {"channels": (4, 8, 16), "convolutions": (2, 2, 2)},
    "hybrid": {"channels": (4, 8, 16), "convolutions": (2, 2, 1)},
    "swin": {"channels": (12, 12, 24, 48, 96, 192), "convolutions": (2, 1, 1, 1, 1, 2)},
}
PEERS = [pytest.param(name, marks=needs_monai) for name in TINY if name != "vnet"]
ALL = ["vnet", *PEERS]


def shape(architecture: str, **values) -> NetworkConfig:
    """The configuration of a tiny network."""
    return NetworkConfig(architecture=architecture, **(TINY[architecture] | values))


def overrides(stage: str, architecture: str) -> dict:
    """The same as overrides of one stage of a configuration."""
    values = {"architecture": architecture, "kernel": 3, "norm": "group", **TINY[architecture]}
    return {f"{stage}.network.{k}": v for k, v in values.items()}
