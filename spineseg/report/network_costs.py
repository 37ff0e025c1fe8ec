"""What networks cost: the answer of `benchmarks/architectures.py` as tables and words. Nothing is measured here."""

from __future__ import annotations

import json

import pandas as pd

from spineseg import paths
from spineseg.learning.cost import CARD_GB, GPU_CONTEXT_GB

FILE = "architectures.json"
# GB that the work which this book starts from expected each network to need, and for what it gave no sizes
GUESSED_GB = {
    "V-Net, 3-cubed": (8, 14), "V-Net, 5-cubed": (8, 14), "3D U-Net": (8, 16), "3D ResU-Net": (12, 24),
    "Swin UNETR": (16, 32), "CNN + transformer": (16, 32),
}  # fmt: skip
USUAL = {"batch": 2, "bf16": True, "recompute": False}  # as the project trains, where it fits


def load() -> dict:
    """What was measured last."""
    return json.loads((paths.results_folder() / FILE).read_text())


def size_table(answer: dict) -> pd.DataFrame:
    """Each network in its published or usual size: parameters, and arithmetic of a step of one 96-cubed patch.

    Returns:
        Networks as rows; `parameters (M)`, `TFLOP a step`, `activations (GB)` in bf16.
    """
    rows = forecasts(answer)
    rows = rows[(rows["side"] == 96) & (rows["batch"] == 1) & rows["bf16"] & ~rows["recompute"]].set_index("network")
    table = pd.DataFrame(
        {
            "parameters (M)": rows["parameters"] / 1e6, "TFLOP a step": rows["tflop"],
            "activations (GB)": rows["kept_gb"],
        }
    )  # fmt: skip
    return table.round(2)


def forecasts(answer: dict) -> pd.DataFrame:
    """A row for each network and setting; `gpu_gb` is what a GPU needs, CUDA's own share included."""
    rows = pd.DataFrame(answer["forecast"])
    return rows.assign(gpu_gb=rows["peak_gb"] + GPU_CONTEXT_GB)


def memory_table(answer: dict) -> pd.DataFrame:
    """Forecast memory on a GPU beside what was guessed.

    Returns:
        Networks as rows; columns are side, type and batch, in GB, recomputing in brackets; the last is the guess.
    """
    rows = forecasts(answer)
    keys = ["side", "bf16", "batch"]
    plain, again = (
        rows[rows["recompute"] == r].pivot_table(index="network", columns=keys, values="gpu_gb") for r in (False, True)
    )
    order = list(dict.fromkeys(rows["network"]))
    shown = pd.DataFrame(
        {
            (f"{side}-cubed", f"{'bf16' if bf16 else 'fp32'}, {batch}"): [
                f"{plain.loc[n, (side, bf16, batch)]:.1f} ({again.loc[n, (side, bf16, batch)]:.1f})" for n in order
            ]
            for side, bf16, batch in plain.columns
        },
        index=pd.Index(order, name="network"),
    )
    shown[("guessed", "")] = [f"{GUESSED_GB[n][0]} to {GUESSED_GB[n][1]}" if n in GUESSED_GB else "-" for n in order]
    return shown


def largest_table(answer: dict) -> pd.DataFrame:
    """Side of the largest patch of a card, one at a time in bf16; with recomputing in brackets; `-`: none."""
    rows = pd.DataFrame(answer["largest"])
    wide = rows.pivot_table(index="network", columns=["card_gb", "recompute"], values="side")
    order = list(dict.fromkeys(rows["network"]))
    return pd.DataFrame(
        {
            f"{card} GB": [f"{_side(wide.loc[n, (card, False)])} ({_side(wide.loc[n, (card, True)])})" for n in order]
            for card in dict.fromkeys(rows["card_gb"])
        },
        index=pd.Index(order, name="network"),
    )


def _side(side: float) -> str:
    return f"{side:.0f}" if side else "-"


