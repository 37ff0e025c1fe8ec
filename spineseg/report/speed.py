"""Speed and memory: the answers of `benchmarks/` as tables and words. Nothing is measured here."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from spineseg import paths
from spineseg.learning.cost import GPU_CONTEXT_GB, training_cost

PEER = "MONAI VNet"  # as `benchmarks/gpu.py` names it
BAND = 0.15  # to either side of a measured memory, drawn beside the forecasts
COLUMNS = ("name", "peer", "ratio", "target", "ours", "theirs", "unit", "equal", "apart")


def load(name: str) -> dict | None:
    """One file of `benchmarks/results`, such as `memory.json`; None if it was not measured here."""
    path = paths.results_folder() / name
    return json.loads(path.read_text()) if path.is_file() else None


def comparisons() -> tuple[dict, pd.DataFrame]:
    """The comparisons with other libraries.

    Returns:
        Machine and versions as one dict, and a row for each comparison with `COLUMNS`; `ratio` above 1: ours is better.
    """
    answer = json.loads((paths.results_folder().parent / "results.json").read_text())
    return {**answer["machine"], **answer["versions"]}, pd.DataFrame(answer["rows"])[list(COLUMNS)]


def comparison_words(about: dict, rows: pd.DataFrame) -> dict:
    """What the prose quotes: how many targets are met, the largest and smallest ratio, the machine."""
    aimed = rows[rows["target"].notna()]
    met = aimed[aimed["ratio"] >= aimed["target"]]
    missed = [f"{r.name_} beside {r.peer} ({r.ratio:.1f} of {r.target:.1f})" for r in _named(aimed.drop(met.index))]
    shown = rows[rows["ratio"].notna()]
    best, worst = shown.loc[shown["ratio"].idxmax()], shown.loc[shown["ratio"].idxmin()]
    return {
        "targets": len(aimed), "targets_met": len(met), "targets_missed": "; ".join(missed) or "none",
        "best_what": f"{best['name']} beside {best['peer']}", "best_ratio": best["ratio"],
        "worst_what": f"{worst['name']} beside {worst['peer']}", "worst_ratio": worst["ratio"],
        "processor": about["processor"], "bench_threads": about["threads"], "bench_date": about["date"],
        "monai_version": about["monai"], "nnunet_version": about["nnunetv2"],
    }  # fmt: skip


def _named(rows: pd.DataFrame):
    return rows.rename(columns={"name": "name_"}).itertuples(index=False)


def comparison_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`comparisons` as a page shows it."""
    shown = rows[rows["ratio"].notna()]
    table = pd.DataFrame(
        {
            "times better": shown["ratio"].map("{:.1f}".format),
            "aim": shown["target"].map(lambda t: "-" if np.isnan(t) else f"{t:.1f}"),
            "ours": [_amount(v, u) for v, u in zip(shown["ours"], shown["unit"], strict=True)],
            "theirs": [_amount(v, u) for v, u in zip(shown["theirs"], shown["unit"], strict=True)],
            "results": shown["apart"],
        }
    )
    return table.set_index(pd.MultiIndex.from_frame(shown[["name", "peer"]].set_axis(["what", "beside"], axis=1)))


def _amount(value: float, unit: str) -> str:
    """A time or a size with three digits: `4.79 s`, `131 ms`, `10.2 MB`."""
    if unit == "ms" and value >= 1000:
        value, unit = value / 1000, "s"
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def memory_rows(answer: dict) -> pd.DataFrame:
    """Predicted and measured peak of training steps.

    Args:
        answer: Of `benchmarks/memory.py`.

    Returns:
        Columns `step` (words), `predicted_mb`, `measured_mb`.
    """
    rows = []
    for row in answer["rows"]:
        kernel = f", {row['network']['kernel']}-cubed" if "kernel" in row["network"] else ""
        narrow = ", narrow" if "channels" in row["network"] else ""
        words = f"{row['side']}-cubed, batch {row['batch']}, {'bf16' if row['bf16'] else 'fp32'}{kernel}{narrow}"
        words += ", recomputed" if row["recompute"] else ""
        rows.append((words, row["predicted_mb"], row["measured_mb"]))
    return pd.DataFrame(rows, columns=["step", "predicted_mb", "measured_mb"])


