"""The audit as one page that needs nothing else: findings, a picture of each suspect case, all cases in a table."""

from __future__ import annotations

import base64
import html
import io
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from spineseg.config import ClusterConfig
from spineseg.data import nifti
from spineseg.data.affine import spacing_of, to_canonical
from spineseg.data.atomic import write_text
from spineseg.data.audit import Audit, Severity, audit
from spineseg.data.case import Case
from spineseg.data.layouts import Listing
from spineseg.data.parallel import map_cases
from spineseg.data.reference import read_reference
from spineseg.errors import CaseError
from spineseg.paths import build_folder
from spineseg.report import slices, tables
from spineseg.report.theme import new_axes

MOST_PICTURES = 80  # of about 20 kB; the page says how many suspect cases have none
PICTURE_DPI, PICTURE_QUALITY = 100, 60
STYLE = Path(__file__).parent / "audit_page.css"


def run_audit(listing: Listing, cluster: ClusterConfig, *, to: Path | None = None, as_json: bool = False) -> int:
    """What `spineseg audit` does: look, print a line per finding, draw the page.

    Args:
        listing: The set.
        cluster: Who works.
        to: Folder of the page; None for `_build/audit/<name>`.
        as_json: Print JSON in place of lines.

    Returns:
        Exit status: 0 if nothing but notes was found, else 1.
    """
    print(listing, file=sys.stderr)
    found = audit(listing, cluster)
    if as_json:
        print(json.dumps([f.to_dict() for f in found.findings], indent=1))
    else:
        print("\n".join(str(f) for f in found.findings), end="\n" if found.findings else "")
    target = to or build_folder("audit") / listing.folder.resolve().name
    print(f"page: {write_audit(found, target, cluster)}", file=sys.stderr)
    return 0 if found.is_clean else 1


def write_audit(found: Audit, folder: Path, cluster: ClusterConfig, *, progress: bool = True) -> Path:
    """Write the page and the tables of an audit.

    Args:
        found: What was found.
        folder: Gets `index.html`, `findings.csv`, `cases.csv`.
        cluster: Who draws the pictures.
        progress: Show a bar.

    Returns:
        The page.
    """
    suspects = list(dict.fromkeys(f.case for f in found.findings if f.case and f.severity is not Severity.NOTE))
    rows = {row.case: Case.of(row) for row in found.listing.table.itertuples(index=False)}
    drawn = [rows[name] for name in suspects if name in rows][:MOST_PICTURES]
    files = [case.ct or case.segmentation for case in drawn]
    pictures = map_cases(draw_case, drawn, cluster=cluster, title="pictures", progress=progress, files=files)
    shown = {c.case: p for c, p in zip(drawn, pictures, strict=True) if not isinstance(p, CaseError)}
    write_text(folder / "findings.csv", found.table().to_csv(index=False))
    write_text(folder / "cases.csv", found.cases.to_csv(index=False))
    write_text(folder / "index.html", page(found, shown))
    return folder / "index.html"


def page(found: Audit, pictures: dict[str, bytes]) -> str:
    """The page as HTML; every name and text of a file is escaped.

    Args:
        found: What was found.
        pictures: WebP images by case.

    Returns:
        A document without a script and without a request.
    """
    name = html.escape(found.listing.folder.name)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Audit of {name}</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<style>{STYLE.read_text(encoding='utf-8')}</style><h1>Audit of {name}</h1>",
        f"<p>{html.escape(str(found.listing))}.</p>",
        f"<p>{_summary(found)}</p>",
    ]
    table = found.table()
    if len(table):
        counts = table.groupby(["severity", "code"], sort=False).size().reset_index(name="findings")
        parts.append(_table(counts, "What was found"))
    of_set = table[table["case"] == ""]
    if len(of_set):
        parts.append(_table(of_set[["severity", "code", "what", "remedy"]], "The set as a whole"))
    suspect = table[(table["severity"] != Severity.NOTE) & (table["case"] != "")]
    parts.append("<h2>Suspect cases</h2>" if len(suspect) else "")
    if bare := suspect["case"].nunique() - len(pictures):
        parts.append(
            f"<p>{bare} of {suspect['case'].nunique()} have no picture: they cannot be read, or are too many.</p>"
        )
    for case, rows in suspect.groupby("case", sort=False):
        parts.append(
            _section(str(case), table[table["case"] == case], pictures.get(str(case)), rows["severity"].iloc[0])
        )
    parts.append(_table(found.cases.astype(object).fillna(""), "All cases", "wide"))
    return "\n".join(part for part in parts if part) + "\n"


