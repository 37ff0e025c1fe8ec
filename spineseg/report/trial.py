"""Two networks trained for a moment on a page's own scans: that the name in the configuration is all that it takes."""

from __future__ import annotations

import dataclasses
import importlib.util

import pandas as pd

from spineseg.config import Config, NetworkConfig
from spineseg.learning.architectures import NEEDED
from spineseg.learning.cascade import build
from spineseg.learning.training import train
from spineseg.learning.vnet import count_parameters

EPOCHS = 2  # enough to see the loss move


def two_networks(config: Config) -> dict[str, NetworkConfig]:
    """A V-Net of 3-cubed kernels as wide as the baseline, and MONAI's residual U-Net; where MONAI is not installed the
    paper's V-Net of 5-cubed ones."""
    own = config.baseline.network
    vnet = dataclasses.replace(own, kernel=3, norm="group")
    if all(importlib.util.find_spec(name) for name in NEEDED):
        twos = (2,) * len(own.channels)
        return {
            "V-Net, 3-cubed": vnet,
            "3D ResU-Net": dataclasses.replace(vnet, architecture="resunet", convolutions=twos),
        }
    return {"V-Net, 3-cubed": vnet, "V-Net, 5-cubed": dataclasses.replace(own, kernel=5, norm="none")}


def tried(config: Config) -> pd.DataFrame:
    """Train both in the baseline's place, each in a run of its own, or read what those runs hold.

    Args:
        config: Of the page; its run's name begins theirs.

    Returns:
        Networks as rows; `parameters`, `steps`, `first loss` and `last loss` (means of the epochs), `seconds`.
    """
    rows = {}
    for name, network in two_networks(config).items():
        run = f"{config.run}-{network.architecture}{network.kernel}"
        stage = dataclasses.replace(config.baseline, network=network)
        training = dataclasses.replace(config.training, epochs=EPOCHS)
        changed = dataclasses.replace(config, run=run, baseline=stage, training=training)
        history = train(changed, "baseline")
        rows[name] = {
            "parameters": count_parameters(build(changed, "baseline")), "steps": int(history["step"].iloc[-1]),
            "first loss": history["train_loss"].iloc[0], "last loss": history["train_loss"].iloc[-1],
            "seconds": history["seconds"].iloc[-1],
        }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("network").astype({"parameters": int, "steps": int})