def memory_words(rows: pd.DataFrame) -> dict:
    """How far predictions are off at most, as a share of what was measured; the band and what CUDA takes."""
    ratio = rows["predicted_mb"] / rows["measured_mb"]
    known = {"memory_steps": len(rows), "memory_low": float(ratio.min()), "memory_high": float(ratio.max())}
    return known | {"memory_band": 100 * BAND, "context_gb": GPU_CONTEXT_GB}


def growth_rows(answer: dict) -> pd.DataFrame:
    """Columns `what`, `of`, `x`, `seconds`, `peak_mb` of `benchmarks/growth.py`, a row for each point."""
    return pd.DataFrame(
        [
            {"what": c["what"], "of": c["of"], "x": x, "seconds": s, "peak_mb": p}
            for c in answer["curves"]
            for x, s, p in zip(c["x"], c["seconds"], c["peak_mb"], strict=True)
        ]
    )


def growth_words(answer: dict) -> dict:
    """Slopes of the logarithms, and by how much the memory of a prediction grows from the fewest slices to the most."""
    predict = next(c for c in answer["curves"] if c["what"] == "predict")
    steepest = max(answer["curves"], key=lambda c: c["slope"])
    return {
        "predict_slope": predict["slope"], "predict_last_slope": predict["last_slope"],
        "predict_mb_low": min(predict["peak_mb"]), "predict_mb_high": max(predict["peak_mb"]),
        "predict_slices_low": predict["x"][0], "predict_slices_high": predict["x"][-1],
        "steepest": steepest["what"], "steepest_slope": steepest["slope"],
    }  # fmt: skip


def growth_table(answer: dict) -> pd.DataFrame:
    """Slope of each curve."""
    rows = [(c["what"], c["of"], c["x"][0], c["x"][-1], c["slope"], c["last_slope"]) for c in answer["curves"]]
    return pd.DataFrame(rows, columns=["what", "of", "from", "to", "slope", "slope at the end"]).set_index("what")


def spent_rows(answer: dict, what: str) -> pd.DataFrame:
    """Seconds of each step of `benchmarks/spent.py`.

    Args:
        answer: By name of the measurement, in the order in which they were made.
        what: `prediction` or `training`.

    Returns:
        Steps as rows, measurements as columns; the total last.
    """
    return pd.DataFrame({name: measured[what] for name, measured in answer.items()})


def spent_words(answer: dict, what: str) -> dict:
    """The largest step of the last measurement and its share of the whole; the first measurement's total against it."""
    first, last = (answer[name][what] for name in (next(iter(answer)), list(answer)[-1]))
    steps = {k: v for k, v in last.items() if k != "total"}
    largest = max(steps, key=steps.get)
    return {
        f"{what}_largest": largest, f"{what}_largest_share": steps[largest] / last["total"],
        f"{what}_total": last["total"], f"{what}_before": first["total"],
    }  # fmt: skip


def forecast_table(config, names=("baseline", "coarse", "fine")) -> pd.DataFrame:
    """What a training step of each network needs, as `spineseg train --dry-run` says it.

    Args:
        config: The configuration.
        names: Networks.
    """
    rows = []
    for name in names:
        for bf16 in (False, True):
            cost = training_cost(config, name, bf16=bf16)
            shape = " x ".join(map(str, cost.shape))
            kept, peak = cost.kept_bytes / 1e9, cost.peak_bytes / 1e9 + GPU_CONTEXT_GB
            rows.append(
                (name, shape, "bf16" if bf16 else "fp32", cost.parameters / 1e6, 3 * cost.flops / 1e12, kept, peak)
            )
    columns = [
        "network",
        "batch x voxels",
        "type",
        "parameters (M)",
        "TFLOP a step",
        "activations (GB)",
        "on a GPU (GB)",
    ]
    return pd.DataFrame(rows, columns=columns).set_index(["network", "type"])


