"""The numbers and words that the chapter on networks and losses quotes of `budgets`."""

from __future__ import annotations

import pandas as pd

from spineseg.config import Config
from spineseg.report.budgets import ALL, OURS, compared, length_rows, mass_rows, mass_table, scores
from spineseg.report.quoting import higher_or_lower

NECK = "cervical"
LAST_SHARE = 0.2  # of a training, at whose end a loss is asked whether it still falls
FIRST, LONGEST, CONTINUED = 40, "100", "continued"  # epochs, as the benchmark names its trainings
FLAT = 0.01  # of itself: a loss that fell by less is called flat
SAME = 0.01  # of Dice: ends that are called about the same
PLAIN, WEIGHTED = "logistic", "logistic, weighted"
PAIRS = {  # a network, and that which differs from it by one thing
    "residual": ("3D ResU-Net", "3D U-Net"),
    "gates": ("Attention ResU-Net", "3D ResU-Net"),
    "tokens": ("CNN + transformer", "3D ResU-Net"),
}


def network_words(answer: dict, steps: pd.DataFrame, time: pd.DataFrame) -> dict:
    """How networks stand to ours.

    Args:
        answer: Of `budgets.load`.
        steps: Of `budgets.compared`, equal steps.
        time: The same, equal time.

    Returns:
        `n_scans`, `n_steps`, `level`; `seed_moves` and `seed_moves_neck` (range of our own seeds' means);
        `steps_better`, `steps_worse`, `neck_better`, `neck_worse`, `time_better`, `time_worse` (names whose interval
        and gain lie beyond 0 and beyond the seeds); `best`, `best_dice`, `lowest`, `lowest_dice`, `spread` of equal
        steps; `untrained` and `untimed` (networks without a training of equal steps, in equal time); `seeds_least` (of
        any network there); for each of `PAIRS` the gain, its interval, and the neck's.
    """
    own = steps[steps["name"] == OURS].set_index("region")
    moved = own["most"] - own["least"]
    first = next(r for r in answer["rows"] if r["part"] == "steps")
    known = {
        "n_scans": answer["settings"]["scans"], "n_steps": first["steps"],
        "level": 100 * Config().evaluation.bootstrap_level,
        "seed_moves": float(moved[ALL]), "seed_moves_neck": float(moved[NECK]),
    }  # fmt: skip
    means = steps[steps["region"] == ALL].set_index("name")
    known |= {
        "best": means["mean"].idxmax(), "best_dice": means["mean"].max(), "lowest": means["mean"].idxmin(),
        "lowest_dice": means["mean"].min(), "spread": float(means["mean"].max() - means["mean"].min()),
        "seeds_least": int(means["seeds"].min()),
    }  # fmt: skip
    for word, table in (("untrained", steps), ("untimed", time)):
        missing = [n for n in answer["settings"]["networks"] if n not in set(table["name"])]
        known[word] = ", ".join(missing) or "none"
    for prefix, table, region in (("steps", steps, ALL), ("neck", steps, NECK), ("time", time, ALL)):
        known |= {f"{prefix}_{k}": v for k, v in _verdict(table, region, float(moved[region])).items()}
    rows = scores(answer, "steps")
    for name, (network, plain) in PAIRS.items():
        pair = compared(rows[rows["name"].isin([network, plain])], plain)
        for region, suffix in ((ALL, ""), (NECK, "_neck")):
            line = pair[(pair["name"] == network) & (pair["region"] == region)].iloc[0]
            found = {"": "gain", "_low": "gain_low", "_high": "gain_high"}
            known |= {f"{name}{suffix}{end}": float(line[column]) for end, column in found.items()}
    return known


def _verdict(table: pd.DataFrame, region: str, moved: float) -> dict[str, str]:
    """Names that are surely better and surely worse than ours in a region."""
    rows = table[(table["region"] == region) & (table["name"] != OURS)]
    better = rows[(rows["gain_low"] > 0) & (rows["gain"] > moved)]["name"]
    worse = rows[(rows["gain_high"] < 0) & (rows["gain"] < -moved)]["name"]
    return {"better": ", ".join(better) or "none", "worse": ", ".join(worse) or "none"}


