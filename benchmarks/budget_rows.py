"""Which trainings `budgets.py` makes, with what settings: one for a GPU, a smaller one for a CPU, a toy to try it."""

from __future__ import annotations

import dataclasses

from spineseg.config import Config

FIRST_SEED = 710_000_000  # of the phantoms of no split; every second one must show C3
SEEDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all trainings of one device share.

    Attributes:
        scans: Phantoms of no split that are scored.
        shared: What differs from the demo. The precision is pinned, a timed probe could differ from row to row;
            optimizer, rate and augmentation are those of the first rows.
        guide: Of the coarse network behind which all networks of the fine stage stand.
        losses: Of the coarse networks by which losses are compared.
    """

    scans: int
    shared: dict
    guide: dict
    losses: dict


_ALIKE = {
    "cohort.folder": "phantom-architectures", "cohort.test": 1, "cluster.workers": 1, "training.precision": "bf16",
    "training.epochs": 40, "inference.looks": 1, "training.optimizer": "adamw", "coarse.learning_rate": 2e-3,
    "training.turned_share": 0.3, "training.blur_share": 0.2, "fine.batch": 1,
}  # fmt: skip
_WIDE = (64, 64, 64)
SETTINGS = {
    # half the demo's phantoms, a 27th of what its fine stage sees
    "cpu": Setting(
        12,
        _ALIKE | {"cohort.train": 72, "fine.steps_per_epoch": 8, "baseline.steps_per_epoch": 8},
        {"coarse.steps_per_epoch": 60, "training.epochs": 20},
        {"preparation.coarse_spacing_mm": 16.0, "coarse.steps_per_epoch": 45, "training.epochs": 12},
    ),
    # the demo's phantoms, eight times its patch and two at a time: a transformer has something to attend to
    "cuda": Setting(
        24,
        _ALIKE
        | {f"{stage}.{k}": v for stage in ("fine", "baseline") for k, v in (
            ("steps_per_epoch", 25), ("patch", _WIDE), ("batch", 2)
        )}
        | {"inference.patch": _WIDE},
        {"coarse.steps_per_epoch": 60, "training.epochs": 20},
        {"coarse.steps_per_epoch": 40, "training.epochs": 15},
    ),
    "tiny": Setting(
        2,
        _ALIKE | {"cohort.train": 4, "cohort.validation": 1, "cohort.spacing_mm": 6.0, "preparation.spacing_mm": 6.0,
                  "fine.steps_per_epoch": 1, "baseline.steps_per_epoch": 1, "training.epochs": 2},
        {"coarse.steps_per_epoch": 3, "training.epochs": 2},
        {"coarse.steps_per_epoch": 12, "training.epochs": 1},
    ),
}  # fmt: skip
LOSS_ALONE = {"coarse.naming_weight": 0.0}  # where losses are compared, but for the last
TWO = [2, 2, 2, 2]
NETWORKS = {
    "V-Net, 3-cubed": {},
    "V-Net, 5-cubed": {"kernel": 5, "norm": "none"},
    "3D U-Net": {"architecture": "unet", "convolutions": TWO},
    "3D ResU-Net": {"architecture": "resunet", "convolutions": TWO},
    "Attention ResU-Net": {"architecture": "attention", "convolutions": TWO},
    "CNN + transformer": {"architecture": "hybrid", "convolutions": [2, 2, 2, 4]},
    "Swin UNETR": {"architecture": "swin", "channels": [12, 12, 24, 48, 96, 192], "convolutions": [2] * 6},
}
OURS, SLOW = "V-Net, 3-cubed", "Swin UNETR"
WINDOWS = {SLOW: {"inference.patch": _WIDE}}  # its sides must divide by 32
LOSSES = {
    "logistic": {"loss": "logistic"},
    "logistic, weighted": {"loss": "logistic_weighted"},
    "Dice (paper)": {"loss": "dice"},
    "generalised Dice": {"loss": "generalised_dice"},
    "Tversky": {"loss": "tversky"},
    "focal": {"loss": "focal"},
    "Dice + CE": {"loss": "dice_ce"},
    "Dice + CE + binary Dice": {"loss": "dice_ce_binary"},
    "Dice + CE + binary Dice + names": {"loss": "dice_ce_binary", "naming_weight": 1.0},
}
LENGTHS = (40, 70, 100)  # epochs: of a training that goes on twice, beside one that is planned for the last
RATE = 1.5e-3  # the other learning rate


@dataclasses.dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        part: `guide`, `steps`, `time`, `rate`, `loss` or `length`.
        name: Of the network, the loss, or the stage and its epochs.
        seed: Of the training.
    """

    part: str
    name: str
    seed: int = 0

    @property
    def run(self) -> str:
        """Name of its run."""
        return "-".join(f"{self.part} {self.name} {self.seed}".replace(",", "").replace("+", "and").split())

    @property
    def stage(self) -> str:
        """The network that is trained."""
        if self.part == "length":
            return self.name.split()[0]
        return "coarse" if self.part in ("guide", "loss") else "fine"


GUIDE = Row("guide", "coarse")


def rows() -> list[Row]:
    """All trainings behind the guide, those that say most first; within a part the slowest first, so that processes
    side by side end together."""
    slow_first = [SLOW, *(name for name in NETWORKS if name != SLOW)]
    parts = (
        ("steps", slow_first), ("loss", LOSSES), ("time", [name for name in slow_first if name != OURS]),
        ("length", ["fine 100", "fine continued"]), ("rate", slow_first),
        ("length", ["baseline 100", "baseline continued"]),
    )  # fmt: skip
    return [Row(part, name, seed) for part, names in parts for seed in SEEDS for name in names]


def configured(row: Row, setting: Setting, alone: dict[str, dict]) -> Config:
    """The configuration of a row.

    Args:
        row: A training.
        setting: Of the device.
        alone: By network, `step_s` as measured with nothing beside it: in equal time a slower network has fewer epochs.
    """
    values = setting.shared | {"training.seed": row.seed}
    if row.part == "guide":
        values |= setting.guide
    elif row.part == "loss":
        values |= setting.losses | LOSS_ALONE | {f"coarse.{k}": v for k, v in LOSSES[row.name].items()}
    elif row.part == "length":
        length = row.name.split()[1]
        values["training.epochs"] = LENGTHS[-1] if length == "continued" else int(length)
    else:
        values |= {f"fine.network.{k}": v for k, v in NETWORKS[row.name].items()} | WINDOWS.get(row.name, {})
        if row.part == "time":
            share = alone[OURS]["step_s"] / alone[row.name]["step_s"]
            values["training.epochs"] = max(1, round(setting.shared["training.epochs"] * share))
        if row.part == "rate":
            values["fine.learning_rate"] = RATE
    values["training.validate_every"] = 5 if row.part == "length" else values["training.epochs"]
    return Config.load("demo", row.run, **values)
