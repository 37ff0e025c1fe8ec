"""What the benchmarks of measuring and of the call found, as tables and words for the chapter."""

from __future__ import annotations

import json

import pandas as pd

from spineseg import paths
from spineseg.anatomy.labels import IDS
from spineseg.evaluation.health_features import OF_DISC, OF_VERTEBRA
from spineseg.report.score_tables import with_interval

SHOWN = {
    "fracture": "fracture", "node": "Schmorl's node", "spur": "osteophytes", "low_density": "low density",
    "narrow": "narrow disc", "vacuum": "gas in the disc", "sclerosis": "endplate sclerosis", "fused": "fused levels",
    "slip": "slip",
}  # fmt: skip
LEAST_MILD = 5  # cases of a kind, below which its area is not quoted
ALL_OR_NOTHING = ("vacuum", "fused")  # gas and blocks are there or not
AS_DRAWN = "wedge angle as drawn"  # against the angle of the shape, not the measure taken of its exact surfaces
UNITS = {"wedge angle": "degrees", AS_DRAWN: "degrees", "angle across a disc": "degrees",
         "cervical lordosis": "degrees", "thoracic kyphosis": "degrees", "lumbar lordosis": "degrees",
         "Cobb angle": "degrees"}  # fmt: skip
PARTS = {"perfect": "perfect masks", "perfect_of_same": "perfect masks, the same scans", "predicted": "predicted masks",
         "predicted_alone": "predicted masks, trees of own labels alone", "mild": "milder than trained on"}  # fmt: skip
NETWORK = {"perfect": "network, perfect masks", "predicted": "network, predicted masks"}


def load(name: str) -> dict:
    """What a benchmark measured last, by the name of its file."""
    return json.loads((paths.results_folder() / name).read_text())


def errors(answer: dict, part: str = "perfect", spacing_mm: float = 1.5) -> pd.DataFrame:
    """Rows of `morphometry.json`: `measure`, `n`, `missing`, `bias`, `median`, `p90`, `largest`, `target`."""
    rows = answer[part][str(spacing_mm)] if part == "perfect" else answer[part]
    return pd.DataFrame(rows)


def errors_table(answer: dict) -> pd.DataFrame:
    """Median and 90th percentile of every measure, at each voxel size."""
    columns = {}
    for spacing in answer["perfect"]:
        columns[f"{float(spacing):g} mm"] = errors(answer, spacing_mm=float(spacing))
    parts = {
        name: (rows.set_index("measure")[["median", "p90"]].map("{:.2f}".format).agg(" / ".join, axis=1))
        for name, rows in columns.items()
    }
    table = pd.DataFrame(parts).fillna("")
    first = errors(answer).set_index("measure")
    table.insert(0, "n at 1.5 mm", first["n"])
    table.index = [f"{name} ({UNITS.get(name.split(',')[0], 'mm')})" for name in table.index]
    return table


def error_words(answer: dict) -> dict:
    """What the prose quotes of the errors at 1.5 mm: medians, aims, how many of them are met."""
    rows = errors(answer).set_index("measure")
    aimed = rows[rows["target"].notna()]
    return {
        "measured_phantoms": answer["seeds"], "turn": answer["turn_degrees"],
        "height_error": rows.loc["body height", "median"], "disc_error": rows.loc["disc height", "median"],
        "wedge_error": rows.loc["wedge angle", "median"], "slip_error": rows.loc["slip", "median"],
        "angle_error": rows.loc["angle across a disc", "median"],
        "drawn_error": rows.loc[AS_DRAWN, "median"], "drawn_bias": rows.loc[AS_DRAWN, "bias"],
        "block_error": _block(rows),
        "aims": len(aimed), "aims_met": int((aimed["median"] <= aimed["target"]).sum()),
        "coarse_height_error": errors(answer, spacing_mm=3.0).set_index("measure").loc["body height", "median"],
        "missing_values": int(rows["missing"].sum()),
    }  # fmt: skip


def mask_words(answer: dict) -> dict:
    """What predicted masks change in the measures, against those of the scans' own labels, from `pathology.json`."""
    rows = pd.DataFrame(answer["mask_errors"]).set_index("measure")
    named = {"body height": "seen_height", "disc height": "seen_disc", "wedge angle": "seen_wedge", "slip": "seen_slip"}
    known = {words: rows.loc[name, "median"] for name, words in named.items()}
    return known | {
        "seen_missing": int(rows["missing"].sum()),
        "seen_values": int(rows["n"].sum()),
        "seen_scans": int(answer["predicted_patients"]),
    }


def turned_table(answer: dict) -> pd.DataFrame:
    """How much a turn of the patient changes measures: median, 95th percentile and share within the aim, two ways."""
    words = {"drawn": "drawn anew", "nearest": "resampled, nearest labels"}
    columns = {}
    for part, name in words.items():
        rows = pd.DataFrame(answer["rotated"][part]).set_index("measure")
        rows = rows[~rows.index.str.contains(", in a block")]
        columns[f"{name}: median / 95 %"] = rows[["median", "p95"]].map("{:.2f}".format).agg(" / ".join, axis=1)
        columns[f"{name}: within the aim"] = rows["within"].map("{:.0%}".format)
    table = pd.DataFrame(columns).rename_axis(None)
    table.index = [f"{name} ({UNITS.get(name, 'mm')})" for name in table.index]
    return table


