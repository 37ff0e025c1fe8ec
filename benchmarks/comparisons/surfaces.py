"""HD95 and NSD of 25 vertebrae."""

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import SPACING_MM, spine
from scipy import ndimage

from spineseg.anatomy.labels import N_CLASSES
from spineseg.config import EvaluationConfig
from spineseg.evaluation.metrics import boxes
from spineseg.evaluation.scores import score_case
from spineseg.evaluation.surfaces import hd95_of, nsd_of, surface_distances

SPACING, TOLERANCE_MM = (SPACING_MM,) * 3, EvaluationConfig().nsd_tolerance_mm
CLOSE = 1e-5  # mm; distances are float32 on both sides


def ours(reference, prediction):
    """Class by class, each in the box that holds both masks."""
    extent, rows = np.stack([boxes(reference), boxes(prediction)]), []
    for value in range(1, N_CLASSES):
        box = tuple(
            slice(*side) for side in zip(extent[:, value, :, 0].min(0), extent[:, value, :, 1].max(0), strict=True)
        )
        distances = surface_distances(reference[box] == value, prediction[box] == value, spacing=SPACING)
        rows.append((hd95_of(distances), nsd_of(distances, tolerance_mm=TOLERANCE_MM)))
    return np.array(rows)


def scored(reference, prediction):
    """All that `spineseg score` says of a case: overlap, centroids, names and false bone too."""
    scores = score_case("", reference, prediction, np.diag([*SPACING, 1]), config=EvaluationConfig())
    return scores[["hd95_mm", "nsd"]].to_numpy()


def loop(reference, prediction):
    """Class by class on the whole grid with scipy."""
    rows = []
    for value in range(1, N_CLASSES):
        a, b = reference == value, prediction == value
        a, b = a ^ ndimage.binary_erosion(a), b ^ ndimage.binary_erosion(b)
        there = ndimage.distance_transform_edt(~b, sampling=SPACING)[a]
        back = ndimage.distance_transform_edt(~a, sampling=SPACING)[b]
        within = (there <= TOLERANCE_MM).sum() + (back <= TOLERANCE_MM).sum()
        rows.append((max(np.percentile(there, 95), np.percentile(back, 95)), within / (there.size + back.size)))
    return np.array(rows)


def races(quick: bool) -> list[Race]:
    """Two label maps of 160-cubed at 1.5 mm."""
    both = tuple(spine(48 if quick else 160, seed) for seed in (0, 1))
    monai, utils = peer("monai.metrics"), peer("monai.networks.utils")
    deepmind = peer("surface_distance")

    def of_monai():
        hot = [utils.one_hot(torch.from_numpy(m)[None, None], N_CLASSES, dtype=torch.bool) for m in both]
        options = {"include_background": False, "spacing": SPACING}
        hd95 = monai.compute_hausdorff_distance(hot[1], hot[0], percentile=95, **options)[0]
        tolerances = [TOLERANCE_MM * (1 + 1e-6)] * (N_CLASSES - 1)
        nsd = monai.compute_surface_dice(hot[1], hot[0], tolerances, **options)[0]
        return np.stack([hd95.numpy(), nsd.numpy()], 1)

    def of_deepmind():
        rows = []
        for value in range(1, N_CLASSES):
            found = deepmind.compute_surface_distances(both[0] == value, both[1] == value, SPACING)
            nsd = deepmind.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)
            rows.append((deepmind.compute_robust_hausdorff(found, 95), nsd))
        return np.array(rows)

    sides = {
        OURS: lambda: ours(*both),
        "spineseg, the whole score": lambda: scored(*both),
        "MONAI": monai and of_monai,
        "surface-distance": deepmind and of_deepmind,
    }
    sides["scipy loop"] = lambda: loop(*both)

    def check(results):
        answer = {}
        for name, found in results.items():
            hd95, nsd = np.abs(found - results[OURS]).max(0)
            same = name != "surface-distance"
            assert not same or max(hd95, nsd) <= CLOSE, f"{name}: HD95 {hd95} mm, NSD {nsd} apart"
            why = "" if same else "; weighs by area"
            answer[name] = (same, f"HD95 {hd95:.0e} mm, NSD {nsd:.0e} apart{why}")
        return answer

    return [Race("HD95 and NSD", sides, check, {"MONAI": 60.0})]
