"""How exact morphometry is: phantoms of known geometry in random poses, at several resolutions.

Run `python benchmarks/morphometry.py [--seeds 50] [--out FILE]`. A mask is the phantom's own label map, turned by up to
15 degrees about each axis; truth is `anatomy.phantom_truth`. What predicted masks add is in `pathology.py`.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spineseg import paths
from spineseg.anatomy.clinical import examine
from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.phantom.frame import Frame, rotation_of
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom_masks import MARGIN_MM, has_usual_count, poses_of, whole_spine
from spineseg.anatomy.phantom_truth import true_examination
from spineseg.config import MorphometryConfig
from spineseg.data.atomic import write_text

FIRST_SEED, TURN_DEGREES, SPACINGS_MM = 20270101, 15.0, (1.0, 1.5, 3.0)
HEIGHTS = [f"height_{place}_mm" for place in ("anterior", "middle", "posterior")]
TARGETS = {"body height": 0.5, "disc height": 0.7, "wedge angle": 2.0, "angle across a disc": 2.0, "slip": 1.0}
MEASURES = {  # shown name: table, columns
    "body height": ("vertebrae", HEIGHTS),
    "body depth": ("vertebrae", ["depth_mm"]),
    "canal": ("vertebrae", ["canal_mm"]),
    "wedge angle": ("vertebrae", ["wedge_degrees"]),
    "disc height": ("discs", HEIGHTS),
    "angle across a disc": ("discs", ["angle_degrees"]),
    "slip": ("discs", ["slip_mm"]),
}
ANGLES = {
    "cervical lordosis": "cervical_lordosis",
    "thoracic kyphosis": "thoracic_kyphosis",
    "lumbar lordosis": "lumbar_lordosis",
    "Cobb angle": "cobb",
}


def random_turn(seed: int) -> np.ndarray:
    """A rotation of up to `TURN_DEGREES` about each axis."""
    return rotation_of(Frame(turn_degrees=tuple(np.random.default_rng(seed).uniform(-TURN_DEGREES, TURN_DEGREES, 3))))


def differences(found, truth, poses) -> pd.DataFrame:
    """Measured minus true, one row per value: `measure`, `place`, `error`; nan where only truth has a value.

    Bodies that have grown together have no endplates between them: their values are measures of their own.
    """
    rows, blocks = [], {VERTEBRAE[p.level] for p in poses if p.size["is_block"]}
    for name, (table, columns) in MEASURES.items():
        key = "vertebra" if table == "vertebrae" else "disc"
        a, b = (getattr(e, table).set_index(key)[columns].astype(float) for e in (found, truth))
        error = (a.reindex(b.index) - b).where(b.notna())
        for place in b.index:
            for column in columns:
                if np.isfinite(b.loc[place, column]):
                    shown = f"{name}, in a block" if blocks & set(str(place).split("-")) else name
                    rows.append((shown, place, error.loc[place, column]))
    rows += [(name, "spine", found.angles[key] - truth.angles[key]) for name, key in ANGLES.items()]
    return pd.DataFrame(rows, columns=["measure", "place", "error"])


def summary(errors: pd.DataFrame) -> list[dict]:
    """Per measure: values, of which without a measurement, bias, median, 90th percentile and largest absolute error."""
    rows = []
    for name, own in errors.groupby("measure", sort=False):
        value = own["error"].dropna()
        size = value.abs()
        row = {"measure": name, "n": len(own), "missing": int(own["error"].isna().sum()), "bias": value.median()}
        row |= {"median": size.median(), "p90": size.quantile(0.9), "largest": size.max(), "target": TARGETS.get(name)}
        rows.append({k: round(float(v), 3) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def perfect(seeds: list[int], spacing_mm: float, config: MorphometryConfig, planted: Pathology | None) -> pd.DataFrame:
    """Errors on turned label maps."""
    tables = []
    for seed in seeds:
        turn = random_turn(seed)
        poses = poses_of(seed, pathology=planted, turn=turn)
        truth = true_examination(poses, margin_mm=MARGIN_MM, config=config)
        labels, affine = whole_spine(seed, spacing_mm=spacing_mm, pathology=planted, turn=turn)
        tables.append(differences(examine(labels, affine, config=config), truth, poses).assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "morphometry.json")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", RuntimeWarning)  # means of empty windows are nan, as they should be
    torch.set_num_threads(1)
    config = MorphometryConfig()
    candidates = range(FIRST_SEED, FIRST_SEED + 10 * options.seeds)
    seeds = [seed for seed in candidates if has_usual_count(seed)][: options.seeds]
    answer = {"turn_degrees": TURN_DEGREES, "first_seed": FIRST_SEED, "seeds": len(seeds)}
    answer["perfect"] = {
        str(mm): summary(perfect(seeds if mm == 1.5 else seeds[: len(seeds) // 4], mm, config, None))
        for mm in SPACINGS_MM
    }
    answer["planted"] = summary(perfect(seeds[: len(seeds) // 2], 1.5, config, Pathology()))
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    for mm, rows in answer["perfect"].items():
        print(mm, pd.DataFrame(rows).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
