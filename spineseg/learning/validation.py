"""How well a network in training does on the validation cases, per vertebra."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.labels import IDS, N_CLASSES, REGION_OF, REGIONS, VERTEBRAE
from spineseg.evaluation.metrics import centroids_mm, confusion, identification


class Tally:
    """Voxel counts and identified vertebrae, added up over validation items.

    Args:
        spacing_mm: Voxel size of the grid, isotropic.
        radius_mm: Identification radius.
    """

    def __init__(self, spacing_mm: float, radius_mm: float):
        self.affine, self.radius_mm = np.diag([spacing_mm] * 3 + [1.0]), radius_mm
        self.counts = np.zeros((N_CLASSES, N_CLASSES), np.int64)
        self.found, self.seen = np.zeros(N_CLASSES), np.zeros(N_CLASSES)
        self.losses: list[float] = []

    def add(self, reference: torch.Tensor, prediction: torch.Tensor, loss: float) -> None:
        """Add one item: two label maps `(I, J, K)`, and its loss."""
        reference, prediction = (labels.to(torch.uint8).cpu().numpy() for labels in (reference, prediction))
        self.counts += confusion(reference, prediction)
        centres = [centroids_mm(m, self.affine) for m in (reference, prediction)]
        hit = identification(*centres, radius_mm=self.radius_mm)
        self.found += np.nan_to_num(hit)
        self.seen += ~np.isnan(hit)
        self.losses.append(loss)

    def dice(self) -> np.ndarray:
        """Dice per class, pooled over the items; nan for a class that occurs neither here nor there."""
        total = self.counts.sum(0) + self.counts.sum(1)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, 2 * np.diag(self.counts) / total, np.nan)

    def summary(self) -> dict[str, float]:
        """Mean loss, Dice per region, over all classes present and for all vertebrae as one, identification."""
        dice = self.dice()
        present = self.counts.sum(1) > 0
        means = {}
        for region in REGIONS:
            rows = [IDS[v] for v in VERTEBRAE if REGION_OF[v] == region and present[IDS[v]]]
            means[f"dice_{region}"] = float(np.mean(dice[rows])) if rows else float("nan")
        rows = np.flatnonzero(present[1:]) + 1
        inside = self.counts[1:, 1:].sum()
        either = self.counts[1:].sum() + self.counts[:, 1:].sum()
        return {
            "validation_loss": float(np.mean(self.losses)),
            **means,
            "dice_mean": float(np.mean(dice[rows])) if len(rows) else float("nan"),
            "dice_binary": float(2 * inside / either) if either else float("nan"),
            "identification": float(self.found.sum() / self.seen.sum()) if self.seen.sum() else float("nan"),
        }

    def per_vertebra(self) -> list[dict]:
        """One row per vertebra that occurs: `vertebra, dice, identified`."""
        dice = self.dice()
        return [
            {"vertebra": v, "dice": float(dice[IDS[v]]), "identified": float(self.found[IDS[v]] / self.seen[IDS[v]])}
            for v in VERTEBRAE
            if self.seen[IDS[v]]
        ]
