"""Small cases that tests share: made from a seed, in seconds, of the shapes that the package's own functions return."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.data import nifti


def generate(seed, *, spacing_mm, spread=1.0, needs=None, bone_only=None):
    """A trunk with two vertebrae, in the shape that the project's generator returns."""
    rng = np.random.default_rng(seed)
    ct = rng.normal(-1000, 10, (16, 18, 20))
    ct[2:14, 2:16] = rng.normal(40, 12, (12, 14, 20))
    labels = np.zeros(ct.shape, np.uint8)
    labels[6:10, 5:9, 0:8], labels[6:10, 5:9, 9:15] = 19, 20
    ct[labels > 0] = rng.normal(220, 20, np.count_nonzero(labels))
    row = {"full_ml": 40.0, "visible_ml": 30.0, "visible_share": 0.75, "centroid_mm": [0, 1, 2]}
    truth = {"view": {"kind": "trunk"}, "screws": [], "vertebrae": [row | {"vertebra": name} for name in ("T12", "L1")]}
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1])
    return SimpleNamespace(ct_hu=ct.astype(np.int16), labels=labels, affine=affine, truth=truth)


LAYOUTS = ("kaggle", "totalsegmentator", "verse", "nnunet", "pairs", "ct")


def write_layout(layout, folder, cases):
    """Write cases in the layout of a published data set.

    `cases` maps a number to (CT, labels, affine) in our own scheme; what is written is numbered and named as there.
    """
    for i, (ct, labels, affine) in cases.items():
        if layout == "kaggle":
            nifti.write(folder / "volumes" / f"case_{i:04d}.nii", ct, affine)
            nifti.write(folder / "segmentations" / f"case_{i:04d}.nii", labels, affine)
        elif layout == "totalsegmentator":
            subject = folder / f"s{i:04d}"
            nifti.write(subject / "ct.nii.gz", ct, affine)
            for name in (*VERTEBRAE, "sacrum"):
                mask = labels == IDS[name] if name in IDS else np.zeros(labels.shape, bool)
                file = f"vertebrae_{name}.nii.gz" if name in IDS else f"{name}.nii.gz"
                nifti.write(subject / "segmentations" / file, mask, affine)
        elif layout == "verse":
            name = f"sub-verse{i:03d}"
            part = folder / f"dataset-verse19{('training', 'validation', 'test')[min(i % 4, 2)]}"
            theirs = np.where(labels == 25, 26, labels).astype(np.uint8)  # the sacrum is 26 there
            nifti.write(part / "rawdata" / name / f"{name}_ct.nii.gz", ct, affine)
            nifti.write(part / "derivatives" / name / f"{name}_seg-vert_msk.nii.gz", theirs, affine)
        elif layout == "nnunet":
            theirs = np.where(labels > 0, 26 - labels.astype(int), 0).astype(np.uint8)  # S1 first
            nifti.write(folder / "imagesTr" / f"spine_{i:03d}_0000.nii.gz", ct, affine)
            nifti.write(folder / "labelsTr" / f"spine_{i:03d}.nii.gz", theirs, affine)
        elif layout == "pairs":
            nifti.write(folder / f"p{i}_ct.nii.gz", ct, affine)
            nifti.write(folder / f"p{i}_seg.nii.gz", labels, affine)
        else:
            nifti.write(folder / f"scan{i}.nii.gz", ct, affine)
    if layout == "totalsegmentator":
        parts = [("train", "val", "test")[min(i % 4, 2)] for i in cases]
        rows = [f"s{i:04d};50;m;{part}" for i, part in zip(cases, parts, strict=True)]
        text = "\n".join(["image_id;age;gender;split", *rows]) + "\n"
        (folder / "meta.csv").write_text(text, encoding="utf-8-sig")
    if layout == "nnunet":
        names = {f"vertebrae_{name}": 26 - i for name, i in IDS.items()}
        content = {"labels": {"background": 0} | names, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
        (folder / "dataset.json").write_text(json.dumps(content))


def flat_body():
    """L3 with even, parallel endplates, 24 mm high, seen on a lattice of 1 mm."""
    from test_discs import pair

    body = pair(8.0)[1]
    top, bottom = (np.where(np.isnan(h), np.nan, np.nanmedian(h)) for h in (body.top, body.bottom))
    return dataclasses.replace(body, top=top, bottom=bottom)
