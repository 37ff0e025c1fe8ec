"""How exact morphometry is: phantoms of known geometry in random poses, at several resolutions, and turned.

Run `python benchmarks/morphometry.py [--seeds 50] [--out FILE]`. A mask is the phantom's own label map, turned by up to
15 degrees about each axis; truth is `anatomy.phantom_truth`. How much a turn of 10 to 20 degrees changes is measured on
the patient drawn anew and on a label map whose nearest voxels were taken over. What predicted masks add is in
`pathology.py`.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pathology_scoliosis import curves
from scipy.spatial.transform import Rotation

from spineseg import paths
from spineseg.anatomy.clinical import examine
from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.phantom.frame import Frame, rotation_of
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom_masks import MARGIN_MM, has_usual_count, poses_of, whole_spine
from spineseg.anatomy.phantom_truth import drawn_wedge, true_cobb, true_examination
from spineseg.config import MorphometryConfig
from spineseg.data.affine import spacing_of
from spineseg.data.atomic import write_text
from spineseg.data.geometry import nearest_labels
from spineseg.report.health_results import AS_DRAWN

FIRST_SEED, TURN_DEGREES, SPACINGS_MM = 20270101, 15.0, (1.0, 1.5, 3.0)
FURTHER_DEGREES, UNCHANGED = (10.0, 20.0), {"mm": 0.3, "degrees": 1.0}
BENT = Pathology(0.0, 0.0, 0.5, (0.0, 1.0))
HEIGHTS = [f"height_{place}_mm" for place in ("anterior", "middle", "posterior")]
TARGETS = {
    "body height": 0.5,
    "disc height": 0.7,
    "wedge angle": 2.0,
    AS_DRAWN: 2.0,
    "angle across a disc": 2.0,
    "slip": 1.0,
}
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

ORDER = (
    "body height", "body depth", "canal", "wedge angle", AS_DRAWN, "disc height", "angle across a disc", "slip",
    *ANGLES,
)  # fmt: skip
DEGREES = ("wedge angle", "angle across a disc", *ANGLES)


def further_turn(seed: int) -> np.ndarray:
    """A rotation of 10 to 20 degrees about an axis of any direction."""
    rng = np.random.default_rng([seed, 1])
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(*FURTHER_DEGREES))
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()


def on_turned_grid(labels: np.ndarray, affine: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same patient on a grid turned about the middle of the array; each voxel has the nearest one's label."""
    spacing, shape = spacing_of(affine), np.array(labels.shape)
    middle = affine[:3, :3] @ ((shape - 1) / 2) + affine[:3, 3]
    turned = np.eye(4)
    turned[:3, :3] = turn @ affine[:3, :3]
    reach = np.abs(turn.T) @ (shape * spacing) / 2
    wide = (2 * np.ceil(reach / spacing) + 1).astype(int)
    turned[:3, 3] = middle - turned[:3, :3] @ ((wide - 1) / 2)
    return nearest_labels(torch.from_numpy(labels), affine, turned, tuple(wide.tolist())).numpy(), turned


def random_turn(seed: int) -> np.ndarray:
    """A rotation of up to `TURN_DEGREES` about each axis."""
    return rotation_of(Frame(turn_degrees=tuple(np.random.default_rng(seed).uniform(-TURN_DEGREES, TURN_DEGREES, 3))))


