"""Writing a compressed CT; ours waits for the disk and leaves a hash beside the file."""

import functools
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from harness import OURS, Race, peer
from scene import scan

from spineseg.data import nifti


@functools.cache
def folder() -> tempfile.TemporaryDirectory:
    """A folder that lives as long as the process."""
    return tempfile.TemporaryDirectory()


def races(quick: bool) -> list[Race]:
    """250-cubed int16."""
    array, _, affine = scan(32 if quick else 250)
    itk = peer("SimpleITK")
    image, swapped = nib.Nifti1Image(array, affine), itk and itk.GetImageFromArray(np.ascontiguousarray(array.T))
    names = {
        name: Path(folder().name) / f"{number}.nii.gz" for number, name in enumerate((OURS, "nibabel", "SimpleITK"))
    }
    sides = {
        OURS: lambda: nifti.write(names[OURS], array, affine),
        "nibabel": lambda: nib.save(image, names["nibabel"]),
        "SimpleITK": itk and (lambda: itk.WriteImage(swapped, str(names["SimpleITK"]), useCompression=True)),
    }

    def check(results):
        for name in results:
            assert np.array_equal(np.asanyarray(nib.load(names[name]).dataobj), array), name
        return {name: (True, "read back equal") for name in results}

    for side in sides.values():
        if side:
            side()
    sizes = {name: path.stat().st_size for name, path in names.items() if path.is_file()}
    return [Race("write a scan", sides, check, sizes=sizes)]
