"""What `spineseg measure` does: read a scan and its label map, measure, write tables, JSON and a page."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg.anatomy.clinical import Examination, examine
from spineseg.anatomy.labels import VERTEBRAE, Scheme
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.planting import UNITS, Pathology
from spineseg.config import MorphometryConfig
from spineseg.data.affine import spacing_of, to_canonical
from spineseg.data.atomic import write_text
from spineseg.data.case import Case
from spineseg.data.reference import read_case
from spineseg.evaluation.findings import findings_of
from spineseg.evaluation.measure_errors import error_bars
from spineseg.evaluation.pieces import connected_pieces
from spineseg.learning import health
from spineseg.report.measure_page import page

CAVEAT = "Measurements and fixed rules, to be looked at by a person; not a diagnosis."


@dataclass(frozen=True)
class Measured:
    """One measured scan.

    Attributes:
        name: Of the scan.
        ct_hu: `(I, J, K)`.
        labels: `(I, J, K)`, the largest piece of every vertebra.
        affine: `(4, 4)`.
        exam: The measurements.
        findings: By fixed rules.
        notes: What a reader should know of this scan.
    """

    name: str
    ct_hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    exam: Examination
    findings: pd.DataFrame
    notes: list[str]


def measure_files(ct: Path, segmentation: Path, config: MorphometryConfig, *, scheme: str = "") -> Measured:
    """Read and measure one scan.

    Args:
        ct: NIfTI file.
        segmentation: Label map on the same grid, or a folder of class files.
        config: Lattice and limits.
        scheme: Of the labels; ours when empty.

    Raises:
        CaseError: If a file is unusable or the two do not share a grid.
        ValueError: If the scheme is not known.
    """
    case = Case(ct.name, ct=str(ct), segmentation=str(segmentation), scheme=scheme or Scheme.SPINESEG.value)
    scan, reference = read_case(case)
    labels, dropped = largest_pieces(reference.array)
    exam = examine(labels, scan.affine, np.asarray(scan.array), config=config)
    notes = [f"{name}: {count} smaller pieces left out; the name may come twice" for name, count in dropped.items()]
    cut = exam.vertebrae[exam.vertebrae["cut"].astype(bool)]["vertebra"].tolist()
    if cut:
        notes.append(f"Cut by the edge of the scan: {', '.join(cut)}; what is seen whole of them is measured.")
    bone = exam.vertebrae["hu_median"].astype(float)
    if exam.vertebrae["whole"].astype(bool).any() and bone.isna().all():
        notes.append("No HU of marrow: the scan shows bone only.")
    notes.append("HU rise with contrast medium and change with tube voltage and kernel: compare neighbours first.")
    return Measured(ct.name, np.asarray(scan.array), labels, scan.affine, exam, findings_of(exam, config), notes)


def largest_pieces(labels: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """The label map without the smaller pieces of each vertebra, and how many of at least 1 % of it were left out."""
    pieces, count = connected_pieces(labels)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    first = np.unique(pieces, return_index=True)
    owner = np.zeros(count + 1, int)
    owner[first[0]] = labels.ravel()[first[1]]
    keep, dropped = np.zeros(count + 1, bool), {}
    for label in np.unique(owner[1:]):
        mine = np.flatnonzero(owner == label)
        best = mine[sizes[mine].argmax()]
        keep[best] = label > 0
        others = int((sizes[mine] > 0.01 * sizes[best]).sum()) - 1
        if label > 0 and others:
            dropped[VERTEBRAE[label - 1]] = others
    return np.where(keep[pieces], labels, 0).astype(np.uint8), dropped


def calls_of(measured: Measured, model: dict) -> dict:
    """What a trained call says of a scan: tables by title, and its caveat."""
    found = health.call(model, measured.exam.vertebrae, measured.exam.discs)
    return {"caveat": health.CAVEAT} | {f"Probability per {health.NAME[k]}": table for k, table in found.items()}


def write_measures(measured: Measured, folder: Path, *, calls: dict | None = None, norms: dict | None = None) -> Path:
    """Write `vertebrae.csv`, `discs.csv`, `measures.json` and `index.html`.

    Args:
        measured: From `measure_files`.
        folder: Where to.
        calls: Tables of a trained call by name, with their caveat; None without one.
        norms: Of a healthy cohort, for the chart.

    Returns:
        The page.
    """
    exam = measured.exam
    write_text(folder / "vertebrae.csv", exam.vertebrae.round(4).to_csv(index=False))
    write_text(folder / "discs.csv", exam.discs.round(4).to_csv(index=False))
    write_text(folder / "measures.json", json.dumps(to_dict(measured, calls), indent=1, allow_nan=False) + "\n")
    write_text(folder / "index.html", page(measured, errors_of(measured), CAVEAT, calls=calls, norms=norms))
    return folder / "index.html"


def errors_of(measured: Measured) -> dict[str, float]:
    """Error bars of this scan's resolution, by measure."""
    return error_bars(float(np.prod(spacing_of(measured.affine))) ** (1 / 3))


def to_dict(measured: Measured, calls: dict | None = None) -> dict:
    """Everything but the voxels, ready for JSON; what cannot be told is null."""
    exam = measured.exam
    known = {
        "scan": measured.name,
        "caveat": CAVEAT,
        "spacing_mm": [round(float(v), 4) for v in spacing_of(measured.affine)],
        "errors": errors_of(measured),
        "angles_degrees": exam.angles | {"cobb_between": list(exam.cobb_between)},
        "vertebrae": exam.vertebrae.to_dict("records"),
        "discs": exam.discs.to_dict("records"),
        "findings": measured.findings.to_dict("records"),
        "notes": measured.notes,
    }
    if calls:
        known["calls"] = {k: v.to_dict("records") if isinstance(v, pd.DataFrame) else v for k, v in calls.items()}
    return _plain(known)


def _plain(value):
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Specimen(Measured):
    """A measured phantom, axes RAS+.

    Attributes:
        planted: What was put into it: kind, place, severity, value and its unit.
    """

    planted: pd.DataFrame


def specimen(config: MorphometryConfig, *, seed: int = 20310002, spacing_mm: float = 2.0) -> Specimen:
    """A phantom's loin with planted pathology, measured in its own labels: what the chapter shows.

    Args:
        config: Lattice and limits.
        seed: Of the phantom.
        spacing_mm: Of its voxels.
    """
    scan = generate(
        seed, spacing_mm=spacing_mm, anisotropic=False, pathology=Pathology(0.35, 0.35, 0.0), needs=("T11", "S1"),
        tight=True, bone_only=False,
    )  # fmt: skip
    (ct_hu, affine), (labels, _) = (to_canonical(a, scan.affine) for a in (scan.ct_hu, scan.labels))
    exam = examine(labels, affine, ct_hu, config=config)
    planted = pd.DataFrame(scan.truth["planted"], columns=["kind", "place", "severity", "value"]).round(2)
    planted["value is"] = planted["kind"].map(UNITS)
    seen = set(exam.vertebrae["vertebra"])
    planted = planted[[set(str(p).split("-")) <= seen or p == "spine" for p in planted["place"]]].reset_index(drop=True)
    return Specimen(f"phantom {seed}", ct_hu, labels, affine, exam, findings_of(exam, config), [], planted)
