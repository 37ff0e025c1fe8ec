"""The command on a phantom written to files, and its page."""

import html
import json

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.cli import main
from spineseg.data import nifti
from spineseg.report.measuring import largest_pieces

SEED, FIRST = 7, ["vertebra", "height_anterior_mm", "height_middle_mm", "height_posterior_mm", "body_volume_ml"]
NAME = "a <b>bold<b> name & more.nii.gz"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    scan = generate(SEED, spacing_mm=2.0, anisotropic=False, pathology=Pathology(0.6, 0.6, 1.0), needs=("T12", "L4"),
                    tight=True)  # fmt: skip
    nifti.write(folder / NAME, scan.ct_hu, scan.affine)
    nifti.write(folder / "seg.nii.gz", scan.labels, scan.affine)
    ct = folder / NAME
    assert main(["measure", str(ct), str(folder / "seg.nii.gz"), "--out", str(folder / "out")]) == 0
    return folder, scan


def test_tables_begin_as_promised_and_hold_every_vertebra(measured):
    folder, scan = measured
    table = pd.read_csv(folder / "out" / "vertebrae.csv")
    assert list(table)[:6] == [*FIRST, "hu_median"]
    seen = [row["vertebra"] for row in scan.truth["vertebrae"] if row["visible_ml"] > 1]
    assert set(seen) <= set(table["vertebra"]) and table["height_middle_mm"].notna().sum() >= 3
    assert list(pd.read_csv(folder / "out" / "discs.csv"))[0] == "disc"


def test_json_has_no_nan_and_says_what_it_is_not(measured):
    folder, _ = measured
    text = (folder / "out" / "measures.json").read_text()
    known = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert "not a diagnosis" in known["caveat"] and known["spacing_mm"] == [2.0, 2.0, 2.0]
    assert {"vertebrae", "discs", "findings", "angles_degrees", "errors", "notes"} <= set(known)


def test_page_is_one_file_without_a_request_and_every_name_is_escaped(measured):
    folder, _ = measured
    text = (folder / "out" / "index.html").read_text()
    assert html.escape(NAME) in text and "<b>bold" not in text
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    assert text.count("data:image/webp;base64,") == 2 and "not a diagnosis" in text


def test_findings_are_printed(measured, capsys):
    folder, _ = measured
    main(["measure", str(folder / NAME), str(folder / "seg.nii.gz"), "--out", str(folder / "again")])
    said = capsys.readouterr().out
    found = json.loads((folder / "again" / "measures.json").read_text())["findings"]
    assert all(f"{row['place']}: {row['finding']}" in said for row in found) and "vertebrae" in said


def test_a_label_map_of_another_scan_is_refused(measured, capsys):
    folder, scan = measured
    nifti.write(folder / "other.nii.gz", scan.labels[:, :, 1:], scan.affine)
    assert main(["measure", str(folder / NAME), str(folder / "other.nii.gz"), "--out", str(folder / "no")]) == 1
    assert "voxels" in capsys.readouterr().err and not (folder / "no").exists()


def test_smaller_pieces_of_a_name_are_left_out_and_counted():
    labels = np.zeros((20, 21, 22), np.uint8)
    labels[2:10, 2:10, 2:10] = IDS["T12"]
    labels[12:16, 2:6, 2:6] = IDS["T12"]
    labels[12, 12, 12] = IDS["T12"]  # a crumb of less than 1 %
    labels[2:6, 14:18, 14:18] = IDS["L1"]
    kept, dropped = largest_pieces(labels)
    assert dropped == {"T12": 1} and (kept == IDS["T12"]).sum() == 512 and (kept == IDS["L1"]).sum() == 64
    assert largest_pieces(np.zeros_like(labels))[1] == {}
