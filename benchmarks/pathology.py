"""The call on phantoms that it was not fitted to: measurements with boosted trees, and a small network on crops.

Run `python benchmarks/pathology.py WORK [--network] [--out FILE]` after `pathology_cohort.py WORK`. Writes the study's
numbers, and with `--keep` the trees that come with the project.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spineseg import paths
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.planted_cohort import DISC_KINDS, TRUE, VERTEBRA_KINDS
from spineseg.config import Config
from spineseg.data.atomic import write_text
from spineseg.evaluation.operating import auc, auc_interval, called, reliability_at, threshold_at
from spineseg.learning import health
from spineseg.report.health_training import boxed

CONFIG = Config()
ALL = {"vertebrae": VERTEBRA_KINDS, "discs": DISC_KINDS}
EPOCHS = 8
HEIGHTS = [f"height_{place}_mm" for place in ("anterior", "middle", "posterior")]
MASK_MEASURES = {
    "body height": ("vertebrae", HEIGHTS),
    "wedge angle": ("vertebrae", ["wedge_degrees"]),
    "disc height": ("discs", HEIGHTS),
    "angle across a disc": ("discs", ["angle_degrees"]),
    "slip": ("discs", ["slip_mm"]),
}
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


def read(folder: Path, kind: str) -> dict[str, pd.DataFrame]:
    """Features and truths of a part's phantoms."""
    both = [
        pd.concat([pd.read_csv(f) for f in sorted(folder.glob(f"*_{kind}_{t}.csv"))], ignore_index=True) for t in ALL
    ]
    return health.with_features(*both)


def scored(model, tables) -> dict[str, pd.DataFrame]:
    """Per kind: `seed`, `place`, `truth`, `severity`, `score`."""
    found = {}
    for table, kinds in model.items():
        rows = tables[table]
        for kind, trees in kinds.items():
            severity = rows[TRUE + kind].to_numpy(float)
            found[kind] = pd.DataFrame(
                {
                    "seed": rows["seed"], "place": rows[health.NAME[table]], "truth": np.isfinite(severity),
                    "severity": severity, "score": trees.probability(rows),
                }
            )  # fmt: skip
    return found


def summary(found: dict[str, pd.DataFrame], thresholds: dict[str, float]) -> list[dict]:
    """Per kind: cases, AUC with interval, and at the threshold what is missed and what is raised."""
    rows = []
    for kind, t in found.items():
        low, high = auc_interval(t["score"], t["truth"], t["seed"], CONFIG.evaluation)
        yes = called(t["score"], thresholds[kind])
        rows.append(
            {
                "kind": kind, "n": len(t), "cases": int(t["truth"].sum()), "patients": int(t["seed"].nunique()),
                "auc": auc(t["score"], t["truth"]), "low": low, "high": high,
                "missed": int((t["truth"] & ~yes).sum()), "raised_share": float(yes[~t["truth"]].mean()),
            }
        )  # fmt: skip
    return [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def missed(found: dict[str, pd.DataFrame], thresholds) -> list[dict]:
    """Every case that is not called, with its severity."""
    rows = []
    for kind, t in found.items():
        for row in t[t["truth"] & ~called(t["score"], thresholds[kind])].itertuples():
            rows.append({"kind": kind, "place": row.place, "seed": int(row.seed), "severity": round(row.severity, 3)})
    return rows


def by_severity(parts: list[dict[str, pd.DataFrame]], thresholds) -> list[dict]:
    """Share of cases that are called, by kind and tenths of severity, over several parts."""
    rows = []
    for kind in parts[0]:
        t = pd.concat([p[kind] for p in parts])
        t = t[t["truth"]]
        for low in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7):
            high = {0.3: 0.5, 0.5: 0.7, 0.7: 1.01}.get(low, low + 0.1)
            own = t[(t["severity"] >= low) & (t["severity"] < high)]
            yes = int(called(own["score"], thresholds[kind]).sum())
            rows.append({"kind": kind, "low": low, "high": min(high, 1.0), "cases": len(own), "called": yes})
    return rows


def bins(found: dict[str, pd.DataFrame]) -> list[dict]:
    """Reliability over all kinds together."""
    t = pd.concat(found.values(), ignore_index=True)
    rows = reliability_at(t["score"], t["truth"], t["seed"], EDGES, CONFIG.evaluation)
    return [{k: round(v, 4) for k, v in row.items()} for row in rows]


def mask_errors(folder: Path) -> list[dict]:
    """Predicted minus own-label measures of the same vertebrae and discs: n, missing, median and 90th percentile."""
    parts: dict[str, list] = {name: [] for name in MASK_MEASURES}
    for file in sorted(folder.glob("*_predicted_vertebrae.csv")):
        for name, (table, columns) in MASK_MEASURES.items():
            key = health.NAME[table]
            own, theirs = (
                pd.read_csv(file.with_name(file.name.replace("predicted_vertebrae", f"{kind}_{table}"))).set_index(key)[
                    columns
                ]
                for kind in ("perfect", "predicted")
            )
            parts[name].append(
                (theirs.reindex(own.index) - own)
                .where(own.notna())
                .stack(future_stack=True)[own.notna().stack(future_stack=True)]
            )
    rows = []
    for name, found in parts.items():
        error = pd.concat(found)
        size = error.dropna().abs()
        row = {"measure": name, "n": len(error), "missing": int(error.isna().sum())}
        rows.append(row | {"median": round(float(size.median()), 3), "p90": round(float(size.quantile(0.9)), 3)})
    return rows


