"""The small network on crops of vertebrae beside the trees: the same unseen phantoms, the same places."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from pathology_cohort import folder_of

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.planted_cohort import DISC_KINDS, TRUE, VERTEBRA_KINDS
from spineseg.config import EvaluationConfig
from spineseg.evaluation.operating import auc, auc_interval
from spineseg.learning.crop_network import probabilities, train_on

EPOCHS = 10
KINDS = (*VERTEBRA_KINDS, *DISC_KINDS)
Places = list[tuple[int, str]]


def crops_of(
    work: Path, kind: str, part: str, tables: dict[str, pd.DataFrame]
) -> tuple[np.ndarray, Places, np.ndarray]:
    """Crops of a part that the trees have rows for too.

    Args:
        work: Folder of the cohort.
        kind: Of the masks.
        part: Of the cohort.
        tables: Its features, from `pathology_cohort.read`.

    Returns:
        Crops, seed and vertebra of each, and truths `(n, 9)` of the vertebra and of the disc below it; nan where the
        trees have no such disc.
    """
    bone = tables["vertebrae"].set_index(["seed", "vertebra"])
    gaps = tables["discs"].assign(vertebra=tables["discs"]["disc"].str.split("-").str[0])
    gaps = gaps.set_index(["seed", "vertebra"])
    places, crops, truths = [], [], []
    for seed in tables["vertebrae"]["seed"].unique():
        with np.load(folder_of(work, kind, part) / f"{seed}.npz") as held:
            for key in ((seed, name) for name in held.files):
                if IDS[key[1]] < IDS["C3"] or key not in bone.index:
                    continue
                own = [float(np.isfinite(bone.loc[key, TRUE + k])) for k in VERTEBRA_KINDS]
                below = [
                    float(np.isfinite(gaps.loc[key, TRUE + k])) if key in gaps.index else np.nan for k in DISC_KINDS
                ]
                places.append(key)
                crops.append(held[key[1]])
                truths.append([*own, *below])
    return np.stack(crops), places, np.array(truths)


def beside(scores: np.ndarray, places: Places, found: dict[str, pd.DataFrame], config: EvaluationConfig) -> list[dict]:
    """Areas of the network and of the trees on the places that both have scores for.

    Args:
        scores: `(n, 9)` of the network.
        places: Seed and vertebra of each row.
        found: What the trees say, by kind: `seed`, `place`, `truth`, `score`.
        config: Bootstrap.

    Returns:
        Per kind `n`, `cases`, `auc`, `low`, `high` of the network, `trees`, `trees_low`, `trees_high`.
    """
    rows = []
    for i, kind in enumerate(KINDS):
        if kind not in found:  # too few cases for trees
            continue
        names = [
            name if kind in VERTEBRA_KINDS else f"{name}-{VERTEBRAE[IDS[name]]}" if IDS[name] < len(VERTEBRAE) else ""
            for _, name in places
        ]
        theirs = pd.DataFrame({"seed": [seed for seed, _ in places], "place": names, "network": scores[:, i]})
        both = found[kind].merge(theirs, on=["seed", "place"])
        row = {"kind": kind, "n": len(both), "cases": int(both["truth"].sum())}
        for column, name in (("network", ""), ("score", "trees_")):
            low, high = auc_interval(both[column], both["truth"], both["seed"], config)
            row |= {name.rstrip("_") or "auc": auc(both[column], both["truth"]), f"{name}low": low, f"{name}high": high}
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def study(work: Path, train: dict, tests: dict, config: EvaluationConfig) -> dict:
    """Train on crops and score other phantoms.

    Args:
        work: Folder of the cohort.
        train: Features by kind of mask; crops of all of them are trained on.
        tests: `{name: (kind of mask, part, features, what the trees found)}`.
        config: Bootstrap.

    Returns:
        Rows of `beside` by the names of the tests, and what the training took.
    """
    parts = [crops_of(work, kind, "train", tables) for kind, tables in train.items()]
    crops, truth = np.concatenate([p[0] for p in parts]), np.concatenate([p[2] for p in parts])
    start = time.perf_counter()
    network = train_on(crops, truth, epochs=EPOCHS)
    answer = {"crops": len(crops), "epochs": EPOCHS, "seconds": round(time.perf_counter() - start, 1)}
    answer["parameters"] = sum(p.numel() for p in network.parameters())
    for name, (kind, part, tables, found) in tests.items():
        unseen, places, _ = crops_of(work, kind, part, tables)
        answer[name] = beside(probabilities(network, unseen), places, found, config)
    return answer
