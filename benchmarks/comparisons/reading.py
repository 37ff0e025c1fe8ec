"""Reading a compressed CT."""

import functools
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from harness import OURS, Race, peer
from scene import scan

from spineseg.data import nifti


@functools.cache
def files(side: int) -> tuple[tempfile.TemporaryDirectory, Path, np.ndarray]:
    """A folder that lives as long as the process, the scan that nibabel wrote into it, and its voxels."""
    folder = tempfile.TemporaryDirectory()
    array, _, affine = scan(side)
    path = Path(folder.name) / "scan.nii.gz"
    nib.save(nib.Nifti1Image(array, affine), path)
    return folder, path, array


def races(quick: bool) -> list[Race]:
    """250-cubed int16; ours alone reads to the end of the stream and so checks its CRC."""
    _, path, array = files(32 if quick else 250)
    itk, monai = peer("SimpleITK"), peer("monai.transforms")
    nnunet = peer("nnunetv2.imageio.simpleitk_reader_writer")
    load = monai and monai.LoadImage(reader="NibabelReader", image_only=True)
    sides = {
        OURS: lambda: nifti.read(path).array,
        "nibabel get_fdata": lambda: nib.load(path).get_fdata(),
        "nibabel dataobj": lambda: np.asanyarray(nib.load(path).dataobj),
        "SimpleITK": itk and (lambda: itk.GetArrayFromImage(itk.ReadImage(str(path))).T),
        "MONAI LoadImage": monai and (lambda: load(path).numpy()),
        "nnU-Net reader": nnunet and (lambda: nnunet.SimpleITKIO().read_images((str(path),))[0][0].T),
    }

    def check(results):
        for name, found in results.items():
            assert np.array_equal(found, array), name
        return {name: (True, "every voxel equal") for name in results}

    memory = {"nibabel get_fdata": None, "nibabel dataobj": None, "SimpleITK": None}
    return [Race("read a scan", sides, check, {"nibabel get_fdata": 4.0, "nibabel dataobj": 1.7}, memory)]
