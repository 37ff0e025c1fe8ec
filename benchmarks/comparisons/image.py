"""Bringing a CT onto a coarser grid."""

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import SPACING_MM, scan

from spineseg.data import geometry

COARSER = 0.8  # voxels along an axis after resampling, per voxel before
CLOSE_HU = 0.05


def coarser_grid(side: int, affine):
    """Affine and shape of a coarser grid over exactly the same field of view, so that all libraries mean the same."""
    after = round(side * COARSER)
    return geometry.grid_at(affine, (side,) * 3, (SPACING_MM * side / after,) * 3)


def races(quick: bool) -> list[Race]:
    """250-cubed to 200-cubed, linear without averaging; nnU-Net's default is a spline of order 3."""
    side = 40 if quick else 250
    array, _, affine = scan(side)
    grid, shape = coarser_grid(side, affine)
    image = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    itk, monai, data, torchio = (peer(m) for m in ("SimpleITK", "monai.transforms", "monai.data", "torchio"))
    nnunet = peer("nnunetv2.preprocessing.resampling.default_resampling")
    source = itk and itk.GetImageFromArray(np.ascontiguousarray(image.numpy().T))
    tensor = data and data.MetaTensor(image[None], affine=affine)
    # Spacing is SpatialResample onto a grid of its own choice; the given grid makes the results comparable
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}

    def of_itk():
        source.SetSpacing([SPACING_MM] * 3)
        origin, spacing = [float(v) for v in grid[:3, 3]], geometry.spacing_of(grid)
        plan = (list(shape), itk.Transform(), itk.sitkLinear, origin, spacing, [1, 0, 0, 0, 1, 0, 0, 0, 1], 0.0)
        return itk.GetArrayFromImage(itk.Resample(source, *plan)).T

    def of_monai(dtype):
        resample = monai.SpatialResample(**options, dtype=dtype)
        return resample(tensor, torch.from_numpy(grid), shape)[0].numpy()

    def of_torchio():
        target = torchio.ScalarImage(tensor=torch.zeros(1, *shape), affine=grid)
        return torchio.Resample(target)(torchio.ScalarImage(tensor=image[None], affine=affine)).numpy()[0]

    sides = {
        OURS: lambda: geometry.resample_image(image, affine, grid, shape, antialias=False).numpy(),
        "MONAI Spacing": monai and (lambda: of_monai(np.float64)),
        "MONAI Spacing, float32": monai and (lambda: of_monai(np.float32)),
        "SimpleITK": itk and of_itk,
        "TorchIO": torchio and of_torchio,
        "nnU-Net, order 3": nnunet
        and (lambda: nnunet.resample_data_or_seg(image.numpy()[None], shape, is_seg=False, order=3)[0]),
    }

    def check(results):
        answer = {}
        for name, found in results.items():
            apart, same = float(np.abs(found - results[OURS]).max()), name != "nnU-Net, order 3"
            assert not same or apart <= CLOSE_HU, f"{name}: {apart} HU"
            answer[name] = (same, f"{apart:.4f} HU apart at most")
        return answer

    return [Race("resample the image", sides, check, {"MONAI Spacing": 10.0}, rounds=0 if quick else 2)]
