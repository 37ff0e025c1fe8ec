"""Networks, losses and lengths under equal budgets: the answer of `benchmarks/budgets.py` as tables and words."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from spineseg import paths
from spineseg.anatomy.labels import IDS, REGION_OF, REGIONS, VERTEBRAE
from spineseg.config import Config
from spineseg.evaluation.bootstrap import case_weights, interval, weighted_mean
from spineseg.report.score_tables import with_interval

FILE = "budgets.json"
OURS = "V-Net, 3-cubed"  # as the benchmark names it
OUR_LOSS = "Dice + CE + binary Dice + names"
ALL = "all"


def load() -> dict:
    """What was measured last."""
    return json.loads((paths.results_folder() / FILE).read_text())


def scores(answer: dict, part: str) -> pd.DataFrame:
    """Every scored vertebra of every training of a part.

    Args:
        answer: From `load`.
        part: `steps`, `time`, `rate`, `loss` or `length`. Our own V-Net of equal steps stands in `time` too, and in
            `length` as `fine 40`, which it is, for the seeds that were trained longer.

    Returns:
        Columns `name`, `seed`, `case`, `vertebra`, `region`, `dice`, `identified`.
    """
    held = pd.DataFrame(answer["held"], columns=["case", "id"])
    vertebra = held["id"].map(lambda i: VERTEBRAE[i - 1])
    held = held.assign(vertebra=vertebra, region=vertebra.map(REGION_OF))
    chosen = [(row["name"], row) for row in answer["rows"] if row["part"] == part]
    ours = [row for row in answer["rows"] if row["part"] == "steps" and row["name"] == OURS]
    if part == "time":
        chosen = [(OURS, row) for row in ours] + chosen
    if part == "length":
        longer = {row["seed"] for name, row in chosen if name.startswith("fine")}
        chosen = [("fine 40", row) for row in ours if row["seed"] in longer] + chosen
    order = list(answer["settings"]["networks"])
    chosen.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))  # trained in another order
    tables = [
        held.assign(name=name, seed=row["seed"], dice=row["dice"], identified=row["identified"]) for name, row in chosen
    ]
    columns = ["name", "seed", "case", "vertebra", "region", "dice", "identified"]
    return (
        pd.concat(tables, ignore_index=True)[columns].astype({"dice": float})
        if tables
        else pd.DataFrame({c: [] for c in columns})
    )


def compared(rows: pd.DataFrame, base: str, value: str = "dice") -> pd.DataFrame:
    """Mean of each name per region, and its gain over the base on the same scans and seeds.

    Vertebrae are averaged over seeds first; intervals come from drawing scans again and hold nothing of the seeds,
    whose range stands beside.

    Args:
        rows: From `scores`.
        base: Name that the others are held against.
        value: `dice` or `identified`.

    Returns:
        Columns `name`, `region` (`all` first; one that no scan holds is left out), `mean`, `low`, `high`, `seeds` (how
        many), `least` and `most` (of the seeds' means), `gain`, `gain_low`, `gain_high`.
    """
    settings = Config().evaluation
    answer = []
    reference = rows[rows["name"] == base]
    for name, part in rows.groupby("name", sort=False):
        for region in (ALL, *REGIONS):
            chosen = part if region == ALL else part[part["region"] == region]
            same = reference[reference["seed"].isin(chosen["seed"].unique())]
            keys = ["case", "vertebra"]
            means = chosen.groupby(keys)[value].mean().rename("after").to_frame()
            means["before"] = same.groupby(keys)[value].mean()
            means = means.dropna().reset_index()
            if means.empty:
                continue
            codes, cases = pd.factorize(means["case"])
            weights = case_weights(len(cases), draws=settings.bootstrap_draws, seed=settings.seed)
            by_seed = chosen.groupby("seed")[value].mean()
            line = {
                "name": name,
                "region": region,
                "seeds": len(by_seed),
                "least": by_seed.min(),
                "most": by_seed.max(),
            }
            for what, values in (("", means["after"]), ("gain", means["after"] - means["before"])):
                drawn = weighted_mean(values.to_numpy(), codes, weights)
                low, high = map(float, interval(drawn, level=settings.bootstrap_level))
                under = f"{what}_" if what else ""
                line |= {what or "mean": values.mean(), f"{under}low": low, f"{under}high": high}
            answer.append(line)
    return pd.DataFrame(answer)


def region_table(table: pd.DataFrame) -> pd.DataFrame:
    """`compared` as a page shows it: names as rows, regions as columns, `mean (low to high)`."""
    text = [with_interval(*row) for row in table[["mean", "low", "high"]].to_numpy(float)]
    wide = table.assign(text=text).pivot(index="name", columns="region", values="text").reindex(columns=[ALL, *REGIONS])
    seeds = table.groupby("name")["seeds"].first()
    order = list(dict.fromkeys(table["name"]))
    return wide.astype(object).fillna("-").assign(seeds=seeds).reindex(index=order, columns=["seeds", ALL, *REGIONS])


def loss_table(answer: dict, table: pd.DataFrame) -> pd.DataFrame:
    """`region_table` of the losses, with the share of vertebrae that are named right where outlines are given."""
    named = scores(answer, "loss").groupby("name")["identified"].mean().map("{:.2f}".format)
    return region_table(table).assign(**{"named right": named})


def gain_table(table: pd.DataFrame, base: str) -> pd.DataFrame:
    """Gains over the base as a page shows them: names as rows, all vertebrae and the neck as columns."""
    shown = table[table["region"].isin([ALL, "cervical"]) & (table["name"] != base)]
    text = [with_interval(*row, sign="+") for row in shown[["gain", "gain_low", "gain_high"]].to_numpy(float)]
    wide = shown.assign(text=text).pivot(index="name", columns="region", values="text")
    return wide.reindex(index=list(dict.fromkeys(shown["name"])), columns=[ALL, "cervical"])


def cost_rows(answer: dict, costs: dict) -> pd.DataFrame:
    """What equal steps cost each network as it was trained, with its Dice.

    Args:
        answer: From `load`.
        costs: From `network_costs.load`.

    Returns:
        Columns `name`, `mean`, `low`, `high` (Dice, all vertebrae), `neck`, `parameters`, `memory_gb` (forecast for one
        96-cubed patch in bf16), `step_s` and `predict_s` (of a scan): taken with nothing beside them where the
        benchmark did so, else processor time, of the trainings' steps with all about them and of scans with scoring.
    """
    alone = pd.DataFrame.from_dict(answer.get("alone", {}), orient="index")
    if len(alone):
        step, scan = alone["step_s"], alone["predict_s"]
    else:
        rows = pd.DataFrame([r for r in answer["rows"] if r["part"] == "steps"])
        step = (rows["cpu_seconds"] / rows["steps"]).groupby(rows["name"]).mean()
        scan = rows.groupby("name")["predict_seconds"].mean()
    table = compared(scores(answer, "steps"), OURS)
    whole = table[table["region"] == ALL].set_index("name")
    neck = table[table["region"] == "cervical"].set_index("name")["mean"]
    trained = pd.DataFrame(costs["trained"]).set_index("network")
    found = whole[["mean", "low", "high"]].assign(
        neck=neck, parameters=trained["parameters"], memory_gb=trained["peak_gb"], step_s=step, predict_s=scan
    )
    return found.rename_axis("name").reset_index()


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`cost_rows` as a page shows it."""
    names = {
        "name": "network", "parameters": "parameters (M)", "memory_gb": "memory, 96-cubed (GB)",
        "step_s": "step (s)", "predict_s": "scan (s)", "mean": "Dice", "neck": "Dice, neck",
    }  # fmt: skip
    shown = rows.assign(parameters=rows["parameters"] / 1e6)[list(names)].rename(columns=names)
    return shown.set_index("network").round(3)


def mass_rows(answer: dict) -> pd.DataFrame:
    """Whom the losses listen to, over a training; the mean over seeds.

    Returns:
        Columns `name`, `group` (background or a region), `done` (share of the training), `mass` (share of the gradient)
        and `voxels` (share of the voxels).
    """
    groups = {"background": [0]} | {r: [IDS[v] for v in VERTEBRAE if REGION_OF[v] == r] for r in REGIONS}
    rows = []
    for row in answer["rows"]:
        if row["part"] != "loss":
            continue
        mass, voxels = np.array(row["mass"]), np.array(row["voxels"])  # (parts, 26)
        for group, ids in groups.items():
            shares = (m[:, ids].sum(1) / m.sum(1) for m in (mass, voxels))
            for part, (of_mass, of_voxels) in enumerate(zip(*shares, strict=True)):
                done = (part + 0.5) / len(mass)
                rows.append((row["name"], group, done, of_mass, of_voxels))
    table = pd.DataFrame(rows, columns=["name", "group", "done", "mass", "voxels"])
    return table.groupby(["name", "group", "done"], sort=False).mean().reset_index()


def mass_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of the gradient over a whole training: losses as rows, background and regions as columns, in %."""
    table = rows.pivot_table(index="name", columns="group", values="mass", sort=False)
    voxels = rows.groupby("group", sort=False)["voxels"].mean().rename("(share of the voxels)")
    return (100 * pd.concat([table, voxels.to_frame().T])).round(2).rename_axis("loss")


def length_rows(answer: dict) -> pd.DataFrame:
    """Validation of every training of the lengths, as long rows.

    Returns:
        Columns `stage`, `planned` (100, or `continued`: 40, 70, then 100), `seed`, `epoch`, `validation_loss`,
        `dice_mean` and `dice_<region>`.
    """
    tables = []
    for row in answer["rows"]:
        if row["part"] == "length":
            stage, planned = row["name"].split()
            tables.append(pd.DataFrame(row["history"]).assign(stage=stage, planned=planned, seed=row["seed"]))
    return pd.concat(tables, ignore_index=True)


def length_table(answer: dict) -> pd.DataFrame:
    """Dice on phantoms of no split by how long the fine stage was trained: plans as rows, regions as columns."""
    rows = scores(answer, "length")
    table = compared(rows[rows["name"].str.startswith("fine")], "fine 40")
    return region_table(table.assign(name=table["name"].str.removeprefix("fine "))).rename_axis("epochs")
