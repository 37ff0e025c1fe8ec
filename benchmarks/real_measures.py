"""Measure the real pairs and masks in the shared folder: derived numbers only, no voxel.

Run `python benchmarks/real_measures.py [--cases N] [--out FILE]`; needs the folder that `paths.real_ct_folder` names.
Pairs give HU too. Nothing is trained or tuned on them.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg import paths
from spineseg.anatomy.alignment import pitch_degrees
from spineseg.anatomy.clinical import examine
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.rims import deepest
from spineseg.config import MorphometryConfig
from spineseg.data import nifti
from spineseg.data.affine import spacing_of
from spineseg.data.atomic import write_text
from spineseg.evaluation.findings import findings_of
from spineseg.report.measuring import largest_pieces

BONE = ["vertebra", "height_anterior_mm", "height_middle_mm", "height_posterior_mm", "body_volume_ml", "hu_median",
        "width_mm", "depth_mm", "canal_mm", "wedge_degrees", "loss_wedge", "loss_biconcave", "loss_crush",
        "genant_grade", "genant_kind", "cut", "whole"]  # fmt: skip
GAPS = ["disc", "height_anterior_mm", "height_middle_mm", "height_posterior_mm", "index", "angle_degrees", "slip_mm",
        "disc_hu", "gas_share"]  # fmt: skip


def rounded(value):
    """Plain, short numbers; None for nan."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return None if value != value else round(value, 3)
    return value


def one(segmentation: Path, ct: Path | None, config: MorphometryConfig) -> dict:
    """Tables of one case."""
    volume = nifti.read_labels(segmentation)
    hu = nifti.read_ct(ct).array if ct else None
    exam = examine(largest_pieces(volume.array)[0], volume.affine, hu, config=config)
    bone = exam.vertebrae[BONE]
    ends = pd.DataFrame([_endplates(exam, name) for name in bone["vertebra"]], index=bone.index)
    return {
        "spacing_mm": [round(float(s), 3) for s in spacing_of(volume.affine)],
        "scan": ct is not None,
        "vertebrae": [{k: rounded(v) for k, v in row.items()} for row in bone.join(ends).to_dict("records")],
        "discs": [{k: rounded(v) for k, v in row.items()} for row in exam.discs[GAPS].to_dict("records")],
        "angles": {k: rounded(v) for k, v in exam.angles.items()},
        "findings": findings_of(exam, config).to_dict("records"),
    }


def _endplates(exam, name):
    """Wedge angle between planes through the inner parts, and depth and deepest place of both hollows."""
    body, row = exam.bodies.get(IDS[name]), {}
    if body is None or not body.has_ends:
        return row
    top, bottom = (pitch_degrees(body.plane(end)[1], body.frame) for end in ("top", "bottom"))
    row["inner_degrees"] = top - bottom
    for end in ("top", "bottom"):
        row[f"deep_{end}_mm"], row[f"deep_{end}_place"] = deepest(body, end)
    return row


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, help="of the pairs and of the masks, the first of each")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "real_measures.json")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", RuntimeWarning)
    folder, config, answer = paths.real_ct_folder(), MorphometryConfig(), {}
    if not (folder / "pairs").is_dir():
        print(f"no real scans in {folder}; {options.out} stays as it is")
        return 0
    for ct in sorted((folder / "pairs").glob("*_ct.nii.gz"))[: options.cases]:
        name = ct.name.removesuffix("_ct.nii.gz")
        answer[name] = one(ct.with_name(f"{name}_seg.nii.gz"), ct, config)
        print(name, len(answer[name]["vertebrae"]), flush=True)
    for segmentation in sorted((folder / "masks").glob("*_seg.nii.gz"))[: options.cases]:
        name = segmentation.name.removesuffix("_seg.nii.gz")
        if not any(name in pair for pair in answer):  # the same patient's mask without the scan
            answer[name] = one(segmentation, None, config)
            print(name, len(answer[name]["vertebrae"]), flush=True)
    write_text(options.out, json.dumps({"cases": answer}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