def measured_rows(answer: dict) -> pd.DataFrame:
    """Predicted and measured peak of training steps on a CPU.

    Returns:
        Columns `network`, `side`, `batch`, `type`, `recompute`, `predicted_mb`, `measured_mb` and `ratio` (predicted by
        measured). A step that failed is left out.
    """
    rows = pd.DataFrame([row for row in answer["measured"] if "failed" not in row])
    ratio = rows["predicted_gb"] / rows["measured_gb"]
    kind = rows["bf16"].map({True: "bf16", False: "fp32"})
    return rows.assign(
        type=kind, ratio=ratio, predicted_mb=1000 * rows["predicted_gb"], measured_mb=1000 * rows["measured_gb"]
    )


def measured_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`measured_rows` as a page shows them: networks as rows; per setting `measured GB (foretold / measured)`."""
    again = rows["recompute"].map({True: ", again", False: ""})
    what = rows["side"].astype(str) + "-cubed, " + rows["batch"].astype(str) + ", " + rows["type"] + again
    text = [f"{m / 1000:.2f} ({r:.2f})" for m, r in zip(rows["measured_mb"], rows["ratio"], strict=True)]
    wide = rows.assign(what=what, text=text).pivot(index="network", columns="what", values="text")
    return wide.reindex(index=list(dict.fromkeys(rows["network"])), columns=list(dict.fromkeys(what))).fillna("-")


def words(answer: dict, gpu: dict) -> dict:
    """What the prose quotes: how well memory was foretold, what fits the reference card, how the guesses stand.

    Args:
        answer: From `load`.
        gpu: Of `benchmarks/gpu.py`, where memory was measured on a GPU.

    Returns:
        `steps`, `steps_of` (networks), `ratio_low`, `ratio_high`, `ratio_within` (how many steps within 15 %),
        `ratio_worst` (network of the farthest), `card_gb`, `card_none` (networks that do not
        train 96-cubed patches there), `card_largest` and `card_smallest` (sides of their largest patches), `usual_low`,
        `usual_high` (GB over the networks for two 128-cubed patches in bf16), `usual_light`, `usual_heavy`, `below`
        (networks whose forecast for that lies below the guess) and `guessed` (networks with a guess); `on_gpu`,
        `gpu_steps`, `gpu_low`, `gpu_high`: how forecasts of V-Nets stand to what a GPU took.
    """
    rows, known = measured_rows(answer), forecasts(answer)
    off = (rows["ratio"] - 1).abs()
    usual = known[(known["side"] == 128) & (known[list(USUAL)] == pd.Series(USUAL)).all(axis=1)].set_index("network")
    largest = pd.DataFrame(answer["largest"])
    here = largest[(largest["card_gb"] == CARD_GB) & ~largest["recompute"]].set_index("network")["side"]
    below = [n for n, (low, _) in GUESSED_GB.items() if usual.loc[n, "gpu_gb"] < low]
    on_gpu = [r["predicted_gb"] / r["peak_gb"] for r in gpu["steps"] if "predicted_gb" in r]
    return {
        "on_gpu": gpu["machine"]["device"], "gpu_steps": len(on_gpu), "gpu_low": min(on_gpu), "gpu_high": max(on_gpu),
        "steps_of": int(rows["network"].nunique()),
        "steps": len(rows), "ratio_low": float(rows["ratio"].min()), "ratio_high": float(rows["ratio"].max()),
        "ratio_within": int((off <= 0.15).sum()), "ratio_worst": str(rows.loc[off.idxmax(), "network"]),
        "card_gb": CARD_GB, "card_none": ", ".join(here.index[here < 96]) or "none",
        "card_largest": int(here.max()), "card_smallest": int(here.min()),
        "usual_low": float(usual["gpu_gb"].min()), "usual_high": float(usual["gpu_gb"].max()),
        "usual_light": str(usual["gpu_gb"].idxmin()), "usual_heavy": str(usual["gpu_gb"].idxmax()),
        "below": len(below), "guessed": len(GUESSED_GB),
    }  # fmt: skip
