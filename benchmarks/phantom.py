"""Seconds a phantom takes, per spacing: median and range over cases.

python benchmarks/phantom.py [--cases 10] [--threads 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from spineseg.anatomy.phantom import generate


def measure(spacing_mm: float, cases: int) -> None:
    generate(10**6, spacing_mm=spacing_mm)  # warm up
    seconds, busy, voxels = [], [], []
    for seed in range(cases):
        wall, cpu = time.perf_counter(), time.process_time()
        case = generate(seed, spacing_mm=spacing_mm)
        seconds.append(time.perf_counter() - wall)
        busy.append(time.process_time() - cpu)
        voxels.append(case.ct_hu.size / 1e6)
    print(
        f"{spacing_mm:4.1f} mm  {np.median(seconds):6.2f} s a volume ({min(seconds):.2f} to {max(seconds):.2f}), "
        f"processor {np.median(busy):6.2f} s ({min(busy):.2f} to {max(busy):.2f}), "
        f"{np.median(voxels):5.1f} million voxels ({min(voxels):.1f} to {max(voxels):.1f}), n = {cases}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for spacing_mm in (3.0, 1.5):
        measure(spacing_mm, options.cases)
