"""Reading, writing, resampling and patches beside nibabel, MONAI, SimpleITK and nnU-Net, one core.

Run `OMP_NUM_THREADS=1 python benchmarks/reading.py [--side 250] [--rounds 5] [--real scan.nii.gz]`; nnU-Net's labels
take a minute a round. All sides of a ratio take turns in one process; results are compared before anything is timed. A
peer that is not installed is named and left out.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from spineseg.anatomy.phantom import generate
from spineseg.config import Config
from spineseg.data import checksum, cohort, geometry, nifti
from spineseg.data.store import Store

SPACING_MM, COARSER = 1.5, 0.8  # of the scan; voxels along an axis after resampling, per voxel before
PATCH = (96, 96, 96)
TIE = 1e-5  # shares of two classes closer than this are a matter of rounding
PEAK = """
import sys, numpy as np
from {module} import {name} as read
open("/proc/self/clear_refs", "w").write("5")
start = int(next(r for r in open("/proc/self/status") if r.startswith("VmRSS")).split()[1])
array = {call}
peak = int(next(r for r in open("/proc/self/status") if r.startswith("VmHWM")).split()[1])
print((peak - start) / 1024)
"""


def peer(module: str):
    """A module of another library, or None."""
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return __import__(module, fromlist=["_"])
    return None


def compare(title: str, sides: dict, rounds: int, gate: str = "equal") -> None:
    """Time the sides in turn; the first is ours, None is a peer that is not installed."""
    times = {name: [] for name, side in sides.items() if side}
    for _ in range(rounds):
        for name in times:
            start = time.perf_counter()
            result = sides[name]()
            times[name].append(1000 * (time.perf_counter() - start))
            del result
    ours = statistics.median(next(iter(times.values())))
    print(f"\n{title} ({gate})")
    for name in sides:
        if name not in times:
            print(f"  {name:<28} not installed")
            continue
        middle = statistics.median(times[name])
        print(f"  {name:<28} {middle:9.1f} ms ({min(times[name]):.1f}-{max(times[name]):.1f})  {middle / ours:6.2f}x")


def scan(side: int):
    """CT and labels of a phantom, cut or mirrored to a cube."""
    phantom = generate(3, spacing_mm=SPACING_MM)
    both = []
    for array, dtype in ((phantom.ct_hu, np.int16), (phantom.labels, np.uint8)):
        room = [(0, max(0, side - n)) for n in array.shape]
        cube = np.pad(np.asarray(array, dtype), room, mode="symmetric")[:side, :side, :side]
        both.append(np.asfortranarray(cube))
    return *both, np.diag([SPACING_MM] * 3 + [1.0])


def reading(path: Path, array, rounds: int) -> None:
    hashed = path.with_name("hashed.nii.gz")
    shutil.copy(path, hashed)
    checksum.beside(hashed).write_bytes(checksum.line(hashed, checksum.hash_of(hashed)))
    itk, monai, nnunet = peer("SimpleITK"), peer("monai.transforms"), peer("nnunetv2.imageio.simpleitk_reader_writer")
    load = monai and monai.LoadImage(reader="NibabelReader", image_only=True)
    sides = {
        "spineseg": lambda: nifti.read(path).array,
        "spineseg, hash compared": lambda: nifti.read(hashed).array,
        "spineseg, read_ct": lambda: nifti.read_ct(path).array,
        "nibabel get_fdata": lambda: nib.load(path).get_fdata(),
        "nibabel dataobj": lambda: np.asanyarray(nib.load(path).dataobj),
        "SimpleITK": itk and (lambda: itk.GetArrayViewFromImage(itk.ReadImage(str(path))).T),
        "MONAI LoadImage": monai and (lambda: load(path).numpy()),
        "nnU-Net reader": nnunet and (lambda: nnunet.SimpleITKIO().read_images((str(path),))[0][0].T),
    }
    for name, side in sides.items():
        if side and name != "SimpleITK":  # whose view dies with its image
            assert np.array_equal(side(), array), name
    if itk:
        image = itk.ReadImage(str(path))
        assert np.array_equal(itk.GetArrayViewFromImage(image).T, array)
    size = path.stat().st_size / 1e6
    compare(
        f"read {array.shape} {array.dtype}, {size:.1f} MB .nii.gz of nibabel, CRC checked by us alone", sides, rounds
    )


def writing(folder: Path, array, affine, rounds: int) -> None:
    itk = peer("SimpleITK")
    image, swapped = nib.Nifti1Image(array, affine), itk and itk.GetImageFromArray(np.ascontiguousarray(array.T))
    paths = {name: folder / f"{name}.nii.gz" for name in ("ours", "nibabel", "itk")}
    sides = {
        "spineseg (fsync, hash beside)": lambda: nifti.write(paths["ours"], array, affine),
        "nibabel": lambda: nib.save(image, paths["nibabel"]),
        "SimpleITK": itk and (lambda: itk.WriteImage(swapped, str(paths["itk"]), useCompression=True)),
    }
    for side, path in zip(sides.values(), paths.values(), strict=True):
        if side:
            side()
            assert np.array_equal(np.asanyarray(nib.load(path).dataobj), array)
    sizes = ", ".join(f"{name} {path.stat().st_size / 1e6:.1f} MB" for name, path in paths.items() if path.exists())
    compare(f"write .nii.gz: {sizes}", sides, rounds, "read back equal")


def target(array, affine):
    """A coarser grid over exactly the same field of view, so that all peers mean the same voxels."""
    side = round(array.shape[0] * COARSER)
    return *geometry.grid_at(affine, array.shape, SPACING_MM * array.shape[0] / side), side


def image_resampling(array, affine, rounds: int) -> None:
    grid, shape, side = target(array, affine)
    image = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    itk, monai, data = peer("SimpleITK"), peer("monai.transforms"), peer("monai.data")
    nnunet = peer("nnunetv2.preprocessing.resampling.default_resampling")
    sides = {"spineseg": lambda: geometry.resample_image(image, affine, grid, shape, antialias=False)}
    sides["spineseg, averaging"] = lambda: geometry.resample_image(image, affine, grid, shape)
    ours, gate = sides["spineseg"]().numpy(), "no peer to compare with"
    sides |= dict.fromkeys(("MONAI Spacing, as it comes", "MONAI Spacing, float32", "SimpleITK, linear"))
    if itk:
        source = itk.GetImageFromArray(np.ascontiguousarray(image.numpy().T))
        source.SetSpacing([SPACING_MM] * 3)
        spacing, origin = geometry.spacing_of(grid), [float(v) for v in grid[:3, 3]]
        plan = (list(shape), itk.Transform(), itk.sitkLinear, origin, spacing, [1, 0, 0, 0, 1, 0, 0, 0, 1], 0.0)
        sides["SimpleITK, linear"] = lambda: itk.GetArrayFromImage(itk.Resample(source, *plan)).T
        difference = np.abs(sides["SimpleITK, linear"]() - ours).max()
        assert difference <= 0.05, f"{difference} HU from SimpleITK"
        gate = f"{difference:.4f} HU from SimpleITK"
    if monai:
        tensor = data.MetaTensor(image[None], affine=affine)
        # Spacing is SpatialResample onto a grid of its own choice; the given grid makes the results comparable
        options = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
        double = monai.SpatialResample(**options, dtype=np.float64)
        single = monai.SpatialResample(**options, dtype=np.float32)
        sides["MONAI Spacing, as it comes"] = lambda: double(tensor, torch.from_numpy(grid), shape)[0].numpy()
        sides["MONAI Spacing, float32"] = lambda: single(tensor, torch.from_numpy(grid), shape)[0].numpy()
        difference = np.abs(sides["MONAI Spacing, as it comes"]() - ours).max()
        gate += f", {difference:.4f} from MONAI"
    again = nnunet and (lambda: nnunet.resample_data_or_seg(image.numpy()[None], shape, is_seg=False, order=3)[0])
    sides["nnU-Net, order 3"] = again
    compare(f"resample the image to {side} cubed", sides, rounds, gate)


def label_resampling(labels, affine, rounds: int) -> None:
    grid, shape, side = target(labels, affine)
    tensor = torch.from_numpy(np.ascontiguousarray(labels))
    nnunet = peer("nnunetv2.preprocessing.resampling.default_resampling")

    def one_hot():
        """One class after the other in full, the largest share wins."""
        best, second = torch.zeros(shape), torch.zeros(shape)
        result = torch.zeros(shape, dtype=torch.uint8)
        for value in [0, *(v for v in tensor.unique().tolist() if v)]:
            share = torch.nn.functional.interpolate((tensor == value)[None, None].float(), shape, mode="trilinear")[
                0, 0
            ]
            better = share > best
            second = torch.where(better, best, torch.maximum(second, share))
            best, result = torch.where(better, share, best), torch.where(better, value, result)
        return result, best - second > TIE

    sides = {
        "spineseg": lambda: geometry.resample_labels(tensor, affine, grid, shape),
        "one-hot, torch interpolate": one_hot,
        "nnU-Net, order 1": nnunet
        and (lambda: nnunet.resample_data_or_seg(labels[None], shape, is_seg=True, order=1)[0]),
    }
    ours, (theirs, clear) = sides["spineseg"](), one_hot()
    assert not ((ours != theirs) & clear).any()
    gate = f"0 of {ours.numel()} voxels differ beside {int((~clear).sum())} ties"
    if nnunet:
        other = torch.from_numpy(np.asarray(sides["nnU-Net, order 1"]()))
        won = torch.zeros(shape)
        for value in tensor.unique().tolist():
            share = torch.nn.functional.interpolate((tensor == value)[None, None].float(), shape, mode="trilinear")[
                0, 0
            ]
            won = torch.maximum(won, share)
        majority = won > 0.5 + TIE  # below, nnU-Net leaves background where no class has half a voxel
        assert not ((ours != other) & majority).any()
        gate += f"; nnU-Net differs in {int((ours != other).sum())}, none of them where a class has half a voxel"
    compare(f"resample {len(tensor.unique()) - 1} labels to {side} cubed", sides, min(rounds, 2), gate)


def patches(folder: Path, array, labels, affine, rounds: int) -> None:
    os.environ["SPINESEG_HOME"] = str(folder)
    raw = folder / "data" / "raw" / "bench"
    nifti.write(raw / "a_ct.nii", array, affine)
    nifti.write(raw / "a_seg.nii", labels, affine)
    changes = {"cohort.layout": "pairs", "cohort.folder": "bench", "preparation.spacing_mm": SPACING_MM}
    config = Config.load("smoke", "bench", **changes)
    store = Store(config, cohort.cases(config))
    whole = store.load("a")
    rng = np.random.default_rng(0)
    starts = [
        tuple(int(rng.integers(0, n - p + 1)) for n, p in zip(whole.image.shape, PATCH, strict=True)) for _ in range(20)
    ]
    nnunet, sizes = peer("nnunetv2.training.dataloading.nnunet_dataset"), ""
    ours = sum((store.path("a") / f"{name}.b2nd").stat().st_size for name in ("image", "labels"))

    def read_theirs(start):
        box = (slice(None), *(slice(s, s + n) for s, n in zip(start, PATCH, strict=True)))
        data, seg, *_ = dataset.load_case("a")
        return data[box], seg[box]

    if nnunet:
        base, low, high = folder / "nnunet", config.preparation.window_low_hu, config.preparation.window_high_hu
        base.mkdir()
        # nnU-Net keeps float32; the scan is on the fine grid already, so this is what the store rounded to 255 steps
        exact = (
            torch.from_numpy(np.ascontiguousarray(array, np.float32)).sub_(low).div_(high - low).clamp_(0, 1).numpy()
        )
        blocks, chunks = nnunet.comp_blosc2_params((1, *exact.shape), PATCH, exact.itemsize)
        case = (exact[None], labels[None].astype(np.int16), {})
        with contextlib.redirect_stdout(None):
            nnunet.nnUNetDatasetBlosc2.save_case(*case, str(base / "a"), chunks=chunks, blocks=blocks)
        dataset = nnunet.nnUNetDatasetBlosc2(str(base), ["a"])
        theirs = sum(p.stat().st_size for p in base.glob("*.b2nd"))
        sizes = f", {ours / 1e6:.1f} MB on disk against {theirs / 1e6:.1f} ({theirs / ours:.1f}x)"
        for start in starts:
            (image, named), (other, seg) = store.read_patch("a", start, PATCH), read_theirs(start)
            assert np.array_equal(image, np.rint(other[0] * 255) / np.float32(255)) and np.array_equal(named, seg[0])

    def one_after_the_other(read):
        """As in training, no patch is kept."""
        for start in starts:
            read(start)

    sides = {
        "spineseg": lambda: one_after_the_other(lambda start: store.read_patch("a", start, PATCH)),
        "nnU-Net dataset class": nnunet and (lambda: one_after_the_other(read_theirs)),
    }
    compare(f"read {len(starts)} patches of {PATCH[0]} cubed{sizes}", sides, rounds, "equal after the cast")


def peaks(path: Path) -> None:
    """Memory that a read adds, each in a process of its own."""
    print(f"\nmemory that a read adds, MB; the voxels take {nifti.read(path).array.nbytes / 2**20:.1f}")
    calls = {
        "spineseg": ("spineseg.data.nifti", "read", "read(sys.argv[1]).array"),
        "nibabel get_fdata": ("nibabel", "load", "read(sys.argv[1]).get_fdata()"),
        "nibabel dataobj": ("nibabel", "load", "np.asanyarray(read(sys.argv[1]).dataobj)"),
        "SimpleITK": ("SimpleITK", "ReadImage", "read(sys.argv[1])"),
    }
    for name, (module, function, call) in calls.items():
        if not peer(module):
            print(f"  {name:<28} not installed")
            continue
        code = PEAK.format(module=module, name=function, call=call)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        print(f"  {name:<28} {float(done.stdout):9.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=250, help="voxels along each axis of the made-up scan")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--real", type=Path, help="read this .nii.gz, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    array, labels, affine = scan(options.side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "scan.nii.gz"
        nib.save(nib.Nifti1Image(array, affine), path)
        reading(path, array, options.rounds)
        if options.real:
            real = shutil.copy(options.real, folder / "real.nii.gz")
            reading(real, np.asanyarray(nib.load(real).dataobj), options.rounds)
        writing(folder, array, affine, options.rounds)
        image_resampling(array, affine, options.rounds)
        label_resampling(labels, affine, options.rounds)
        patches(folder, array, labels, affine, options.rounds)
        peaks(path)


if __name__ == "__main__":
    main()
