"""The call on phantoms that it was not fitted to: measurements with boosted trees, and a small network on crops.

Run `python benchmarks/pathology.py WORK [--network] [--least-cases N] [--out FILE]` after
`pathology_cohort.py WORK --predicted`. Writes the study's numbers, and with `--keep` the trees that come with the
project. Both are fitted to measures in the labels of phantoms and in predicted masks of the same patients.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pathology_cohort import KINDS as MASKS
from pathology_cohort import folder_of, read, rows_of, weights_sha
from pathology_network import study
from pathology_scoliosis import curves

from spineseg import paths
from spineseg.anatomy.planted_cohort import DISC_KINDS, TRUE, VERTEBRA_KINDS
from spineseg.config import Config
from spineseg.data.atomic import write_text
from spineseg.evaluation.operating import auc, auc_interval, called, reliability_at, threshold_at
from spineseg.learning import health
from spineseg.report.health_training import boxed

CONFIG = Config()
ALL = {"vertebrae": VERTEBRA_KINDS, "discs": DISC_KINDS}
HEIGHTS = [f"height_{place}_mm" for place in ("anterior", "middle", "posterior")]
MASK_MEASURES = {
    "body height": ("vertebrae", HEIGHTS),
    "wedge angle": ("vertebrae", ["wedge_degrees"]),
    "disc height": ("discs", HEIGHTS),
    "angle across a disc": ("discs", ["angle_degrees"]),
    "slip": ("discs", ["slip_mm"]),
}
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


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


def thresholds_of(found: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Per kind the score that one in ten healthy places lies above, or as few as the configuration says."""
    return {k: threshold_at(t["score"], t["truth"], CONFIG.health.specificity) for k, t in found.items()}


def summary(found: dict[str, pd.DataFrame], thresholds: dict[str, float]) -> list[dict]:
    """Per kind: cases, AUC with interval, what is missed and raised at a threshold, and missed at the rows' own one."""
    rows, own = [], thresholds_of(found)
    for kind, t in found.items():
        low, high = auc_interval(t["score"], t["truth"], t["seed"], CONFIG.evaluation)
        yes = called(t["score"], thresholds[kind])
        rows.append(
            {
                "kind": kind, "n": len(t), "cases": int(t["truth"].sum()), "patients": int(t["seed"].nunique()),
                "auc": auc(t["score"], t["truth"]), "low": low, "high": high,
                "missed": int((t["truth"] & ~yes).sum()), "raised_share": float(yes[~t["truth"]].mean()),
                "missed_at_own": int((t["truth"] & ~called(t["score"], own[kind])).sum()),
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


def mask_errors(work: Path) -> list[dict]:
    """Predicted minus own-label measures of the same vertebrae and discs: n, missing, median and 90th percentile."""
    predicted = folder_of(work, "predicted", "test")
    folders = {"perfect": folder_of(work, "perfect", "test"), "predicted": predicted}
    parts: dict[str, list] = {name: [] for name in MASK_MEASURES}
    for seed in sorted(file.name.split("_")[0] for file in predicted.glob("*_vertebrae.csv")):
        for name, (table, columns) in MASK_MEASURES.items():
            key = health.NAME[table]
            own, theirs = (pd.read_csv(folders[kind] / f"{seed}_{table}.csv").set_index(key)[columns] for kind in MASKS)
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


def main(arguments=None) -> int:
    """Fit, score and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--network", action="store_true", help="train the network on crops too")
    parser.add_argument(
        "--least-cases", type=int, help="of a kind, for trees of their own; the configuration's if absent"
    )
    parser.add_argument("--keep", action="store_true", help="write the trees where the project's own lie")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "pathology.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work, config = options.work, CONFIG.health
    if options.least_cases:
        config = dataclasses.replace(config, least_cases=options.least_cases)
    train, test = ({kind: read(work, kind, part) for kind in MASKS} for part in ("train", "test"))
    mild = read(work, "perfect", "mild")
    seen = {part: set(tables["predicted"]["vertebrae"]["seed"]) for part, tables in (("train", train), ("test", test))}
    start = time.perf_counter()
    model = health.fit({t: pd.concat([train[kind][t] for kind in MASKS], ignore_index=True) for t in ALL}, config)
    spent = time.perf_counter() - start
    alone = health.fit(train["perfect"], config)
    found = {kind: scored(model, tables) for kind, tables in test.items()}
    thresholds = thresholds_of(found["perfect"])
    faint = scored(model, mild)
    same = {t: rows[rows["seed"].isin(seen["test"])] for t, rows in test["perfect"].items()}
    patients = {"train": train["perfect"], "test": test["perfect"], "mild": mild}
    scans = {kind: rows_of(work, kind, "test", "scan") for kind in MASKS}
    answer = {
        "caveat": health.CAVEAT, "weights": weights_sha(),
        "patients": {name: int(t["vertebrae"]["seed"].nunique()) for name, t in patients.items()},
        "predicted_train": len(seen["train"]), "predicted_patients": len(seen["test"]), "fit_seconds": round(spent, 1),
        "specificity": CONFIG.health.specificity, "thresholds": {k: round(v, 4) for k, v in thresholds.items()},
        "perfect": summary(found["perfect"], thresholds), "mild": summary(faint, thresholds),
        "predicted": summary(found["predicted"], thresholds),
        "perfect_of_same": summary(scored(model, same), thresholds),
        "predicted_alone": summary(scored(alone, test["predicted"]), thresholds_of(scored(alone, test["perfect"]))),
        "missed": missed(found["perfect"], thresholds),
        "by_severity": by_severity([faint, found["perfect"]], thresholds),
        "reliability": bins(found["perfect"]), "reliability_predicted": bins(found["predicted"]),
        "features": {
            kind: health.importance(trees).head(4).round(3).to_dict()
            for kinds in model.values() for kind, trees in kinds.items()
        },
        "mask_errors": mask_errors(work), "scoliosis_degrees": CONFIG.morphometry.scoliosis_degrees,
        "scoliosis": {kind: curves(rows, CONFIG.morphometry.scoliosis_degrees) for kind, rows in scans.items()},
    }  # fmt: skip
    if options.network:
        tests = {kind: (kind, "test", test[kind], found[kind]) for kind in MASKS}
        tests["mild"] = ("perfect", "mild", mild, faint)
        answer["network"] = study(work, train, tests, CONFIG.evaluation)
    elif options.out.is_file():
        answer |= {k: v for k, v in json.loads(options.out.read_text()).items() if k == "network"}
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    if options.keep:
        first = int(train["perfect"]["vertebrae"]["seed"].min())
        source = f"{answer['patients']['train']} phantoms from seed {first}, {len(seen['train'])} of them in masks too "
        source += f"that the weights {answer['weights']} predicted"
        kinds = {row["kind"]: {"cases": row["cases"]} for row in answer["perfect"]}
        health.save(model, boxed(), {"source": source, "tested": kinds})
        print(boxed(), boxed().stat().st_size)
    for part in ("perfect", "mild", "predicted", "perfect_of_same", "predicted_alone"):
        print(part, pd.DataFrame(answer[part]).to_string())
    print(json.dumps(answer["scoliosis"], indent=1))
    for part in ("perfect", "predicted", "mild"):
        print("network", part, pd.DataFrame(answer.get("network", {}).get(part, [])).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