def crops_of(folder: Path, tables) -> tuple[np.ndarray, dict[str, pd.DataFrame], np.ndarray]:
    """Crops of a part, the rows of both tables, and truths `(n, 9)` of a vertebra and the disc below it."""
    names, crops, truths = [], [], []
    bone = tables["vertebrae"].set_index(["seed", "vertebra"])
    gaps = tables["discs"].assign(vertebra=tables["discs"]["disc"].str.split("-").str[0])
    gaps = gaps.set_index(["seed", "vertebra"])
    for seed in tables["vertebrae"]["seed"].unique():
        with np.load(folder / f"{seed}.npz") as held:
            for name in held.files:
                key = (seed, name)
                if IDS[name] < IDS["C3"] or key not in bone.index:
                    continue
                own = [float(np.isfinite(bone.loc[key, TRUE + k])) for k in VERTEBRA_KINDS]
                below = [
                    float(np.isfinite(gaps.loc[key, TRUE + k])) if key in gaps.index else np.nan for k in DISC_KINDS
                ]
                names.append(key)
                crops.append(held[name])
                truths.append([*own, *below])
    return np.stack(crops), names, np.array(truths)


def network_study(work: Path, train, test, mild) -> dict:
    """Train on crops and score both other parts."""
    from spineseg.learning.crop_network import probabilities, train_on

    crops, _, truth = crops_of(work / "train", train)
    start = time.perf_counter()
    network = train_on(crops, truth, epochs=EPOCHS)
    spent, kinds, answer = time.perf_counter() - start, (*VERTEBRA_KINDS, *DISC_KINDS), {}
    for part, tables in (("test", test), ("mild", mild)):
        crops_, names, truth_ = crops_of(work / part, tables)
        scores = probabilities(network, crops_)
        found = {}
        for i, kind in enumerate(kinds):
            known = ~np.isnan(truth_[:, i])
            found[kind] = pd.DataFrame(
                {
                    "seed": [n[0] for n, k in zip(names, known, strict=True) if k], "truth": truth_[known, i] > 0,
                    "score": scores[known, i],
                }
            )  # fmt: skip
        thresholds = {k: threshold_at(t["score"], t["truth"], CONFIG.health.specificity) for k, t in found.items()}
        answer[part] = summary(found, thresholds)
    return answer | {"crops": len(crops), "epochs": EPOCHS, "seconds": round(spent, 1)}


def main(arguments=None) -> int:
    """Fit, score and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write the trees where the project's own lie")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "pathology.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test, mild = (read(options.work / part, "perfect") for part in ("train", "test", "mild"))
    start = time.perf_counter()
    model = health.fit(train, CONFIG.health)
    spent = time.perf_counter() - start
    found = scored(model, test)
    thresholds = {k: threshold_at(t["score"], t["truth"], CONFIG.health.specificity) for k, t in found.items()}
    faint = scored(model, mild)
    patients = {
        name: int(t["vertebrae"]["seed"].nunique()) for name, t in (("train", train), ("test", test), ("mild", mild))
    }
    answer = {
        "caveat": health.CAVEAT, "patients": patients, "fit_seconds": round(spent, 1),
        "specificity": CONFIG.health.specificity, "thresholds": {k: round(v, 4) for k, v in thresholds.items()},
        "perfect": summary(found, thresholds), "mild": summary(faint, thresholds),
        "missed": missed(found, thresholds), "by_severity": by_severity([faint, found], thresholds),
        "reliability": bins(found),
        "features": {
            kind: health.importance(trees).head(4).round(3).to_dict()
            for kinds in model.values() for kind, trees in kinds.items()
        },
    }  # fmt: skip
    if any((options.work / "test").glob("*_predicted_vertebrae.csv")):
        predicted = read(options.work / "test", "predicted")
        seen = set(predicted["vertebrae"]["seed"])
        same = {t: rows[rows["seed"].isin(seen)] for t, rows in test.items()}
        answer["predicted"] = summary(scored(model, predicted), thresholds)
        answer["perfect_of_same"] = summary(scored(model, same), thresholds)
        answer["predicted_patients"] = len(seen)
        answer["mask_errors"] = mask_errors(options.work / "test")
    if options.network:
        answer["network"] = network_study(options.work, train, test, mild)
    elif options.out.is_file():
        answer |= {k: v for k, v in json.loads(options.out.read_text()).items() if k == "network"}
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    if options.keep:
        source = f"{patients['train']} phantoms from seed {int(train['vertebrae']['seed'].min())}"
        kinds = {row["kind"]: {"cases": row["cases"]} for row in answer["perfect"]}
        health.save(model, boxed(), {"source": source, "tested": kinds})
        print(boxed(), boxed().stat().st_size)
    for part in ("perfect", "mild", "predicted", "perfect_of_same"):
        print(part, pd.DataFrame(answer.get(part, [])).to_string())
    print(json.dumps(answer.get("network", {}), indent=1)[:3500])
    return 0


if __name__ == "__main__":
    sys.exit(main())
