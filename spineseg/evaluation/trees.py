"""Boosted trees as plain numbers: read from JSON and evaluated with NumPy, so that a call needs no further library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LARGEST_LOGIT = 700.0  # whose exponential is still a number; a kind that is told without error has a steep slope


@dataclass(frozen=True)
class Trees:
    """A binary classifier: a sum of trees, its logit straightened.

    Attributes:
        features: Names of the columns, in order.
        fill: What stands in for a missing value, per feature.
        start: Of the sum.
        rate: By which every tree's value is multiplied.
        nodes: Per tree five lists: feature (-1 in a leaf), threshold, child where the value is at most that, other
            child, value of a leaf.
        straight: Slope and offset of the sum's logit, fitted on cases that the trees had not seen.
    """

    features: tuple[str, ...]
    fill: tuple[float, ...]
    start: float
    rate: float
    nodes: tuple[tuple[list, ...], ...]
    straight: tuple[float, float]

    def margin(self, table) -> np.ndarray:
        """Sum of the trees, before it is straightened.

        Args:
            table: Has the columns `features`; missing values are nan.

        Returns:
            `(n,)`.

        Raises:
            KeyError: If a column is missing.
        """
        values = np.asarray(table[list(self.features)], float)
        values = np.where(np.isfinite(values), values, np.asarray(self.fill)).astype(np.float32)
        total = np.full(len(values), self.start)
        for feature, threshold, left, right, leaf in self.nodes:
            feature, left, right = (np.asarray(v) for v in (feature, left, right))
            threshold, leaf = np.asarray(threshold, float), np.asarray(leaf, float)
            at = np.zeros(len(values), int)
            while (inner := feature[at] >= 0).any():
                rows = np.flatnonzero(inner)
                here = at[rows]
                low = values[rows, feature[here]] <= threshold[here]
                at[rows] = np.where(low, left[here], right[here])
            total += self.rate * leaf[at]
        return total

    def probability(self, table) -> np.ndarray:
        """Calibrated probability of each row."""
        slope, offset = self.straight
        logit = np.clip(slope * self.margin(table) + offset, -_LARGEST_LOGIT, _LARGEST_LOGIT)
        return 1.0 / (1.0 + np.exp(-logit))

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return {
            "features": list(self.features), "fill": list(self.fill), "start": self.start, "rate": self.rate,
            "nodes": [list(map(list, tree)) for tree in self.nodes], "straight": list(self.straight),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, known: dict) -> Trees:
        """What `to_dict` wrote.

        Raises:
            ValueError: If a part is missing or a tree points outside itself.
        """
        try:
            nodes = tuple(tuple(list(part) for part in tree) for tree in known["nodes"])
            made = cls(
                tuple(known["features"]), tuple(map(float, known["fill"])), float(known["start"]), float(known["rate"]),
                nodes, tuple(map(float, known["straight"])),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"trees lack a part: {error}; fit them again") from None
        for tree in nodes:
            count = len(tree[0])
            sound = len(tree) == 5 and all(len(part) == count for part in tree)
            for f, left, right in zip(*(tree[k] for k in (0, 2, 3)), strict=False) if sound else ():
                sound &= f < 0 or (0 <= f < len(made.features) and 0 < left < count and 0 < right < count)
            if not sound:
                raise ValueError("a tree points outside itself; fit the trees again")
        return made
