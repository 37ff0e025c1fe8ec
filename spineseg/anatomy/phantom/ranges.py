"""Numbers that differ from scan to scan: drawn between two ends that widen or narrow around their middle."""

from __future__ import annotations

import numpy as np


def within(
    rng: np.random.Generator,
    low: float,
    high: float,
    spread: float = 1.0,
    *,
    least: float = -np.inf,
    most: float = np.inf,
) -> float:
    """Draw evenly from a range.

    Args:
        rng: Gives one number, whatever the spread.
        low: Lower end at spread 1.
        high: Upper end at spread 1.
        spread: Width of the range against that; 0 always gives the middle.
        least: What no wide range may fall below.
        most: What none may exceed.

    Returns:
        The value.
    """
    middle, half = (low + high) / 2, spread * (high - low) / 2
    return float(np.clip(middle + half * rng.uniform(-1.0, 1.0), least, most))


def within_log(
    rng: np.random.Generator, low: float, high: float, spread: float = 1.0, *, most: float = np.inf
) -> float:
    """As `within`, evenly on a logarithmic scale: the middle is the geometric mean of the positive ends."""
    return float(np.exp(within(rng, np.log(low), np.log(high), spread, most=np.log(most))))