def gpu_rows(answer: dict) -> pd.DataFrame:
    """Training steps on a GPU, one row for each network and size.

    Args:
        answer: Of `benchmarks/gpu.py`.

    Returns:
        `network, side, batch, type, step_ms, slower, tflop_per_s, roofline_share, peak_gb, predicted_gb`; `slower` is
        MONAI's time at the same size divided by this one. Numbers that were not taken are nan.
    """
    rows = pd.DataFrame(answer["steps"]).assign(type=lambda t: np.where(t["bf16"], "bf16", "fp32"))
    size = ["side", "batch", "type"]
    peer = rows[rows["network"] == PEER].set_index(size)["step_ms"]
    rows["slower"] = [peer.get(tuple(r), np.nan) for r in rows[size].itertuples(index=False)] / rows["step_ms"]
    return rows.sort_values([*size[::-1], "network"], ignore_index=True)


def gpu_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`gpu_rows` as a page shows it."""
    names = {
        "network": "network", "side": "side of the patch", "batch": "batch", "type": "type", "step_ms": "step (ms)",
        "slower": "MONAI V-Net / this", "tflop_per_s": "TFLOP/s", "roofline_share": "share of the roofline",
        "peak_gb": "peak (GB)", "predicted_gb": "foretold (GB)",
    }  # fmt: skip
    index = ["network", "side of the patch", "batch", "type"]
    table = rows.rename(columns=names)[list(names.values())].set_index(index)
    return table.map(lambda value: "-" if np.isnan(value) else f"{value:.3g}")


def gpu_words(answer: dict, rows: pd.DataFrame) -> dict:
    """What the prose quotes of the GPU."""
    ours = rows[rows["network"] != PEER]
    large = ours[(ours["side"] == ours["side"].max()) & (ours["batch"] == ours["batch"].max())]
    ratio = ours["peak_gb"] / ours["predicted_gb"]
    plain, *others = answer["variants"]
    fastest = min((v for v in others if "step_ms" in v), key=lambda v: v["step_ms"])
    how = [name for name, key in (("compiled", "compiled"), ("channels last", "channels_last")) if fastest[key]]
    return {
        "gpu": answer["machine"]["device"], "gpu_date": answer["machine"]["date"],
        "gpu_torch": answer["versions"]["torch"], "gpu_copy": answer["limits"]["bf16"]["gb_per_s"],
        "gpu_product": answer["limits"]["bf16"]["tflop_per_s"],
        "gpu_slower_low": ours["slower"].min(), "gpu_slower_high": ours["slower"].max(),
        "gpu_share_low": ours["roofline_share"].min(), "gpu_share_high": ours["roofline_share"].max(),
        "gpu_large_gb": large["peak_gb"].max(), "gpu_large_side": int(large["side"].max()),
        "gpu_foretold_low": ratio.min(), "gpu_foretold_high": ratio.max(),
        "gpu_curves": answer["loss_curves"]["largest_relative_difference"],
        "gpu_phantom_s": answer["phantoms"]["seconds"], "gpu_phantom_mm": answer["phantoms"]["spacing_mm"],
        "gpu_prediction_s": answer["prediction"]["seconds"],
        "gpu_prediction_shape": " x ".join(map(str, answer["prediction"]["shape"])),
        "gpu_fastest": " and ".join(how) or "as it is", "gpu_fastest_gain": plain["step_ms"] / fastest["step_ms"],
        "gpu_fastest_first_s": fastest["first_step_s"],
    }  # fmt: skip