def draw_case(case: Case) -> bytes:
    """Sagittal and coronal slice of a case, as far as it can be read.

    Returns:
        A WebP image.

    Raises:
        CaseError: If neither scan nor label map can be read.
    """
    ct, labels, why = None, None, None
    try:
        ct, window = _scan(case.ct) if case.ct else (None, slices.BONE_WINDOW_HU)
    except CaseError as error:
        why, window = error, slices.BONE_WINDOW_HU
    try:
        labels = read_reference(case.segmentation, case.scheme) if case.segmentation else None
    except CaseError as error:
        why = error
    if ct is None and labels is None:
        raise why or CaseError("empty", case.case, "no file", "a scan", "add one")
    if ct is not None and labels is not None and ct.array.shape != labels.array.shape:
        labels = None
    placed = ct or labels
    image, affine = to_canonical(placed.array, placed.affine)
    named = np.zeros(image.shape, np.uint8)
    if labels is not None:
        named = to_canonical(labels.array, labels.affine)[0]
    image = np.nan_to_num(image.astype(np.float32)) if ct is not None else np.full(image.shape, -1000.0, np.float32)
    axes = slices.show_pair(
        image, named, spacing_of(affine), indices=tables.busiest(named), axes=new_axes(1, 2, height_in=3.6),
        opacity=0.35, window_hu=window,
    )  # fmt: skip
    stream = io.BytesIO()
    figure = axes[0].figure
    options = {"dpi": PICTURE_DPI, "bbox_inches": "tight", "pad_inches": 0.02, "facecolor": "black"}
    figure.savefig(stream, format="webp", pil_kwargs={"quality": PICTURE_QUALITY}, **options)
    plt.close(figure)
    return stream.getvalue()


def _scan(path: str):
    """The scan, and the window of bone; for what is not in HU, one from its own values."""
    try:
        return nifti.read_ct(path), slices.BONE_WINDOW_HU
    except CaseError:
        scan = nifti.read(path)
    low, high = np.nanpercentile(scan.array[::4, ::4, ::4], (1, 99.5))
    return scan, (float(low), float(max(high, low + 1)))


def _summary(found: Audit) -> str:
    counts = [sum(f.severity is s for f in found.findings) for s in Severity]
    words = ("errors (the case is refused)", "warnings (it is used; look at it)", "notes")
    return ", ".join(f"<b>{n}</b> {word}" for n, word in zip(counts, words, strict=True)) + "."


def _section(case: str, rows, picture: bytes | None, severity: str) -> str:
    items = "".join(
        f"<li><b>{html.escape(r.severity)} {html.escape(r.code)}</b>: {html.escape(r.what)}. "
        f"<i>{html.escape(r.remedy)}</i>" + (f"<br><code>{html.escape(r.path)}</code>" if r.path else "")
        for r in rows.itertuples()
    )
    image = ""
    if picture:
        data = base64.b64encode(picture).decode()
        image = f'<img alt="sagittal and coronal slice" src="data:image/webp;base64,{data}">'
    return f'<section class="{severity}"><h3>{html.escape(case)}</h3><ul>{items}</ul>{image}</section>'


def _table(table, title: str, kind: str = "") -> str:
    text = table.to_html(index=False, border=0, escape=True, classes=kind)
    return f"<h2>{title}</h2><div class=scroll>{text}</div>"
