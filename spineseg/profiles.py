"""What each profile changes of the defaults in `config`; a value that equals the default does not belong here."""

from __future__ import annotations

from typing import Any

PROFILES: dict[str, dict[str, Any]] = {
    # CI, nbval and the notebooks' default: a handful of coarse phantoms, two epochs
    "smoke": {
        "cohort.train": 4, "cohort.validation": 2, "cohort.test": 3, "cohort.spacing_mm": 6.0,
        "preparation.spacing_mm": 6.0,
        "baseline.network.channels": (4, 8, 16), "baseline.network.convolutions": (1, 2, 2),
        "baseline.patch": (32, 32, 32), "baseline.steps_per_epoch": 2,
        "coarse.network.channels": (8, 16, 32), "coarse.network.convolutions": (1, 2, 2),
        "coarse.patch": (16, 16, 16), "coarse.steps_per_epoch": 4,
        "fine.network.channels": (8, 16, 32), "fine.network.convolutions": (1, 1, 1),
        "fine.patch": (32, 32, 32), "fine.steps_per_epoch": 2,
        "inference.patch": (32, 32, 32), "training.epochs": 2, "training.validate_every": 1,
        "evaluation.bootstrap_draws": 200,
    },
    # the README's first command: minutes on two cores
    "demo": {
        "cohort.train": 144,
        "cohort.neck_share": 0.5,  # C1-C4 are in a sixth of real scans: too few to measure them on 20 test cases
        "cohort.bone_only_share": 0.13,  # chance gives too few to learn their names from
        "baseline.network.channels": (4, 8, 16, 32), "baseline.network.convolutions": (1, 2, 3, 3),
        "baseline.patch": (32, 32, 32), "baseline.batch": 1, "baseline.steps_per_epoch": 6,
        "coarse.network.channels": (8, 16, 32, 64), "coarse.network.convolutions": (1, 2, 2, 2),
        "coarse.patch": (8, 8, 8), "coarse.steps_per_epoch": 45, "coarse.narrowed_share": 0.1,
        "fine.network.channels": (8, 16, 32, 64), "fine.network.convolutions": (1, 2, 2, 2),
        "fine.patch": (32, 32, 32), "fine.steps_per_epoch": 110, "fine.foreground_share": 0.95,
        "training.turned_share": 0.1, "training.blur_share": 0.1,  # phantoms lie turned and are blurred as they are
        "training.ema_decay": 0.99, "inference.patch": (48, 48, 48),
    },
    # the weights that come with the project: phantoms without end, a quarter of an hour on a large GPU with a dozen
    # `cluster.makers`; `spineseg pack` boxes them
    "boxed": {
        "cohort.train": 1, "cohort.test": 40, "cohort.seed": 20270301, "cohort.spacing_mm": 1.5,
        "cohort.neck_share": 0.5, "cohort.bone_only_share": 0.08,
        "preparation.spacing_mm": 1.5, "preparation.coarse_spacing_mm": 6.0,
        "coarse.network.channels": (16, 32, 64, 96, 96), "coarse.network.convolutions": (1, 2, 2, 2, 2),
        "coarse.patch": (16, 16, 16), "coarse.steps_per_epoch": 200,
        "coarse.phantom_uses": 3, "coarse.phantoms_together": 24,
        "fine.network.channels": (16, 32, 64, 128), "fine.network.convolutions": (1, 2, 2, 2),
        "fine.patch": (96, 96, 96), "fine.batch": 4, "fine.steps_per_epoch": 100, "fine.phantom_uses": 32,
        "fine.phantoms_together": 24, "fine.learning_rate": 3e-3,
        "fine.foreground_share": 0.95, "fine.others_share": 0.05,
        "training.ema_decay": 0.998, "training.turned_share": 0.15,  # phantoms lie turned as they are
        "coarse.narrowed_share": 0.4, "fine.narrowed_share": 0.1,  # many released scans are crops of a few vertebrae
    },
    # one RTX 3060 12 GB or better, the Kaggle set as `spineseg fetch kaggle` leaves it
    "full": {
        "cohort.layout": "kaggle", "cohort.folder": "kaggle", "cohort.spacing_mm": 1.5,
        "preparation.spacing_mm": 1.5, "preparation.coarse_spacing_mm": 6.0,
        "baseline.steps_per_epoch": 250,
        "coarse.patch": (16, 16, 16), "coarse.steps_per_epoch": 250,
        "fine.patch": (96, 96, 96), "fine.steps_per_epoch": 250, "training.ema_decay": 0.999,
    },
}  # fmt: skip
