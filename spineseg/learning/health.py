"""The call: per vertebra and per disc how likely each kind of pathology is.

Trained on synthetic pathology, not a diagnosis. One set of boosted trees per kind, fitted with scikit-learn, which only
this module needs and only for fitting; its logit is straightened on patients that the trees had not seen, and both are
kept as plain numbers in a JSON file.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg.anatomy.planted_cohort import DISC_KINDS, TRUE, VERTEBRA_KINDS
from spineseg.config import HealthConfig
from spineseg.evaluation.health_features import OF_DISC, OF_VERTEBRA, features_of
from spineseg.evaluation.trees import Trees

CAVEAT = "Trained on synthetic pathology, not a diagnosis."
KINDS = {"vertebrae": VERTEBRA_KINDS, "discs": DISC_KINDS}
NAME = {"vertebrae": "vertebra", "discs": "disc"}
FEATURES = {"vertebrae": tuple(OF_VERTEBRA), "discs": tuple(OF_DISC)}


def with_features(vertebrae: pd.DataFrame, discs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Features, names and truths of many scans, of what could be measured.

    Args:
        vertebrae: Of `clinical.examine`, with a column `seed` (the scan) and perhaps columns `true_<kind>`.
        discs: Likewise.

    Returns:
        Tables `vertebrae` and `discs`; rows without any height are left out.
    """
    parts = {"vertebrae": [], "discs": []}
    for seed, bone in vertebrae.groupby("seed", sort=False):
        gaps = discs[discs["seed"] == seed]
        for kind, table, found in zip(parts, (bone, gaps), features_of(bone, gaps), strict=True):
            known = [c for c in table if c.startswith(TRUE)]
            about = table[[NAME[kind], "seed", *known]].reset_index(drop=True)
            measured = table["height_middle_mm"].notna().to_numpy()
            parts[kind].append(pd.concat([about, found], axis=1)[measured])
    return {kind: pd.concat(tables, ignore_index=True) if tables else pd.DataFrame() for kind, tables in parts.items()}


def fit(tables: dict[str, pd.DataFrame], config: HealthConfig) -> dict[str, dict[str, Trees]]:
    """Fit trees for every kind of which both answers occur in enough patients.

    Args:
        tables: From `with_features`, with truths; a truth is nan where the kind is absent, a number where present.
        config: Size of the trees, folds, seed.

    Returns:
        `{table: {kind: trees}}`; a kind with fewer than `config.least_cases` cases is left out.

    Raises:
        ImportError: If scikit-learn is not installed; it names the extra that brings it.
    """
    try:
        from sklearn.ensemble import GradientBoostingClassifier
    except ImportError as error:
        raise ImportError("fitting a call needs scikit-learn; pip install 'spineseg[pathology]'") from error
    options = {
        "n_estimators": config.trees, "max_depth": config.depth, "learning_rate": config.rate,
        "subsample": config.subsample, "min_samples_leaf": config.least_leaf, "random_state": config.seed,
    }  # fmt: skip
    found: dict[str, dict[str, Trees]] = {"vertebrae": {}, "discs": {}}
    for table, rows in tables.items():
        for column in [c for c in rows if c.startswith(TRUE)]:
            truth = rows[column].notna().to_numpy()
            if min(truth.sum(), (~truth).sum()) < config.least_cases:
                continue
            values = rows[list(FEATURES[table])].astype(float)
            fill = values.median().fillna(0.0)
            filled = values.replace([np.inf, -np.inf], np.nan).fillna(fill).to_numpy(np.float32)
            fold = rows["seed"].map({s: k % config.folds for k, s in enumerate(rows["seed"].unique())}).to_numpy()
            unseen = np.full(len(rows), np.nan)
            for k in range(config.folds):
                if truth[fold != k].any() and (fold == k).any():
                    part = GradientBoostingClassifier(**options).fit(filled[fold != k], truth[fold != k])
                    unseen[fold == k] = part.decision_function(filled[fold == k])
            seen = np.isfinite(unseen)
            straight = _straightened(unseen[seen], truth[seen])
            model = GradientBoostingClassifier(**options).fit(filled, truth)
            found[table][column.removeprefix(TRUE)] = _as_trees(model, FEATURES[table], fill, straight)
    return found