def some(seeds: list[int], share: int) -> list[int]:
    """The first of every `share` seeds, one at least."""
    return seeds[: max(1, len(seeds) // share)]


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


def as_drawn(found, poses) -> pd.DataFrame:
    """Measured wedge angles minus those that bodies were drawn with, outside blocks; rows as in `differences`."""
    wedge = found.vertebrae.set_index("vertebra")["wedge_degrees"].dropna()
    names = [(VERTEBRAE[p.level], p) for p in poses if not p.size["is_block"]]
    rows = [(AS_DRAWN, name, wedge[name] - drawn_wedge(p)) for name, p in names if name in wedge]
    return pd.DataFrame(rows, columns=["measure", "place", "error"])


def summary(errors: pd.DataFrame) -> list[dict]:
    """Per measure: values, of which without a measurement, bias, median, 90th percentile and largest absolute error."""
    rows = []
    for name, own in sorted(errors.groupby("measure"), key=lambda group: ORDER.index(group[0].split(",")[0])):
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
        found = examine(labels, affine, config=config)
        tables += [t.assign(seed=seed) for t in (differences(found, truth, poses), as_drawn(found, poses))]
    return pd.concat(tables, ignore_index=True)


def rotated(seeds: list[int], config: MorphometryConfig, planted: Pathology | None) -> dict[str, pd.DataFrame]:
    """Changes of measures at 1.5 mm when a patient is drawn turned further, and when the label map is resampled."""
    tables: dict[str, list] = {"drawn": [], "nearest": []}
    for seed in seeds:
        first, further = random_turn(seed), further_turn(seed)
        poses = poses_of(seed, pathology=planted, turn=first)
        labels, affine = whole_spine(seed, pathology=planted, turn=first)
        before = examine(labels, affine, config=config)
        maps = {"drawn": whole_spine(seed, pathology=planted, turn=further @ first)}
        maps["nearest"] = on_turned_grid(labels, affine, further)
        for name, turned in maps.items():
            tables[name].append(differences(examine(*turned, config=config), before, poses).assign(seed=seed))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def changes(errors: pd.DataFrame) -> list[dict]:
    """Per measure: values, lost ones, median and 95th percentile of the absolute change, share within the aim."""
    rows = []
    for name, own in errors.groupby("measure", sort=False):
        size = own["error"].dropna().abs()
        limit = UNCHANGED["degrees" if name.split(",")[0] in DEGREES else "mm"]
        row = {"measure": name, "n": len(own), "missing": int(own["error"].isna().sum()), "limit": limit}
        row |= {"median": size.median(), "p95": size.quantile(0.95), "within": float((size <= limit).mean())}
        rows.append({k: round(float(v), 3) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def curved(seeds: list[int], config: MorphometryConfig) -> dict:
    """Scoliosis, half of it planted at any severity, called in whole spines at 1.5 mm by the limit of the rules."""
    rows = []
    for seed in seeds:
        turn = random_turn(seed)
        spine = draw_spine(np.random.default_rng(np.random.SeedSequence(seed).spawn(5)[0]), BENT, seed)
        poses = poses_of(seed, pathology=BENT, turn=turn)
        exam = examine(*whole_spine(seed, pathology=BENT, turn=turn), config=config)
        seen = [body.name for body in exam.bodies.values() if body.is_whole]
        severity = {row["kind"]: row["severity"] for row in spine.planted.rows}.get("scoliosis", np.nan)
        row = {"seed": seed, "cobb": exam.angles["cobb"], "true_cobb": true_cobb(poses, seen)}
        rows.append(row | {"true_scoliosis": severity})
    return curves(pd.DataFrame(rows), config.scoliosis_degrees)


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
        str(mm): summary(perfect(seeds if mm == 1.5 else some(seeds, 4), mm, config, None)) for mm in SPACINGS_MM
    }
    turned = [*rotated(some(seeds, 2), config, None).items()]
    answer["rotated"] = {name: changes(errors) for name, errors in turned}
    answer["rotated_by_degrees"], answer["rotated_seeds"] = list(FURTHER_DEGREES), len(some(seeds, 2))
    more = [seed for seed in range(FIRST_SEED, FIRST_SEED + 40 * options.seeds) if has_usual_count(seed)]
    answer["scoliosis"] = curved(more[: 2 * options.seeds], config)
    answer["planted"] = summary(perfect(some(seeds, 2), 1.5, config, Pathology()))
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    print(answer["scoliosis"])
    for name, rows in answer["rotated"].items():
        print(name, pd.DataFrame(rows).to_string())
    for mm, rows in answer["perfect"].items():
        print(mm, pd.DataFrame(rows).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
