"""From a CT to a label map on the CT's own grid."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spineseg import paths
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.geometry import back_to_original, resample_labels
from spineseg.data.store import PreparedCase, prepare_arrays
from spineseg.errors import CaseError
from spineseg.learning import runs
from spineseg.learning.allocator import give_back, keep_large_blocks
from spineseg.learning.assembly import Found, assemble, by_label
from spineseg.learning.boxed import load_boxed
from spineseg.learning.cascade import PHASES, coarse_logits, fine_logits, guidance, upsampled
from spineseg.learning.precision import bf16_pays
from spineseg.learning.second_look import logits_from_labels
from spineseg.learning.training import METHODS, load_network
from spineseg.learning.windows import averaged, label_by_windows, likeliest, wanted


@dataclass(frozen=True)
class Prediction:
    """One predicted scan.

    Attributes:
        found: The vertebrae on the CT's own grid.
        affine: `(4, 4)` of that grid.
    """

    found: Found
    affine: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """`(I, J, K)` uint8 label map, 0 to 25."""
        return self.found.label_map


class Predictor:
    """The networks of one method, ready for scans.

    Args:
        config: What they were trained with.
        networks: By stage, `baseline`, or `coarse` and `fine`.
        precision: By stage, `fp32` or `bf16`.
        device: Where to compute; a GPU when there is one.
    """

    def __init__(self, config: Config, networks: dict[str, nn.Module], precision: dict[str, str], device: str = ""):
        self.config, self.precision = config, precision
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.networks = {name: network.to(self.device).eval() for name, network in networks.items()}
        if self.device.type == "cpu":
            keep_large_blocks()

    @classmethod
    def of_run(cls, config: Config, method: str = "cascade", device: str = "") -> Predictor:
        """The networks of a trained run.

        Args:
            config: Names the run.
            method: `baseline` or `cascade`.
            device: Where to compute; a GPU when there is one.

        Raises:
            CaseError: If the run has no checkpoint, a damaged one, or two that do not belong together.
            ValueError: If the run was trained with other values of what the weights depend on.
        """
        runs.check(config)
        networks, precision, own = {}, {}, {}
        for name in METHODS[method]:
            networks[name], state = load_network(config, name)
            precision[name] = state["precision"]
            if name == "fine" and state["coarse"] != own["coarse"]:
                found, wanted = "trained on another coarse network", "the run's own coarse network"
                file = paths.run_folder(config.run) / "checkpoints" / f"{name}-best.safetensors"
                raise CaseError("checkpoint-pair", file, found, wanted, "train the cascade again; it goes on from here")
            own[name] = state["sha256"]
        return cls(config, networks, precision, device)

    @classmethod
    def boxed(cls, device: str = "") -> Predictor:
        """The networks that come with the project.

        Raises:
            CaseError: If they are missing, damaged, or of another version of the package.
        """
        return cls(*load_boxed(), device)

    def _autocast(self, name: str):
        enabled = self.precision[name] == "bf16" and bf16_pays(self.device)
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    @torch.inference_mode()
    def find(self, scan: PreparedCase) -> Found:
        """The vertebrae of a prepared scan, on its fine grid."""
        image = torch.from_numpy(scan.image).to(self.device)
        return self._cascade(scan, image) if "fine" in self.networks else self._baseline(image)

    def _baseline(self, image: Tensor) -> Found:
        network, shape = self.networks["baseline"], tuple(image.shape)
        window = self._window(network, shape)
        low, high, starts = wanted(None, shape, window, self.config.inference.overlap_share)

        def logits_of(start):
            with self._autocast("baseline"):
                return network(self._patch(image, start, window))[0].float()

        labels, confidence = label_by_windows(logits_of, low, high, starts, window, shape, self.device)
        return by_label(labels, confidence, self._smallest())

    def _cascade(self, scan: PreparedCase, image: Tensor) -> Found:
        network, shape = self.networks["fine"], tuple(image.shape)
        with self._autocast("coarse"):
            small = torch.from_numpy(scan.coarse_image).to(self.device)[None]
            logits = coarse_logits(self.networks["coarse"], small, self.config.coarse.patch)
        window, to_coarse = self._window(network, shape), np.linalg.inv(scan.coarse_affine) @ scan.affine
        inside = wanted(self._region(logits, scan), shape, window, self.config.inference.overlap_share)
        found = None
        for _ in range(self.config.inference.looks):
            seen = logits_from_labels(found.label_map, logits, to_coarse) if found else logits
            phase = self._phase(image, guidance(seen, self.config), to_coarse, inside, window)
            found = assemble(phase, logits.cpu(), scan.affine, scan.coarse_affine, self.config)
        return found

    def _phase(self, image: Tensor, guide: Tensor, to_coarse: np.ndarray, inside, window) -> np.ndarray:
        """Phase of each voxel, `(I, J, K)` uint8, under some guidance; 0 outside the windows."""
        network, (low, high, starts) = self.networks["fine"], inside

        def logits_of(start):
            shift = np.eye(4)
            shift[:3, 3] = start
            there = upsampled(guide, to_coarse @ shift, window)[None]
            with self._autocast("fine"):
                return fine_logits(network, self._patch(image, start, window), there)[0]

        phase = np.zeros(tuple(image.shape), np.uint8)
        for corner, means, hits in averaged(logits_of, 1 + PHASES, low, high, starts, window, self.device):
            target = tuple(slice(a, a + n) for a, n in zip(corner, hits.shape, strict=True))
            phase[target] = likeliest(means)[1].masked_fill_(hits == 0, 0).cpu().numpy()
        return phase

    def _patch(self, image: Tensor, start, window) -> Tensor:
        patch = image[tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))]
        short = [v for n, w in zip(reversed(patch.shape), reversed(window), strict=True) for v in (0, w - n)]
        return nn.functional.pad(patch, short)[None, None]

    def _window(self, network, shape) -> tuple[int, int, int]:
        """The configured window, smaller along axes where the scan is: less air to compute."""
        multiple = network.multiple
        return tuple(
            min(w, -(-n // multiple) * multiple) for w, n in zip(self.config.inference.patch, shape, strict=True)
        )

    def _region(self, logits: Tensor, scan: PreparedCase) -> np.ndarray:
        """Where the coarse stage sees a spine, not specks of one, widened by the margin, on the fine grid."""
        import cc3d  # here, not above: training needs this module on machines that have nothing but torch

        parts = cc3d.connected_components((logits[1:].logsumexp(0) > logits[0]).cpu().numpy())
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        large = sizes >= max(1.0, self.config.inference.part_share * sizes.max())
        inside = torch.from_numpy(large[parts]).float()[None, None]
        reach = max(1, round(self.config.inference.margin_mm / self.config.preparation.coarse_spacing_mm))
        inside = nn.functional.max_pool3d(inside, 2 * reach + 1, stride=1, padding=reach)[0, 0].to(torch.uint8)
        return resample_labels(inside, scan.coarse_affine, scan.affine, scan.image.shape).numpy() > 0

    def _smallest(self) -> int:
        return round(self.config.inference.smallest_ml * 1000 / self.config.preparation.spacing_mm**3)

    def __call__(self, volume: nifti.Volume) -> Prediction:
        """Predict a CT that was read with `nifti.read_ct`."""
        scan = prepare_arrays(volume.array, None, volume.affine, self.config.preparation)
        found = self.find(scan)
        give_back()
        pieces = back_to_original(torch.from_numpy(found.pieces), scan.affine, volume.affine, volume.array.shape)
        return Prediction(dataclasses.replace(found, pieces=np.asarray(pieces)), volume.affine)