def turned_words(answer: dict) -> dict:
    """What the prose quotes of turned patients."""
    rows = pd.DataFrame(answer["rotated"]["nearest"]).set_index("measure")
    worst = rows[~rows.index.str.contains(", in a block")]["within"].idxmin()
    height = rows.loc["body height"]
    known = {"turned_worst": worst, "turned_worst_unit": UNITS.get(worst, "mm")}
    known |= {"turned_worst_median": rows.loc[worst, "median"], "turned_worst_within": rows.loc[worst, "within"]}
    known |= {"turned_seeds": answer["rotated_seeds"], "turned_height": height["median"]}
    return known | {"turned_height_p95": height["p95"], "turned_within": height["within"]}


def _curves(accuracy: dict, study: dict) -> dict[str, dict]:
    return {"whole spines, own labels": accuracy["scoliosis"], "scans, own labels": study["scoliosis"]["perfect"],
            "scans, predicted masks": study["scoliosis"]["predicted"]}  # fmt: skip


def scoliosis_table(accuracy: dict, study: dict) -> pd.DataFrame:
    """Scoliosis called per scan: whole spines, and scans in own and in predicted masks."""
    rows = {
        name: {"scans": p["scans"], "with a curve": p["cases"], "called": p["called"], "raised without": p["raised"],
               "sensitivity": f"{p['sensitivity']:.0%}", "specificity": f"{p['specificity']:.0%}",
               "median error (degrees)": f"{p['median']:.1f}"}
        for name, p in _curves(accuracy, study).items()
    }  # fmt: skip
    return pd.DataFrame(rows).T


def curve_words(accuracy: dict, study: dict) -> dict:
    """What the prose quotes of curves to the side, over all three ways of looking and with predicted masks alone."""
    parts = _curves(accuracy, study)
    seen = parts["scans, predicted masks"]
    known = {name: sum(p[key] for p in parts.values()) for name, key in
             (("curve_cases", "cases"), ("curve_called", "called"), ("curve_raised", "raised"))}  # fmt: skip
    known["curve_straight"] = sum(p["scans"] - p["cases"] for p in parts.values())
    known["curve_least"] = min(p["median"] for p in parts.values())
    known["curve_most"] = max(p["median"] for p in parts.values())
    return known | {
        "curve_limit": study["scoliosis_degrees"], "curve_seen_raised": seen["raised"],
        "curve_seen_straight": seen["scans"] - seen["cases"], "curve_seen_p90": seen["p90"],
        "curve_seen_lost": seen["unmeasured"],
    }  # fmt: skip


def _block(rows):
    name = "body height, in a block"
    return rows.loc[name, "median"] if name in rows.index else float("nan")


def areas(answer: dict) -> pd.DataFrame:
    """AUC of every kind: `kind`, `part`, `auc`, `low`, `high`, `cases`, `n`."""
    parts = [pd.DataFrame(answer[p]).assign(part=words) for p, words in PARTS.items() if p in answer]
    parts += [
        pd.DataFrame(answer["network"][p]).assign(part=words) for p, words in NETWORK.items() if "network" in answer
    ]
    return pd.concat(parts, ignore_index=True)[["kind", "part", "auc", "low", "high", "cases", "n"]]


def areas_table(answer: dict) -> pd.DataFrame:
    """`areas` as a page shows it: kinds as rows, `AUC (interval), cases` per part."""
    table = areas(answer)
    text = [f"{with_interval(r.auc, r.low, r.high)}, {r.cases}" for r in table.itertuples()]
    wide = table.assign(text=text).pivot(index="kind", columns="part", values="text")
    order = [p for p in (*PARTS.values(), *NETWORK.values()) if p in wide]
    return wide.reindex([k for k in SHOWN if k in wide.index])[order].rename(index=SHOWN).rename_axis(None, axis=1)


def missed_table(answer: dict) -> pd.DataFrame:
    """What is missed and raised at the specificity, kind by kind, on perfect masks."""
    rows = pd.DataFrame(answer["perfect"]).set_index("kind")
    names = pd.DataFrame(answer["missed"], columns=["kind", "place", "seed", "severity"])
    listed = {
        k: ", ".join(f"{r.place} ({r.severity:.2f})" for r in g.head(3).itertuples()) for k, g in names.groupby("kind")
    }
    table = rows[["n", "cases", "missed", "raised_share"]].assign(which=[listed.get(k, "") for k in rows.index])
    table["raised_share"] = table["raised_share"].map("{:.0%}".format)
    columns = {"n": "places", "raised_share": "raised without cause", "which": "missed, with severity (three at most)"}
    return table.rename(columns=columns, index=SHOWN).rename_axis(None)


