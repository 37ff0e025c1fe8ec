"""Names in order: one sequence of levels over all vertebrae of a scan, and how sure it is of each.

Every vertebra brings log-probabilities for the 25 names. The sequence that is kept makes their sum large and the cost
of its steps small. Going down from one vertebra to the next, the level rises by one; what else may happen has a chance
(`OrderConfig`): a vertebra in between was missed, T12 or L5 comes twice (a T13, an L6), L1 follows T11 (no T12), or
what was found is no vertebra. The distance between two centres speaks for how many steps lie between them. The same
sums over all sequences, in place of the largest, give the probability of each name. They are divided by a temperature
first: the evidence of neighbours errs together, and a sum that takes it for independent is too sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spineseg.anatomy.labels import IDS, N_VERTEBRAE, VERTEBRAE
from spineseg.anatomy.phantom.levels import dimensions
from spineseg.config import OrderConfig

TYPICAL_ML = 10.0  # up to this volume a piece has `false_chance`, beyond it less
_REPEATABLE = tuple(IDS[v] - 1 for v in ("T12", "L5"))
_T11, _L1 = IDS["T11"] - 1, IDS["L1"] - 1


@dataclass(frozen=True)
class Ordering:
    """Names of the vertebrae of one scan, in the order they were given in.

    Attributes:
        labels: `(n,)` int, 1 to 25; 0 for what is taken for no vertebra.
        confidence: `(n,)` probability of the name, over all sequences; for label 0 that of being no vertebra.
        changes: One sentence for each vertebra whose own evidence prefers another name, and for each gap.
    """

    labels: np.ndarray
    confidence: np.ndarray
    changes: tuple[str, ...]


def spacing_mm() -> np.ndarray:
    """Mean distance from each level's centre to that of the next one down, `(24,)` mm, C1-C2 first."""
    size = dimensions()
    height, disc = size["body_height"], size["disc_below"]
    steps = height[:-1] / 2 + disc[:-1] + height[1:] / 2
    steps[0] = height[1] / 2 + 0.8 * height[0]  # the atlas has no body; see `phantom.spine`
    return steps


def order(evidence: np.ndarray, centres_mm: np.ndarray, volumes_ml: np.ndarray, config: OrderConfig) -> Ordering:
    """Name vertebrae by the best sequence of levels.

    Args:
        evidence: `(n, 25)` log-probabilities of the names.
        centres_mm: `(n, 3)` world RAS.
        volumes_ml: `(n,)`; the larger a piece, the less likely it is no vertebra.
        config: Weight of the evidence, chances of what may happen, temperature of the confidence.

    Returns:
        The names, in the order of the arguments; empty for `n = 0`.

    Raises:
        ValueError: If the shapes do not belong together.
    """
    evidence, centres_mm = np.asarray(evidence, float), np.asarray(centres_mm, float)
    n = len(centres_mm)
    if evidence.shape != (n, N_VERTEBRAE) or centres_mm.shape != (n, 3):
        raise ValueError(f"evidence must be (n, 25) and centres (n, 3), got {evidence.shape} and {centres_mm.shape}")
    if n == 0:
        return Ordering(np.zeros(0, int), np.zeros(0), ())
    down = np.argsort(-centres_mm[:, 2], kind="stable")
    steps = _steps(centres_mm[down], config)
    own = config.evidence_weight * evidence[down]
    cost = np.log(config.false_chance) * np.maximum(1.0, np.sqrt(np.asarray(volumes_ml, float)[down] / TYPICAL_ML))
    passed = np.append(0.0, np.cumsum(cost))  # passed[j] - passed[i]: of passing over vertebrae i to j - 1
    path = _best(own, steps, passed)
    chance = _marginals(*(weight / config.temperature for weight in (own, steps, passed)))  # (n, 25)
    sure = np.where(path >= 0, chance[np.arange(n), np.maximum(path, 0)], 1 - chance.sum(1))
    labels, confidence = np.zeros(n, int), np.zeros(n)
    labels[down], confidence[down] = path + 1, np.clip(sure, 0.0, 1.0)
    return Ordering(labels, confidence, tuple(_changes(path, evidence[down])))


