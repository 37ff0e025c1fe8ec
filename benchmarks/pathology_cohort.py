"""Make the phantoms of the health study: tables of measurements with truth, and crops of vertebrae for a network.

Run `python benchmarks/pathology_cohort.py WORK [--part train] [--count N]`. Each phantom is a crop around the spine at
1.5 mm; what is in WORK already is not made again. Parts: train (severity .3 to 1), test (likewise, other patients; with
perfect and with predicted masks), mild (severity 0 to .3, milder than any trained on).
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from spineseg.anatomy.clinical import examine
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.planted_cohort import renamed, with_truth
from spineseg.config import MorphometryConfig
from spineseg.data.atomic import write_text
from spineseg.learning.vertebra_crops import crop_of

PARTS = {  # first seed, count, severity
    "train": (20280000, 200, (0.3, 1.0)),
    "test": (20290000, 60, (0.3, 1.0)),
    "mild": (20300000, 40, (0.0, 0.3)),
}


def make(seed: int, severity, folder: Path, predictor) -> int:
    """One phantom's tables and crops; the number of vertebrae seen whole."""
    scan = generate(seed, spacing_mm=1.5, anisotropic=False, pathology=Pathology(severity=severity), tight=True)
    config = MorphometryConfig()
    maps = {"perfect": scan.labels}
    if predictor is not None:
        from spineseg.data.nifti import Volume

        found = predictor(Volume(scan.ct_hu, scan.affine, Path(str(seed)))).labels
        maps["predicted"] = renamed(found, scan.labels)
    for kind, labels in maps.items():
        exam = examine(labels, scan.affine, scan.ct_hu, config=config)
        vertebrae, discs = with_truth(exam, scan.truth["planted"])
        about = {"seed": seed, "phase": scan.truth["contrast"]}
        crops = {b.name: crop_of(b, scan.ct_hu, labels, scan.affine) for b in exam.bodies.values() if b.is_whole}
        if kind == "perfect":
            np.savez_compressed(folder / f"{seed}.npz", **crops)
        write_text(folder / f"{seed}_{kind}_discs.csv", discs.assign(**about).to_csv(index=False))
        write_text(folder / f"{seed}_{kind}_vertebrae.csv", vertebrae.assign(**about).to_csv(index=False))
    return int(vertebrae["whole"].sum()) if len(vertebrae) else 0


def main(arguments=None) -> int:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--count", type=int, help="phantoms per part, the first of them")
    parser.add_argument("--predicted", action="store_true", help="predicted masks of the test part too")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", RuntimeWarning)
    torch.set_num_threads(1)
    for part in options.part:
        first, count, severity = PARTS[part]
        predictor = None
        if options.predicted and part == "test":
            from spineseg.learning.inference import Predictor

            predictor = Predictor.boxed()
        folder = options.work / part
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + (options.count or count)):
            kind = "predicted" if predictor else "perfect"
            if not (folder / f"{seed}_{kind}_vertebrae.csv").is_file():
                print(part, seed, make(seed, severity, folder, predictor), "vertebrae", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
