"""From a CT to a label map on the CT's own grid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from spineseg import paths
from spineseg.anatomy.labels import IDS, N_CLASSES, VERTEBRAE
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.data.digest import code_version, hash_files
from spineseg.data.geometry import back_to_original, resample_labels, spacing_of
from spineseg.data.store import PreparedCase, prepare_arrays
from spineseg.errors import CaseError
from spineseg.evaluation.metrics import boxes, centroids_mm, keep_largest
from spineseg.learning import runs
from spineseg.learning.cascade import fine_logits, guidance, upsampled
from spineseg.learning.training import METHODS, load_network
from spineseg.learning.windows import label_by_windows, wanted

CENTRE_COLUMNS = ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm")
TABLE_COLUMNS = ["vertebra", "volume_ml", *CENTRE_COLUMNS, "confidence", "at_border", "review", "reason"]


@dataclass(frozen=True)
class Prediction:
    """One predicted scan.

    Attributes:
        labels: `(I, J, K)` uint8 on the CT's own grid.
        affine: `(4, 4)` of that grid.
        confidence: `(26,)` mean probability of each vertebra over the voxels where it won on the working grid, before
            small pieces were dropped; nan where it won nowhere.
    """

    labels: np.ndarray
    affine: np.ndarray
    confidence: np.ndarray


class Predictor:
    """The networks of one method of a trained run, ready for scans.

    Args:
        config: Names the run.
        method: `baseline` or `cascade`.
        device: Where to compute; a GPU when there is one.

    Raises:
        CaseError: If the run has no checkpoint, a damaged one, or two that do not belong together.
        ValueError: If the run was trained with other values of what the weights depend on.
    """

    def __init__(self, config: Config, method: str = "cascade", device: str = ""):
        runs.check(config)
        self.config, self.method = config, method
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.networks: dict[str, nn.Module] = {}
        self.precision, own = {}, {}
        for name in METHODS[method]:
            network, state = load_network(config, name)
            self.networks[name], self.precision[name] = network.to(self.device), state["precision"]
            if name == "fine" and state["coarse"] != own["coarse"]:
                found, wanted = "trained on another coarse network", "the run's own coarse network"
                file = paths.run_folder(config.run) / "checkpoints" / f"{name}-best.safetensors"
                raise CaseError("checkpoint-pair", file, found, wanted, "train the cascade again; it goes on from here")
            own[name] = state["sha256"]

    def _autocast(self, name: str):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision[name] == "bf16")

    @torch.inference_mode()
    def working_labels(self, scan: PreparedCase) -> tuple[np.ndarray, np.ndarray]:
        """Labels `(I, J, K)` uint8 on the fine grid, and the mean probability per class."""
        image = torch.from_numpy(scan.image).to(self.device)
        settings, name = self.config.inference, METHODS[self.method][-1]
        guide, region = None, None
        if self.method == "cascade":
            with self._autocast("coarse"):
                small = torch.from_numpy(scan.coarse_image).to(self.device)[None]
                guide = guidance(self.networks["coarse"], small, self.config)
            region = self._region(guide, scan)
        shape = tuple(image.shape)
        window = self._window(name, shape)
        low, high, chosen = wanted(region, shape, window, settings.overlap_share)
        to_coarse = np.linalg.inv(scan.coarse_affine) @ scan.affine

        def logits_of(start):
            box = tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))
            patch = image[box]
            short = [v for n, w in zip(reversed(patch.shape), reversed(window), strict=True) for v in (0, w - n)]
            patch = nn.functional.pad(patch, short)[None, None]
            with self._autocast(name):
                if guide is None:
                    return self.networks[name](patch)[0].float()
                shift = np.eye(4)
                shift[:3, 3] = start
                there = upsampled(guide, to_coarse @ shift, window)[None]
                return fine_logits(self.networks[name], patch, there, self.config.guidance.period)[0]

        labels, confidence = label_by_windows(logits_of, low, high, chosen, window, shape, self.device)
        return self._cleaned(labels), confidence

    def _window(self, name: str, shape) -> tuple[int, int, int]:
        """The configured window, smaller along axes where the scan is: less air to compute."""
        multiple = self.networks[name].multiple
        return tuple(
            min(w, -(-n // multiple) * multiple) for w, n in zip(self.config.inference.patch, shape, strict=True)
        )

    def _region(self, guide: torch.Tensor, scan: PreparedCase) -> np.ndarray:
        """Where the coarse stage sees vertebrae, widened by the margin, on the fine grid."""
        inside = (guide[1:N_CLASSES].logsumexp(0) > guide[0]).float()[None, None]
        reach = max(1, round(self.config.inference.margin_mm / self.config.preparation.coarse_spacing_mm))
        inside = nn.functional.max_pool3d(inside, 2 * reach + 1, stride=1, padding=reach)[0, 0].to(torch.uint8).cpu()
        return resample_labels(inside, scan.coarse_affine, scan.affine, scan.image.shape).numpy() > 0

    def _cleaned(self, labels: np.ndarray) -> np.ndarray:
        """The largest piece of each vertebra, unless it is too small to be one."""
        labels = keep_largest(labels)
        smallest = self.config.inference.smallest_ml * 1000 / self.config.preparation.spacing_mm**3
        counts = np.bincount(labels.ravel(), minlength=N_CLASSES)
        return np.where(counts < smallest, 0, np.arange(N_CLASSES)).astype(np.uint8)[labels]

    def __call__(self, volume: nifti.Volume) -> Prediction:
        """Predict a CT that was read with `nifti.read_ct`."""
        scan = prepare_arrays(volume.array, None, volume.affine, self.config.preparation)
        working, confidence = self.working_labels(scan)
        labels = back_to_original(torch.from_numpy(working), scan.affine, volume.affine, volume.array.shape)
        return Prediction(np.asarray(labels), volume.affine, confidence)


def vertebra_table(prediction: Prediction, sure: float) -> pd.DataFrame:
    """What was found, one row per vertebra from the head down.

    Args:
        prediction: One scan's.
        sure: Mean probability below which a vertebra is to be reviewed.

    Returns:
        `vertebra, volume_ml, centroid_r_mm, centroid_a_mm, centroid_s_mm, confidence, at_border, review, reason`;
        `review` is true where a person should look, and `reason` says why.
    """
    labels = prediction.labels
    ml = np.prod(spacing_of(prediction.affine)) / 1000
    counts, centres, extent = (
        np.bincount(labels.ravel(), minlength=N_CLASSES),
        centroids_mm(labels, prediction.affine),
        boxes(labels),
    )
    found = [v for v in VERTEBRAE if counts[IDS[v]]]
    rows = []
    for v in found:
        i = IDS[v]
        border = bool((extent[i, :, 0] == 0).any() or (extent[i, :, 1] == labels.shape).any())
        index = VERTEBRAE.index(v)
        # the next one down is missing although something further down was found
        gap = v != found[-1] and VERTEBRAE[index + 1] not in found
        reasons = [
            text
            for yes, text in (
                (border, "cut by the edge of the scan"),
                (gap, f"{VERTEBRAE[min(index + 1, len(VERTEBRAE) - 1)]} is missing below it"),
                (not prediction.confidence[i] >= sure, "low confidence"),
            )
            if yes
        ]
        centre = dict(zip(CENTRE_COLUMNS, centres[i].round(1), strict=True))
        rows.append(
            {
                "vertebra": v,
                "volume_ml": round(counts[i] * ml, 2),
                **centre,
                "confidence": round(float(prediction.confidence[i]), 3),
                "at_border": border,
                "review": bool(reasons),
                "reason": "; ".join(reasons),
            }
        )
    return pd.DataFrame(rows, columns=TABLE_COLUMNS)


def predict_files(
    predictor: Predictor, files: dict[str, Path], folder: Path, *, label: str = "predict"
) -> pd.DataFrame:
    """Predict CTs whose label map is not in `folder` yet.

    Args:
        predictor: The networks.
        files: CT by case name.
        folder: Gets `<case>.nii.gz` each.
        label: Of the progress bar.

    Returns:
        `case, prediction` with the path of each label map.

    Raises:
        CaseError: If a CT cannot be used.
    """
    rows = []
    for case, ct in tqdm(files.items(), desc=label, unit="scan", mininterval=2.0):
        target = folder / f"{case}.nii.gz"
        if not target.is_file() or target.stat().st_mtime < Path(ct).stat().st_mtime:
            prediction = predictor(nifti.read_ct(ct))
            table = vertebra_table(prediction, predictor.config.inference.sure)
            write_text(folder / f"{case}_vertebrae.csv", table.to_csv(index=False))
            nifti.write(target, prediction.labels, prediction.affine)
        rows.append({"case": case, "prediction": target})
    return pd.DataFrame(rows, columns=["case", "prediction"])


def predict_cohort(config: Config, method: str, cases: pd.DataFrame, which: str = "test") -> pd.DataFrame:
    """Predict the cases of one split with a trained method of the run, or only those still missing.

    Predictions are kept under a hash of what made them, so more training does not meet old label maps.

    Args:
        config: Names the run.
        method: `baseline` or `cascade`.
        cases: `case, ct` of the cohort.
        which: Split.

    Returns:
        `case, prediction` with the path of each label map.
    """
    folder = paths.run_folder(config.run)
    splits = pd.read_csv(folder / "splits.csv", dtype=str)
    chosen = splits.case[splits.split == which]
    files = cases.assign(case=cases.case.astype(str)).set_index("case").ct[chosen].to_dict()
    predictor = Predictor(config, method)
    return predict_files(predictor, files, predictions_folder(config, method), label=method)


def predictions_folder(config: Config, method: str) -> Path:
    """Folder of the label maps of a method as it is trained and set now: `predictions/<method>-<key>`.

    The key is a hash of the weights, of the inference and preparation settings and of the sources that use them.
    """
    states = [load_network(config, name)[1]["sha256"] for name in METHODS[method]]
    sources = hash_files(sorted(Path(__file__).parent.glob("*.py")))
    parts = [*states, config.hash("inference", "preparation"), code_version(), sources]
    key = hashlib.sha256("/".join(parts).encode()).hexdigest()[:10]
    return paths.run_folder(config.run) / "predictions" / f"{method}-{key}"
