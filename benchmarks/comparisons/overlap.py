"""Dice of 25 classes of two label maps."""

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import spine

from spineseg.anatomy.labels import N_CLASSES
from spineseg.evaluation.metrics import dice_per_class


def loop(reference, prediction):
    """Class by class."""
    dice = np.full(N_CLASSES, np.nan)
    for value in range(N_CLASSES):
        a, b = reference == value, prediction == value
        total = a.sum() + b.sum()
        if total:
            dice[value] = 2 * (a & b).sum() / total
    return dice


def races(quick: bool) -> list[Race]:
    """Two label maps of 250-cubed."""
    side = 32 if quick else 250
    reference, prediction = spine(side, 0), spine(side, 1)
    monai, utils = peer("monai.metrics"), peer("monai.networks.utils")

    def of_monai():
        hot = [utils.one_hot(torch.from_numpy(m)[None, None], N_CLASSES, dtype=torch.float32) for m in both]
        return monai.compute_dice(hot[1], hot[0], include_background=True)[0].numpy()

    both = (reference, prediction)
    sides = {OURS: lambda: dice_per_class(*both), "MONAI compute_dice": monai and of_monai, "loop": lambda: loop(*both)}

    def check(results):
        answer = {}
        for name, dice in results.items():
            apart = float(np.nanmax(np.abs(dice - results[OURS])))
            assert apart <= 1e-6, f"{name}: Dice {apart} apart"
            answer[name] = (True, f"{apart:.0e} apart")
        return answer

    targets = {"MONAI compute_dice": 500.0, "loop": 80.0}
    return [Race("Dice of 26 classes", sides, check, targets)]