def call(model: dict[str, dict[str, Trees]], vertebrae: pd.DataFrame, discs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Probabilities for one scan.

    Args:
        model: From `fit` or `load`.
        vertebrae: Of `clinical.examine`.
        discs: Likewise.

    Returns:
        Tables `vertebrae` and `discs`: the name and a column per kind; nan where nothing could be measured.
    """
    found = {}
    for table, rows, features in zip(KINDS, (vertebrae, discs), features_of(vertebrae, discs), strict=True):
        own = rows[[NAME[table]]].reset_index(drop=True)
        measured = rows["height_middle_mm"].notna().to_numpy()
        for kind, trees in model.get(table, {}).items():
            own[kind] = np.where(measured, trees.probability(features), np.nan) if len(own) else []
        found[table] = own
    return found


def importance(trees: Trees) -> pd.Series:
    """Share of all splits of a classifier that each feature makes, the largest first."""
    count = np.zeros(len(trees.features))
    for feature, *_ in trees.nodes:
        for f in feature:
            count[f] += f >= 0
    return pd.Series(count / max(count.sum(), 1), index=trees.features).sort_values(ascending=False)


def save(model: dict[str, dict[str, Trees]], path: Path, about: dict) -> None:
    """Write a model as JSON with what is to be known of it."""
    from spineseg.data.atomic import write_text

    known = {t: {kind: trees.to_dict() for kind, trees in kinds.items()} for t, kinds in model.items()}
    write_text(path, json.dumps({"caveat": CAVEAT, "about": about, "model": known}) + "\n")


def load(path: Path) -> tuple[dict[str, dict[str, Trees]], dict]:
    """Read what `save` wrote: the model and what is known of it.

    Raises:
        ValueError: If the file is no such model.
        OSError: If it cannot be read.
    """
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        model = {t: {kind: Trees.from_dict(v) for kind, v in kinds.items()} for t, kinds in known["model"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} holds no call: {error}; fit it again with spineseg health") from None
    return model, known.get("about", {})


def _straightened(margin, truth) -> tuple[float, float]:
    """Slope and offset of a logistic curve through the trees' logit, by Newton's method; slightly drawn to 1 and 0."""
    if len(margin) == 0 or truth.all() or not truth.any():
        return 1.0, 0.0
    design = np.stack([margin, np.ones_like(margin)], axis=1)
    prior, weight = np.array([1.0, 0.0]), np.diag([1.0, 0.01])

    def loss(at):
        line = design @ at
        return np.sum(np.logaddexp(0.0, line) - truth * line) + 0.5 * (at - prior) @ weight @ (at - prior)

    at = prior.copy()
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ at, -30, 30)))
        gradient = design.T @ (p - truth) + weight @ (at - prior)
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + weight, gradient)
        length = 1.0
        while length > 1e-6 and loss(at - length * step) > loss(at):  # a whole step may overshoot
            length /= 2
        at = at - length * step
    return float(at[0]), float(at[1])


def _as_trees(model, features, fill, straight) -> Trees:
    nodes = []
    for (tree,) in model.estimators_:
        t = tree.tree_
        leaf = t.children_left < 0
        nodes.append(
            (
                np.where(leaf, -1, t.feature).tolist(),
                np.where(leaf, 0.0, t.threshold).round(7).tolist(),
                np.where(leaf, 0, t.children_left).tolist(),
                np.where(leaf, 0, t.children_right).tolist(),
                np.where(leaf, t.value[:, 0, 0], 0.0).round(6).tolist(),
            )
        )
    share = float(model.init_.class_prior_[1])
    start = float(np.log(share / (1 - share)))
    return Trees(tuple(features), tuple(float(v) for v in fill), start, model.learning_rate, tuple(nodes), straight)
