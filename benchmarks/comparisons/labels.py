"""Bringing a label map onto a coarser grid: each class interpolated linearly, the largest share wins."""

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import scan

from comparisons.image import coarser_grid
from spineseg.data import geometry

TIE = 1e-5  # shares of two classes closer than this are a matter of rounding


def one_hot(labels, shape):
    """One class after the other in full; also the winner's share and its lead."""
    best, second = torch.zeros(shape), torch.zeros(shape)
    result = torch.zeros(shape, dtype=torch.uint8)
    for value in labels.unique().tolist():  # 0 first
        share = torch.nn.functional.interpolate((labels == value)[None, None].float(), shape, mode="trilinear")[0, 0]
        better = share > best
        second = torch.where(better, best, torch.maximum(second, share))
        best, result = torch.where(better, share, best), torch.where(better, value, result)
    return result, best, best - second


def races(quick: bool) -> list[Race]:
    """A phantom's labels, 250-cubed to 200-cubed."""
    side = 40 if quick else 250
    _, array, affine = scan(side)
    grid, shape = coarser_grid(side, affine)
    labels = torch.from_numpy(np.ascontiguousarray(array))
    nnunet = peer("nnunetv2.preprocessing.resampling.default_resampling")
    sides = {
        OURS: lambda: geometry.resample_labels(labels, affine, grid, shape).numpy(),
        "nnU-Net, order 1": nnunet
        and (lambda: np.asarray(nnunet.resample_data_or_seg(array[None], shape, is_seg=True, order=1)[0])),
        "one-hot, torch interpolate": lambda: one_hot(labels, shape)[0].numpy(),
    }

    def check(results):
        _, won, lead = (t.numpy() for t in one_hot(labels, shape))
        # nnU-Net leaves background where no class has half a voxel, so it can only agree where one has
        clear = {name: lead > TIE if "one-hot" in name else won > 0.5 + TIE for name in results}
        answer = {}
        for name, found in results.items():
            different = found != results[OURS]
            wrong = int((different & clear[name]).sum())
            assert not wrong, f"{name}: {wrong} voxels differ"
            where = "beside ties" if "one-hot" in name else "where half a voxel decides"
            answer[name] = (True, f"0 differ {where}, {int(different.sum())} elsewhere")
        return answer

    return [Race("resample the labels", sides, check, {"nnU-Net, order 1": 30.0}, rounds=0 if quick else 2)]