def severity_rows(answer: dict) -> pd.DataFrame:
    """Share of cases called by severity: `low`, `high`, `cases`, `called`; of kinds that have a milder form."""
    rows = pd.DataFrame(answer["by_severity"])
    rows = rows[~rows["kind"].isin(ALL_OR_NOTHING)]
    return rows.groupby(["low", "high"], as_index=False)[["cases", "called"]].sum()


def reliability_rows(answer: dict) -> pd.DataFrame:
    """Bins of the reliability of all kinds together: `confidence`, `correct`, `low`, `high`, `n`."""
    return pd.DataFrame(answer["reliability"])


def call_words(answer: dict) -> dict:
    """What the prose quotes of the call."""
    rows, faint = (pd.DataFrame(answer[p]).set_index("kind") for p in ("perfect", "mild"))
    faint = faint[faint["cases"] >= LEAST_MILD]
    severe = severity_rows(answer)
    mild = severe[severe["high"] <= 0.3][["cases", "called"]].sum()
    strong = severe[severe["low"] >= 0.3][["cases", "called"]].sum()
    known = {
        "train_patients": answer["patients"]["train"], "test_patients": answer["patients"]["test"],
        "kinds": len(rows), "kinds_at_aim": int((rows["auc"] >= 0.95).sum()),
        "best_kind": SHOWN[rows["auc"].idxmax()], "best_auc": rows["auc"].max(),
        "worst_kind": SHOWN[rows["auc"].idxmin()], "worst_auc": rows["auc"].min(),
        "call_specificity": answer["specificity"], "call_missed": int(rows["missed"].sum()),
        "call_cases": int(rows["cases"].sum()), "mild_worst_kind": SHOWN[faint["auc"].idxmin()],
        "mild_worst_auc": faint["auc"].min(), "mild_called": mild["called"] / mild["cases"],
        "mild_cases": int(mild["cases"]), "strong_called": strong["called"] / strong["cases"],
    }  # fmt: skip
    if "predicted" in answer:
        seen = pd.DataFrame(answer["predicted"]).set_index("kind")["auc"].dropna()
        known |= {"seen_patients": answer["predicted_patients"], "seen_at_aim": int((seen >= 0.9).sum()),
                  "seen_kinds": len(seen), "seen_worst_kind": SHOWN[seen.idxmin()],
                  "seen_worst": seen.min(), "seen_train": answer["predicted_train"]}  # fmt: skip
        alone = pd.DataFrame(answer["predicted_alone"]).set_index("kind")["auc"].dropna()
        gain = (seen - alone).dropna()
        known |= {"gain_kind": SHOWN[gain.idxmax()], "gain_from": alone[gain.idxmax()], "gain_to": seen[gain.idxmax()],
                  "alone_at_aim": int((alone >= 0.9).sum())}  # fmt: skip
    for part in NETWORK if "network" in answer else ():
        theirs = pd.DataFrame(answer["network"][part]).dropna(subset=["auc", "trees"])
        name = "network" if part == "perfect" else "network_seen"
        known |= {f"{name}_mean": theirs["auc"].mean(), f"{name}_trees_mean": theirs["trees"].mean(),
                  f"{name}_behind": int((theirs["trees"] > theirs["auc"]).sum())}  # fmt: skip
        known["network_crops"] = answer["network"]["crops"]
    return known


def features_table(answer: dict) -> pd.DataFrame:
    """The three features that make most splits of each kind's trees, with their share."""
    words, rows = OF_DISC | OF_VERTEBRA, {}
    for kind, found in answer["features"].items():
        top = list(found.items())[:3]
        rows[SHOWN[kind]] = {
            k: v
            for place, (name, share) in zip(("first", "second", "third"), top, strict=False)
            for k, v in ((place, words.get(name, name)), (f"{place}, of splits", f"{share:.0%}"))
        }
    return pd.DataFrame(rows).T.fillna("")


def real_rows(answer: dict) -> pd.DataFrame:
    """Vertebrae of the real cases: `case` and the columns of the benchmark, whole bodies only."""
    tables = [pd.DataFrame(v["vertebrae"]).assign(case=name) for name, v in answer["cases"].items()]
    rows = pd.concat(tables, ignore_index=True)
    return rows[rows["whole"].astype(bool) & rows["height_middle_mm"].notna()].reset_index(drop=True)


def real_table(answer: dict) -> pd.DataFrame:
    """Per level: patients, median heights, width, depth, canal and HU of the real cases."""
    rows = real_rows(answer)
    columns = [
        "height_anterior_mm",
        "height_middle_mm",
        "height_posterior_mm",
        "width_mm",
        "depth_mm",
        "canal_mm",
        "hu_median",
    ]
    table = rows.groupby("vertebra")[columns].median().astype(float).round(1)
    table.insert(0, "n", rows.groupby("vertebra").size())
    return table.loc[sorted(table.index, key=IDS.get)]


def real_findings(answer: dict) -> pd.DataFrame:
    """What the fixed rules say of the real cases: `case`, `place`, `finding`, `value`."""
    rows = [{"case": name} | row for name, v in answer["cases"].items() for row in v["findings"]]
    return pd.DataFrame(rows, columns=["case", "place", "finding", "value"])