def loss_words(answer: dict, losses: pd.DataFrame) -> dict:
    """How losses stand, and whose voxels they listen to.

    Args:
        answer: Of `budgets.load`.
        losses: Of `budgets.compared`.

    Returns:
        `loss_best`, `loss_worst` with `_dice`, `loss_best_neck`, `loss_worst_neck`; `loss_steps`; `neck_voxels`,
        `neck_logistic`, `neck_best` (shares in %: of the voxels, and of the gradient), `neck_first` (the logistic
        loss's at the beginning); `plain_dice`, `weighted_dice`, and `plain_named`,
        `weighted_named`, `best_named` (share named right where outlines are given); `loss_seeds`.
    """
    known: dict = {"loss_steps": next(r for r in answer["rows"] if r["part"] == "loss")["steps"]}
    for region, suffix in ((ALL, ""), (NECK, "_neck")):
        means = losses[losses["region"] == region].set_index("name")["mean"]
        known |= {f"loss_best{suffix}": means.idxmax(), f"loss_worst{suffix}": means.idxmin()}
        if region == ALL:
            known |= {"loss_best_dice": means.max(), "loss_worst_dice": means.min(), "weighted_dice": means[WEIGHTED]}
            known["plain_dice"] = means[PLAIN]
    named = scores(answer, "loss").groupby("name")["identified"].mean()
    known |= {"plain_named": named[PLAIN], "weighted_named": named[WEIGHTED], "best_named": named[known["loss_best"]]}
    known["loss_seeds"] = int(losses["seeds"].min())
    mass = mass_rows(answer)
    shares = mass_table(mass)[NECK]
    begin = mass[(mass["name"] == PLAIN) & (mass["group"] == NECK)]
    known["neck_first"] = 100 * float(begin.loc[begin["done"].idxmin(), "mass"])
    known |= {"neck_voxels": shares.iloc[-1], "neck_logistic": shares[PLAIN], "neck_best": shares[known["loss_best"]]}
    return known


def length_words(answer: dict) -> dict:
    """What stopping early cost.

    Returns:
        `length_epoch` (steps of an epoch); for `fine` and `baseline`, by validation: `<stage>_early` and `<stage>_late`
        (mean Dice after 40 epochs planned so, and after 100), `<stage>_falls` (by how much of itself the loss of 100
        epochs fell in the last fifth) and `<stage>_end` (whether it still falls), `<stage>_continued` (how far in Dice
        the run that went on twice ends from the planned one) and `<stage>_word`; on phantoms of no split `fine_cost`
        (Dice of 100 epochs over 40) with interval.
    """
    known: dict = {"length_epoch": answer["settings"]["fine.steps_per_epoch"]}
    history = length_rows(answer)
    for stage, part in history.groupby("stage"):
        means = part.groupby(["planned", "epoch"])[["validation_loss", "dice_mean"]].mean()
        planned, continued = means.loc[LONGEST], means.loc[CONTINUED]
        loss = planned["validation_loss"]
        before = loss[loss.index <= (1 - LAST_SHARE) * loss.index[-1]].iloc[-1]
        apart = float(continued["dice_mean"].iloc[-1] - planned["dice_mean"].iloc[-1])
        known |= {
            f"{stage}_early": float(continued["dice_mean"].loc[FIRST]),
            f"{stage}_late": float(planned["dice_mean"].iloc[-1]),
            f"{stage}_falls": float((before - loss.iloc[-1]) / abs(before)),
            f"{stage}_end": "still falls" if (before - loss.iloc[-1]) / abs(before) > FLAT else "is flat",
            f"{stage}_continued": abs(apart),
            f"{stage}_word": higher_or_lower(apart, 0.0, tolerance=SAME),
        }
    rows = scores(answer, "length")
    table = compared(rows[rows["name"].str.startswith("fine")], f"fine {FIRST}")
    line = table[(table["name"] == f"fine {LONGEST}") & (table["region"] == ALL)].iloc[0]
    return known | {"fine_cost": line["gain"], "fine_cost_low": line["gain_low"], "fine_cost_high": line["gain_high"]}
