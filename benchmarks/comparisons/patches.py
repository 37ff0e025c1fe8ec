"""Reading patches of image and labels from a prepared case."""

import contextlib
import functools
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import SPACING_MM, scan

from spineseg.config import Config
from spineseg.data import cohort, nifti
from spineseg.data.store import Store

COUNT = 20


@functools.cache
def folder() -> tempfile.TemporaryDirectory:
    """A folder that lives as long as the process."""
    return tempfile.TemporaryDirectory()


def prepared(side: int) -> tuple[Store, np.ndarray, np.ndarray, Config]:
    """A store that holds the scan under the name `a`, the scan and its labels."""
    array, labels, affine = scan(side)
    home = Path(folder().name) / str(side)
    nifti.write(home / "data" / "raw" / "bench" / "a_ct.nii", array, affine)
    nifti.write(home / "data" / "raw" / "bench" / "a_seg.nii", labels, affine)
    changes = {"cohort.layout": "pairs", "cohort.folder": "bench", "cohort.pseudonyms": False}
    changes["preparation.spacing_mm"] = SPACING_MM
    config = Config.load("smoke", "bench", **changes)
    with mock.patch.dict(os.environ, SPINESEG_HOME=str(home)):
        store = Store(config, cohort.cases(config))
        store.shape("a")  # prepares it
    return store, array, labels, config


def races(quick: bool) -> list[Race]:
    """Twenty patches of 96-cubed from 250-cubed; nnU-Net keeps float32, ours 255 steps over the window."""
    side, patch = (40, (16,) * 3) if quick else (250, (96,) * 3)
    store, array, labels, config = prepared(side)
    rng = np.random.default_rng(0)
    starts = [tuple(int(rng.integers(0, side - n + 1)) for n in patch) for _ in range(COUNT)]
    nnunet = peer("nnunetv2.training.dataloading.nnunet_dataset")
    sizes = {OURS: sum((store.path("a") / f"{name}.b2nd").stat().st_size for name in ("image", "labels"))}

    def ours(start):
        return store.read_patch("a", start, patch)

    def theirs(start):
        box = (slice(None), *(slice(s, s + n) for s, n in zip(start, patch, strict=True)))
        data, seg, *_ = dataset.load_case("a")
        return data[box], seg[box]

    if nnunet:
        base, low, high = Path(folder().name) / f"nnunet-{side}", *window(config)
        base.mkdir(exist_ok=True)
        exact = (
            torch.from_numpy(np.ascontiguousarray(array, np.float32)).sub_(low).div_(high - low).clamp_(0, 1).numpy()
        )
        blocks, chunks = nnunet.comp_blosc2_params((1, *exact.shape), patch, exact.itemsize)
        case = (exact[None], labels[None].astype(np.int16), {})
        with contextlib.redirect_stdout(None):
            nnunet.nnUNetDatasetBlosc2.save_case(*case, str(base / "a"), chunks=chunks, blocks=blocks)
        dataset = nnunet.nnUNetDatasetBlosc2(str(base), ["a"])
        sizes["nnU-Net dataset class"] = sum(p.stat().st_size for p in base.glob("*.b2nd"))

    def each(read):
        """As in training, no patch is kept."""
        for start in starts:
            read(start)

    def check(results):
        answer = {OURS: (True, "")}
        if nnunet:
            for start in starts:
                (image, named), (other, seg) = ours(start), theirs(start)
                assert np.array_equal(image, np.rint(other[0] * 255) / np.float32(255)) and np.array_equal(
                    named, seg[0]
                )
            answer["nnU-Net dataset class"] = (True, "equal after the cast")
        return answer

    sides = {OURS: lambda: each(ours), "nnU-Net dataset class": nnunet and (lambda: each(theirs))}
    targets = {"nnU-Net dataset class": 2.0, "nnU-Net dataset class, size": 1.5}
    return [Race(f"read {COUNT} patches", sides, check, targets, sizes=sizes)]


def window(config: Config) -> tuple[float, float]:
    """HU that map to 0 and to 1."""
    return config.preparation.window_low_hu, config.preparation.window_high_hu
