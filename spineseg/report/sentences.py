"""The numbers and words that the notebooks' sentences quote, from the tables that their figures draw."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS, REGION_OF
from spineseg.data.audit import Audit, Severity
from spineseg.report.quoting import higher_or_lower
from spineseg.report.score_tables import FACTOR_WORDS, name_shares, share_in_runs

UPPER_NECK, WAIST = ["C1", "C2", "C3", "C4"], ["T11", "T12", "L1"]  # rarest and commonest in real scans
EXTREMES = 3  # levels that are called the smallest, or the largest
NONE = "none in particular"  # where all are alike


def in_words(levels) -> str:
    """Names of vertebrae from the head down, as a sentence lists them: `C3, C4 and C6`."""
    *first, last = sorted(levels, key=IDS.get)
    return f"{', '.join(first)} and {last}" if first else last


def lowest_and_highest(means: pd.Series) -> tuple[str, str]:
    """Which rows of a series have its smallest value and which its largest, ties together; `NONE` if all are alike."""
    means = means.dropna()
    if means.nunique() < 2:
        return NONE, NONE
    low, high = (means.index[means == value] for value in (means.min(), means.max()))
    return " and ".join(low), " and ".join(high)


def trust(found: Audit) -> dict:
    """How many cases an audit looked at, refused and suspects, and what it found most often.

    Args:
        found: The audit.

    Returns:
        `looked`, `refused`, `suspect`, `commonest`.
    """
    table = found.table()
    refused = len(found.cases) - len(found.usable()) + len(found.listing.problems)
    suspect = int(table[(table["severity"] == Severity.WARNING.value) & (table["case"] != "")]["case"].nunique())
    commonest = table["code"].mode()[0] if len(table) else NONE
    looked = len(found.cases) + len(found.listing.problems)
    return {"looked": looked, "refused": refused, "suspect": suspect, "commonest": commonest}


def rarity(shares: pd.DataFrame, population: pd.DataFrame) -> dict:
    """How often scans show neck and waist, in % here and in real scans, and how many vertebrae are cut.

    Args:
        shares: From `tables.presence`.
        population: From `anatomy.population`.

    Returns:
        `neck_share`, `waist_share`, `real_neck`, `real_waist`, `word`, `shown`, `cut`.
    """
    here, real = shares.notna().mean(), population["share"]
    neck, waist = here[UPPER_NECK].mean(), here[WAIST].mean()
    percent = {
        "neck_share": neck,
        "waist_share": waist,
        "real_neck": real[UPPER_NECK].mean(),
        "real_waist": real[WAIST].mean(),
    }
    counts = {"shown": int(shares.notna().sum().sum()), "cut": int((shares < 0.995).sum().sum())}
    return {name: 100 * value for name, value in percent.items()} | counts | {"word": higher_or_lower(neck, waist)}


def sizes(whole: pd.DataFrame, population: pd.DataFrame) -> dict:
    """Median volumes of the smallest and the largest levels seen whole, and how all levels stand to the real medians.

    Args:
        whole: From `tables.whole`.
        population: From `anatomy.population`.

    Returns:
        `whole` (vertebrae), `small`, `large` (names), `small_ml`, `large_ml`, `times`, `real_times` (the same levels in
        the population), `low`, `high` (range of the levels' medians against the real ones); nan and `NONE` of no
        vertebra.
    """
    if whole.empty:
        values = dict.fromkeys(("small_ml", "large_ml", "times", "real_times", "low", "high"), float("nan"))
        return values | {"whole": 0, "small": NONE, "large": NONE}
    median, real = whole.groupby("vertebra")["ml"].median(), population["p50_ml"]
    small, large = median.nsmallest(EXTREMES), median.nlargest(EXTREMES)
    ratio = median / real[median.index]
    volumes = {"small_ml": small.mean(), "large_ml": large.mean(), "times": large.mean() / small.mean()}
    volumes["real_times"] = real[large.index].mean() / real[small.index].mean()
    levels = {"small": in_words(small.index), "large": in_words(large.index)}
    return {"whole": len(whole), "low": ratio.min(), "high": ratio.max()} | volumes | levels


def density(tissue: pd.DataFrame) -> dict:
    """Typical HU in and around the vertebrae, from `tables.hu_by_compartment`: `inside_hu`, `low_hu`, `around_hu`."""
    middle = tissue.groupby("compartment")[["p05_hu", "p50_hu"]].median()
    around = next((name for name in middle.index if name.startswith("within")), "")
    middle = middle.reindex(["vertebra, inside", around])  # nan where no scan shows a vertebra
    low, inside, beside = middle.iloc[0, 0], middle.iloc[0, 1], middle.iloc[1, 1]
    return {"inside_hu": float(inside), "low_hu": float(low), "around_hu": float(beside)}


def grids(headers: pd.DataFrame) -> dict:
    """How many orientations, what share of scans (%) has cubic voxels, how far apart the thickest slices lie (mm)."""
    cubes = (headers["slice_mm"] / headers["in_plane_mm"]).between(0.95, 1.05)
    return {
        "orientations": int(headers["orientation"].nunique()),
        "cubes": 100 * cubes.mean(),
        "thickest": headers["slice_mm"].max(),
    }


def ceilings(ceiling: pd.DataFrame, fine_mm: float, coarse_mm: float) -> dict:
    """Mean ceiling, on the fine and the coarse grid, of the levels that the coarse grid costs most and least.

    Args:
        ceiling: From `survey.ceiling`.
        fine_mm: Voxel size of the fine grid.
        coarse_mm: Voxel size of the coarse grid.

    Returns:
        `dear`, `cheap` (names), `dear_fine`, `dear_coarse`, `cheap_fine`, `cheap_coarse`; `NONE` and nan of no scan.
    """
    if ceiling.empty:
        names = [f"{name}_{grid}" for name in ("dear", "cheap") for grid in ("fine", "coarse")]
        return dict.fromkeys(names, float("nan")) | {"dear": NONE, "cheap": NONE}
    mean = ceiling.groupby(["vertebra", "spacing_mm"])["ceiling"].mean().unstack()
    groups = {"dear": mean[coarse_mm].nsmallest(EXTREMES).index, "cheap": mean[coarse_mm].nlargest(EXTREMES).index}
    numbers = {
        f"{name}_{grid}": mean.loc[levels, spacing].mean()
        for name, levels in groups.items()
        for grid, spacing in (("fine", fine_mm), ("coarse", coarse_mm))
    }
    return numbers | {name: in_words(levels) for name, levels in groups.items()}


def savings(margin: pd.DataFrame) -> dict:
    """What a margin around the spine saves, from `survey.margin_table`: `near`, `bone` in %; `fold`, `saved`: times."""
    near, bone = margin["near_share"].mean(), margin["bone_share"].mean()
    return {
        "near": 100 * near,
        "bone": 100 * bone,
        "fold": 1 / near,
        "saved": margin["raw_mb"].sum() / margin["stored_mb"].sum(),
    }


def last_epoch(history: pd.DataFrame) -> dict:
    """Last validation Dice of baseline and cascade: by name (`_mean`) and by bone (`_any`), with a `word`."""
    final = history.dropna(subset="dice_mean").groupby("network", sort=False).last()
    numbers = {
        f"{n}_{k}": final.loc[n, c]
        for n in ("baseline", "fine")
        for k, c in (("mean", "dice_mean"), ("any", "dice_binary"))
    }
    return numbers | {"word": higher_or_lower(numbers["fine_mean"], numbers["baseline_mean"])}


def order_of_names(per_vertebra: pd.DataFrame, network: str = "coarse") -> dict:
    """Which region a network named right most and least often over all epochs; `identified` at the end.

    Args:
        per_vertebra: Second table of `survey.history`.
        network: Whose rows.

    Returns:
        `earliest` and `latest` (regions, or `NONE` where all are alike, such as when nothing is ever identified), and
        the mean of the last epoch over the vertebrae.
    """
    rows = per_vertebra[per_vertebra["network"] == network]
    by_region = rows.groupby(rows["vertebra"].map(REGION_OF), sort=False)["identified"].mean()
    last = rows.loc[rows["epoch"] == rows["epoch"].max(), "identified"].mean()
    latest, earliest = lowest_and_highest(by_region)
    return {"earliest": earliest, "latest": latest, "identified": last}


def budget(cost: pd.DataFrame) -> dict:
    """What each method was given, from `survey.cost`: `baseline_steps`, `cascade_steps` and the same in `minutes`."""
    methods = {"baseline": ["baseline"], "cascade": ["coarse", "fine"]}
    steps = {f"{method}_steps": int(cost.loc[names, "steps"].sum()) for method, names in methods.items()}
    return steps | {f"{method}_minutes": float(cost.loc[names, "minutes"].sum()) for method, names in methods.items()}


def heaps(present: pd.DataFrame) -> dict:
    """Spread of the Dice of the vertebrae present: `zeros` (below 0.05), `good` (% above 0.8), `middle` (median)."""
    dice = present["dice"]
    return {"zeros": int((dice < 0.05).sum()), "good": 100 * (dice > 0.8).mean(), "middle": dice.median()}


def regions(summary: pd.DataFrame, method: str = "cascade") -> dict:
    """Weakest and strongest region of a method and the widest interval of all.

    Args:
        summary: From `evaluation.tables.summary`, by method and region.
        method: Whose regions.

    Returns:
        `weakest`, `strongest` (`NONE` where all regions are alike), their means `weakest_dice` and `strongest_dice`,
        `region_gap` between them, `widest`.
    """
    mean = summary[summary["method"] == method].set_index("region")["mean"].dropna()
    weakest, strongest = lowest_and_highest(mean)
    words = {"weakest": weakest, "strongest": strongest, "region_gap": mean.max() - mean.min()}
    means = {"weakest_dice": mean.min(), "strongest_dice": mean.max()}
    return words | means | {"widest": (summary["high"] - summary["low"]).max()}


def names(shifts: pd.DataFrame, present: pd.DataFrame) -> dict:
    """Shares (%) under the right name and one level off for both methods, and what perfect names would score.

    Args:
        shifts: From `score_tables.shifts`.
        present: Scores of the cascade where the reference has the vertebra.

    Returns:
        `right`, `off`, `lost` (nothing predicted overlaps), the same with `_before`, `best_match`, `named`.
    """
    shares = {}
    for method, when in (("cascade", ""), ("baseline", "_before")):
        right, off = name_shares(shifts, method)
        rows = shifts[shifts["method"] == method]
        lost = float(rows["share"][rows["shift"].isna()].sum())
        shares |= {f"right{when}": right, f"off{when}": off, f"lost{when}": lost}
    means = {"best_match": present["best_match_dice"].mean(), "named": present["dice"].mean()}
    return {name: 100 * share for name, share in shares.items()} | means


def extremes(ranked: pd.DataFrame, region_gap: float) -> dict:
    """Best and worst case from `score_tables.worst_and_best`, and how their gap stands to that between regions."""
    best, worst = ranked.iloc[0], ranked.iloc[-1]
    gap = best["mean_dice"] - worst["mean_dice"]
    case = {"worst_case": str(worst["case"]), "worst": worst["mean_dice"], "worst_binary": worst["binary_dice"]}
    return case | {"best": best["mean_dice"], "gap": gap, "gap_word": higher_or_lower(gap, region_gap)}


def losses(budget: pd.DataFrame, region: str) -> dict:
    """Where one region lost its Dice.

    Args:
        budget: From `errors.error_budget`.
        region: Of its rows.

    Returns:
        `total`, `worst_step` (`none` where nothing is lost) and `worst_lost`, `naming` (absent, shifted, missed),
        `grid`, `outline`, and a `word` for how naming stands to grid and outline together.
    """
    lost = budget[budget["region"] == region].set_index("step")["lost"]
    naming, grid, outline = lost[["absent", "shifted", "missed"]].sum(), lost["resolution"], lost["boundary"]
    worst = {"total": lost.sum(), "worst_step": lost.idxmax() if lost.any() else "none", "worst_lost": lost.max()}
    return worst | {"naming": naming, "grid": grid, "outline": outline, "word": higher_or_lower(naming, grid + outline)}


def suspects(correlates: pd.DataFrame) -> dict:
    """Rank correlation of the Dice with each factor over all regions, and the `strongest` in words."""
    ranks = correlates[correlates["region"] == "all"].set_index("factor")["spearman"]
    strongest = FACTOR_WORDS[ranks.abs().idxmax()] if ranks.notna().any() else "none of them"
    factors = {"volume": "reference_ml", "visible": "visible_share", "rarity": "training_share"}
    return {name: ranks[column] for name, column in factors.items()} | {"strongest": strongest}


def misnaming(present: pd.DataFrame, confusion: pd.DataFrame) -> dict:
    """How many vertebrae lost Dice to their name, how much bone was left out, and whether names slip in rows.

    Args:
        present: Scores where the reference has the vertebra.
        confusion: From `errors.confusion_of_names`.

    Returns:
        `rows`, `shifted_rows`, `left_out` (% of bone voxels), `misnamed` (vertebrae under a wrong name) and `in_runs`
        (of those, how many have a neighbour that is off by as many levels).
    """
    misnamed = int((present["shift"].fillna(0) != 0).sum())
    in_runs = round(share_in_runs(present) * misnamed) if misnamed else 0
    shifted = present["best_match_dice"] - present["dice"] > 0.1
    voxels = confusion.iloc[1:]
    left_out = voxels["background"].sum() / voxels.to_numpy().sum()
    counts = {"rows": len(present), "shifted_rows": int(shifted.sum())}
    return counts | {"left_out": 100 * left_out, "misnamed": misnamed, "in_runs": in_runs}


def gains(remedies: pd.DataFrame) -> dict:
    """Mean change of the first and of the second of two remedies from `score_tables.changes`, and a word for them."""
    first, second = (
        float(np.average(rows["change"], weights=rows["n"])) for _, rows in remedies.groupby("remedy", sort=False)
    )
    return {"cascade_gain": first, "name_gain": second, "larger": higher_or_lower(first, second)}