def _steps(centres_mm: np.ndarray, config: OrderConfig) -> np.ndarray:
    """`(n, n, 25, 25)` log-weight of vertebra j of level b coming next after vertebra i of level a."""
    between = spacing_mm()
    position = np.append(0.0, np.cumsum(between))
    level = np.arange(N_VERTEBRAE)
    rise = level[None] - level[:, None]
    expected = np.where(rise > 0, position[None] - position[:, None], np.nan)
    chance = np.where(rise > 0, np.maximum(rise - 1, 0) * np.log(config.missed_chance), -np.inf)
    for a in _REPEATABLE:
        expected[a, a], chance[a, a] = between[a], np.log(config.variant_chance)
    distance = np.linalg.norm(centres_mm[:, None] - centres_mm[None], axis=-1)[..., None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = -0.5 * (np.log(distance / expected) / config.spacing_spread) ** 2
        short = -0.5 * (np.log(distance / between[_T11]) / config.spacing_spread) ** 2
    weight = np.where(np.isfinite(chance), np.nan_to_num(fit, nan=-np.inf) + chance, -np.inf)
    without_t12 = short[..., 0, 0] + np.log(config.variant_chance)
    weight[..., _T11, _L1] = np.maximum(weight[..., _T11, _L1], without_t12)
    return weight


def _best(own: np.ndarray, steps: np.ndarray, passed: np.ndarray) -> np.ndarray:
    """Levels 0 to 24 from the top down along the best sequence; -1 for what it passes over."""
    n = len(own)
    score, back = own + passed[:n, None], np.full((n, N_VERTEBRAE, 2), -1)
    for j in range(n):
        for i in range(j):
            through = score[i][:, None] + steps[i, j] + (passed[j] - passed[i + 1])
            best = through.argmax(0)
            value = through[best, level := np.arange(N_VERTEBRAE)] + own[j]
            better = value > score[j]
            score[j][better] = value[better]
            back[j, level[better]] = np.stack([np.full(better.sum(), i), best[better]], 1)
    total = score + (passed[n] - passed[1:])[:, None]
    path = np.full(n, -1)
    j, level = np.unravel_index(total.argmax(), total.shape)
    while j >= 0:
        path[j] = level
        j, level = back[j, level]
    return path


def _marginals(own: np.ndarray, steps: np.ndarray, passed: np.ndarray) -> np.ndarray:
    """`(n, 25)` probability that a vertebra is in the sequence with that level, over all sequences."""
    n = len(own)
    after = (passed[n] - passed[1:])[:, None]
    ahead, behind = own + passed[:n, None], np.broadcast_to(after, own.shape).copy()
    for j in range(n):
        for i in range(j):
            between = steps[i, j] + (passed[j] - passed[i + 1])
            through = np.logaddexp.reduce(ahead[i][:, None] + between, 0) + own[j]
            ahead[j] = np.logaddexp(ahead[j], through)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            between = steps[i, j] + (passed[j] - passed[i + 1])
            through = np.logaddexp.reduce(between + (own[j] + behind[j])[None], 1)
            behind[i] = np.logaddexp(behind[i], through)
    whole = np.logaddexp.reduce((ahead + after).ravel())
    return np.exp(ahead + behind - whole)


def _changes(path: np.ndarray, evidence: np.ndarray) -> list[str]:
    sentences, above = [], -1
    for i, level in enumerate(path.tolist()):
        own = VERTEBRAE[int(evidence[i].argmax())]
        if level < 0:
            sentences.append(f"piece {i + 1} from the top, by itself {own}, is taken for no vertebra")
            continue
        name = VERTEBRAE[level]
        if name != own:
            sentences.append(f"vertebra {i + 1} from the top, by itself {own}, is {name} in sequence")
        if level == above:
            sentences.append(f"{name} comes twice: a vertebra more than usual")
        elif above == _T11 and level == _L1:
            sentences.append("L1 follows T11: T12 is missing or was missed")
        elif above >= 0 and level > above + 1:
            gap = VERTEBRAE[above + 1] if level == above + 2 else f"{VERTEBRAE[above + 1]} to {VERTEBRAE[level - 1]}"
            sentences.append(f"{gap} not found between {VERTEBRAE[above]} and {name}")
        above = level
    return sentences
