"""Small tables of scores for the notebooks: what a figure, a sentence or the page itself shows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS, REGION_OF, REGIONS
from spineseg.evaluation.bootstrap import case_weights, interval, weighted_mean
from spineseg.evaluation.tables import shift_histogram, summary

RULES = ("clear of the edge", "all labelled")  # which vertebrae of a real scan count, from `results.score_real`
FACTOR_WORDS = {
    "reference_ml": "the volume",
    "visible_share": "the visible share",
    "training_share": "the share of training scans",
}


def region_table(scores: pd.DataFrame, config) -> pd.DataFrame:
    """Mean Dice per region under both conventions for absent vertebrae, ready to be shown.

    Args:
        scores: Rows of `scores.score_cases` with a column `method`.
        config: `EvaluationConfig`: the bootstrap.

    Returns:
        Regions (and `all`) as rows; per method and convention the text `mean (low to high)` (`-` where there is no
        vertebra) and how many vertebrae.
    """
    columns = {}
    for method, rows in scores.groupby("method", sort=False):
        for convention in ("present", "all"):
            table = region_summary(rows, config, convention)
            shown = [with_interval(*row) for row in table[["mean", "low", "high"]].to_numpy()]
            columns[(method, convention)] = pd.Series(shown, index=table["region"])
            columns[(method, f"n {convention}")] = pd.Series(table["rows"].to_numpy(), index=table["region"])
    return pd.DataFrame(columns).rename_axis(index="region", columns=["method", "vertebrae counted"])


def region_summary(scores: pd.DataFrame, config, convention: str = "present", value: str = "dice") -> pd.DataFrame:
    """`evaluation.tables.summary` per region with a last row `all`; a column `method` is kept apart."""
    by = ["method", "region"] if "method" in scores and scores["method"].nunique() > 1 else ["region"]
    regions = summary(scores, by, convention, value=value, config=config)
    total = summary(scores, by[:-1] or None, convention, value=value, config=config)
    return pd.concat([regions, total.assign(region="all")], ignore_index=True)


def present(scores: pd.DataFrame) -> pd.DataFrame:
    """The scored rows whose vertebra is in the reference."""
    return scores[scores["reference_voxels"] > 0]


def worst_and_best(cases_scores: pd.DataFrame, column: str = "mean_dice") -> pd.DataFrame:
    """The best, the median and the worst case, each once.

    Args:
        cases_scores: Columns `case` and `column`.
        column: What to rank by; cases without it are left out.

    Returns:
        Up to three rows with an added column `rank`.
    """
    ordered = cases_scores.dropna(subset=column).sort_values(column, ascending=False, kind="stable")
    places = {"best": 0, "median": len(ordered) // 2, "worst": len(ordered) - 1}
    chosen = {place: name for name, place in reversed(places.items()) if len(ordered)}
    return ordered.iloc[sorted(chosen)].assign(rank=[chosen[p] for p in sorted(chosen)])


def changes(before: pd.DataFrame, after: pd.DataFrame, *, remedy: str, config, column="dice", after_column=None):
    """Change of mean Dice per region, the same vertebrae of the same cases before and after, cases drawn again.

    Args:
        before: Columns `case`, `vertebra` and `column`.
        after: The same for the remedy.
        remedy: Its name.
        config: `EvaluationConfig`: draws, level and seed of the bootstrap.
        column: What is averaged.
        after_column: Its name in `after`; the same when None.

    Returns:
        Columns `remedy`, `region`, `change`, `low`, `high`, `n` (vertebrae).
    """
    keys = ["case", "vertebra"]
    pairs = before[[*keys, column]].merge(
        after[[*keys, after_column or column]].set_axis([*keys, "after"], axis=1), on=keys
    )
    pairs = pairs.dropna(subset=[column, "after"])
    codes, cases = pd.factorize(pairs["case"])
    weights = case_weights(len(cases), draws=config.bootstrap_draws, seed=config.seed) if len(cases) else None
    rows = []
    for region in REGIONS:
        part = (pairs["vertebra"].map(REGION_OF) == region).to_numpy()
        if not part.any():
            continue
        change = (pairs["after"] - pairs[column]).to_numpy()[part]
        low, high = interval(weighted_mean(change, codes[part], weights), level=config.bootstrap_level)
        row = {"remedy": remedy, "region": region, "change": change.mean(), "low": float(low), "high": float(high)}
        rows.append(row | {"n": int(part.sum())})
    return pd.DataFrame(rows, columns=["remedy", "region", "change", "low", "high", "n"])


def remedies(baseline: pd.DataFrame, cascade: pd.DataFrame, *, config) -> pd.DataFrame:
    """What the cascade changed, and the bound of what right names could still add to it, over the same vertebrae.

    Args:
        baseline: Scores of the single V-Net.
        cascade: Scores of the cascade.
        config: As for `changes`.

    Returns:
        The rows of `changes` of both, one after the other.
    """
    before, after = present(baseline), present(cascade)
    names = changes(after, after, remedy="right names (bound)", config=config, after_column="best_match_dice")
    return pd.concat([changes(before, after, remedy="cascade for one V-Net", config=config), names], ignore_index=True)


def richest_case(scores: pd.DataFrame) -> str:
    """The scored case whose reference holds the most vertebrae; of several, the one with most voxels."""
    there = present(scores).groupby("case").agg(count=("vertebra", "nunique"), voxels=("reference_voxels", "sum"))
    return str(there.sort_values(["count", "voxels"], kind="stable").index[-1])


def shifts(scores: pd.DataFrame) -> pd.DataFrame:
    """By how many levels the names of each method are off, vertebrae that no prediction overlaps included.

    Args:
        scores: Rows of `scores.score_cases` with a column `method`.

    Returns:
        Columns `method`, `shift` (nan: not found), `vertebrae`, `share` (of the method's vertebrae in the reference).
    """
    table = shift_histogram(scores, by="method").astype({"shift": float})
    missing = present(scores)["shift"].isna().groupby(present(scores)["method"], sort=False)
    lost = missing.agg(vertebrae="sum", share="mean")
    lost = lost[lost["vertebrae"] > 0].reset_index().assign(shift=np.nan)
    return pd.concat([table, lost[table.columns]], ignore_index=True) if len(lost) else table


def share_in_runs(scores: pd.DataFrame) -> float:
    """Of the vertebrae under a wrong name, the share with a neighbour in the same scan that is off by as many levels.

    Args:
        scores: Scores of one method, one row per case and vertebra.

    Returns:
        Share; nan where every name is right.
    """
    wrong = present(scores)[lambda t: t["shift"].notna() & (t["shift"] != 0)]
    places = set(zip(wrong["case"], wrong["vertebra"].map(IDS), wrong["shift"], strict=True))
    beside = [bool({(case, i - 1, shift), (case, i + 1, shift)} & places) for case, i, shift in places]
    return float(np.mean(beside)) if beside else float("nan")


def name_shares(table: pd.DataFrame, method: str) -> tuple[float, float]:
    """Share of a method's vertebrae under the right name, and share one level off, from `shifts`."""
    rows = table[table["method"] == method]
    distance = rows["shift"].abs()
    return float(rows["share"][distance.eq(0).fillna(False)].sum()), float(
        rows["share"][distance.eq(1).fillna(False)].sum()
    )


def region_or_all(region: str, *budgets: pd.DataFrame) -> str:
    """The region where every table has it, else `all`: a small test set may hold no neck, and no method paint one."""
    return region if all((budget["region"] == region).any() for budget in budgets) else "all"


def real_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per real scan: how well bone is found, named and outlined.

    Args:
        scores: From `results.evaluate_real`; may be empty.

    Returns:
        Table indexed by case. Under `whole volume`: `binary_dice`, `false_vertebra_ml`. Under `clear of the edge` and
        under `all labelled`, over those vertebrae of the reference: `vertebrae` (how many), `named_dice`,
        `best_match_dice`, `identified` (means) and `centroid_mm` (median over those predicted under their name); nan
        where there is none.
    """
    columns = ["vertebrae", "named_dice", "best_match_dice", "identified", "centroid_mm"]
    whole = {"binary_dice": "scan_binary_dice", "false_vertebra_ml": "scan_false_vertebra_ml"}
    wanted = pd.MultiIndex.from_tuples(
        [*(("whole volume", name) for name in whole), *((rule, name) for rule in RULES for name in columns)]
    )
    if scores.empty:
        return pd.DataFrame(columns=wanted)
    first = scores.groupby("case", sort=False).first()
    parts = {"whole volume": pd.DataFrame({name: first[column] for name, column in whole.items()})}
    for rule in RULES:
        rows = present(scores[scores["counted"] == rule]).groupby("case")
        parts[rule] = rows.agg(
            vertebrae=("vertebra", "size"), named_dice=("dice", "mean"), best_match_dice=("best_match_dice", "mean"),
            identified=("identified", "mean"), centroid_mm=("centroid_mm", "median"),
        ).reindex(first.index)  # fmt: skip
        parts[rule]["vertebrae"] = parts[rule]["vertebrae"].fillna(0).astype(int)
    return pd.concat(parts, axis=1)[wanted].round(2)


def real_means(table: pd.DataFrame) -> dict[str, float | int]:
    """Means over the scans of `real_table`, nan where there are none, and how many scans and vertebrae are behind them.

    Args:
        table: From `real_table`.

    Returns:
        `n_real` (scans), `real_binary`, `real_false` (ml), and of the vertebrae clear of the edge, over the scans that
        have one: `n_real_clear` (scans), `real_named`, `real_best`, `real_identified`, `real_centroid` (mm); of all
        labelled ones `real_vertebrae` (how many), `real_identified_all`, `real_best_all`.
    """
    clear, labelled = RULES
    counts = {
        "n_real": len(table),
        "n_real_clear": int((table[clear, "vertebrae"] > 0).sum()),
        "real_vertebrae": int(table[labelled, "vertebrae"].sum()),
        "real_vertebrae_clear": int(table[clear, "vertebrae"].sum()),
    }
    names = {
        "real_binary": ("whole volume", "binary_dice"), "real_false": ("whole volume", "false_vertebra_ml"),
        "real_named": (clear, "named_dice"), "real_best": (clear, "best_match_dice"),
        "real_identified": (clear, "identified"), "real_centroid": (clear, "centroid_mm"),
        "real_best_all": (labelled, "best_match_dice"), "real_identified_all": (labelled, "identified"),
    }  # fmt: skip
    return counts | {name: float(table[column].astype(float).mean()) for name, column in names.items()}


def with_interval(mean: float, low: float, high: float, sign: str = "") -> str:
    """A number and its interval as a table shows them: `0.50 (0.40 to 0.60)`, `-` where it is nan."""
    if np.isnan(mean):
        return "-"
    shown = f"{mean:{sign}.2f}"
    return shown if np.isnan(low) else f"{shown} ({low:{sign}.2f} to {high:{sign}.2f})"
