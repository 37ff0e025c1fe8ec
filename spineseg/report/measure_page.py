"""A measured scan as one page that needs nothing else: what stands out, spine chart, sagittal slice, tables."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from spineseg.evaluation.findings import flagged
from spineseg.report.health_results import SHOWN
from spineseg.report.measure_figures import draw_chart, draw_sagittal

STYLE = Path(__file__).parent / "audit_page.css"
DPI, QUALITY = 110, 80


def page(
    measured, errors: dict[str, float], caveat: str, *, calls: dict | None = None, norms: dict | None = None
) -> str:
    """The page as HTML; every name and text is escaped.

    Args:
        measured: A `measuring.Measured`.
        errors: Error bars by measure.
        caveat: Written at the top.
        calls: Tables of a trained call by title, and its `caveat`; None without one.
        norms: Of a healthy cohort, for the chart.

    Returns:
        A document without a script and without a request.
    """
    exam, name = measured.exam, html.escape(measured.name)
    marked = flagged(measured.findings)
    chart = draw_chart(exam, marked, norms)[0].figure
    slice_ = draw_sagittal(exam, measured.ct_hu, measured.labels, measured.affine, marked).figure
    found = _table(measured.findings, "") if len(measured.findings) else "<p>Nothing.</p>"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in measured.notes)
    bars = ", ".join(f"{html.escape(k)} {v:g}" for k, v in errors.items())
    angles = pd.DataFrame(
        [
            (k.replace("_", " ").replace("cobb", "Cobb"), "not in view" if v != v else f"{v:.0f}")
            for k, v in exam.angles.items()
        ],
        columns=["angle", "degrees"],
    )
    between = " to ".join(html.escape(v) for v in exam.cobb_between if v)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Measures of {name}</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<style>{STYLE.read_text(encoding='utf-8')}</style><h1>Measures of {name}</h1>",
        f"<p><b>{html.escape(caveat)}</b></p>",
        f"<h2>Outside fixed limits</h2>{found}<ul>{notes}</ul>",
        "<h2>Level by level</h2>",
        _picture(chart, "heights of bodies and discs and HU per level"),
        "<h2>Sagittal slice</h2>",
        _picture(slice_, "sagittal slice with endplates and angles", facecolor="black"),
        _table(angles, "Angles"),
        f"<p>Cobb angle: {between}.</p>" if between else "",
        *(_calls(calls) if calls else []),
        _table(_shown(exam.vertebrae), "Vertebrae", "wide"),
        _table(_shown(exam.discs), "Discs", "wide"),
        f"<p>Nine of ten values of phantoms at this voxel size were off by at most: {bars}.</p>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _calls(calls):
    yield f"<h2>A trained call</h2><p><b>{html.escape(calls['caveat'])}</b></p>"
    for title, table in calls.items():
        if isinstance(table, pd.DataFrame):
            yield _table(_shown(table.rename(columns=SHOWN), 2), title, "wide")


def _shown(table: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    shares = [c for c in table if c.startswith("loss_") or c in ("index", "gas_share")]
    shown = table.copy()
    for column in shown.select_dtypes("number"):
        places = 2 if column in shares else digits
        shown[column] = [("" if v != v else f"{v:.{places}f}") for v in shown[column]]
    return shown.astype(object).fillna("")


def _table(table: pd.DataFrame, title: str, kind: str = "") -> str:
    text = table.to_html(index=False, border=0, escape=True, classes=kind)
    head = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f"{head}<div class=scroll>{text}</div>"


def _picture(figure, text: str, **options) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="webp", dpi=DPI, pil_kwargs={"quality": QUALITY}, bbox_inches="tight", **options)
    plt.close(figure)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<div class="scroll picture"><img alt="{html.escape(text)}" src="data:image/webp;base64,{data}"></div>'
