"""Time and peak memory of `spineseg predict` on one large scan, as a user runs it: a process of its own.

Run `python benchmarks/prediction.py [--shape 512 512 400] [--run NAME] [--out results.json]`. The scan is a phantom
from the neck to the sacrum, brought to the shape asked for; without `--run` the weights that come with the project are
used.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from spineseg.anatomy.phantom import generate
from spineseg.data import nifti
from spineseg.data.geometry import resample_image

SEED = 20261126


def scan(shape) -> tuple[np.ndarray, np.ndarray]:
    """A phantom's CT on a grid of that shape over its whole field of view, and the affine."""
    options = {"anisotropic": False, "needs": ["C7", "S1"]}
    wide = (s for s in itertools.count(SEED) if generate(s, spacing_mm=8.0, **options).truth["kind"] == "trunk")
    phantom = generate(next(wide), spacing_mm=3.0, **options)  # the whole body, not a crop around the spine
    step = np.diag([*(np.array(phantom.ct_hu.shape) / shape), 1.0])
    target = phantom.affine @ step
    image = torch.from_numpy(phantom.ct_hu.astype(np.float32))
    return resample_image(image, phantom.affine, target, shape).round().to(torch.int16).numpy(), target


def main(arguments=None) -> int:
    """Measure once and print, or write with `--out`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 400))
    parser.add_argument("--run", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        array, affine = scan(options.shape)
        nifti.write(Path(folder) / "scan.nii.gz", array, affine)
        command = [sys.executable, "-m", "spineseg.cli", "predict", f"{folder}/scan.nii.gz", "--out", f"{folder}/out"]
        start = time.perf_counter()
        done = subprocess.run([*command, *(["--run", options.run] if options.run else [])], check=True, text=True,
                              capture_output=True)  # fmt: skip
        seconds = time.perf_counter() - start
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    answer = {
        "shape": list(options.shape),
        "spacing_mm": np.linalg.norm(affine[:3, :3], axis=0).round(2).tolist(),
        "seconds": round(seconds, 1),
        "peak_gb": round(peak_kib / 2**20, 2),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "said": done.stdout.splitlines()[0].split(": ")[1],
    }
    print(json.dumps(answer, indent=1))
    if options.out:
        options.out.write_text(json.dumps(answer, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
