"""Speed and memory beside other libraries, written to `benchmarks/results.json`.

Run `python benchmarks/run.py [--only loss step] [--rounds 3] [--quick]`, or `make bench`. Results are compared before
anything is timed; all sides of a comparison take turns in one process on one thread. With `--only`, the other rows of
the file stay as they are.
"""

import argparse
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness
import torch
from comparisons import NAMES

from spineseg import paths
from spineseg.data.atomic import write_text
from spineseg.learning.precision import bf16_pays

LIBRARIES = ("spineseg", "torch", "nibabel", "monai", "nnunetv2", "SimpleITK", "surface-distance-based-measures")


def machine() -> dict:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "bf16": bf16_pays(torch.device("cpu")),
        "python": platform.python_version(), "system": platform.system(), "date": datetime.date.today().isoformat(),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Version of each library that is installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def races(name: str, quick: bool) -> list[harness.Race]:
    """The comparisons of one file."""
    return importlib.import_module(f"comparisons.{name}").races(quick)


def measured(name: str, rounds: int, quick: bool) -> list[dict]:
    """Rows of one file's comparisons; peaks are measured by this script in processes of their own."""
    rows = []
    for index, race in enumerate(races(name, quick)):

        def peak(side, index=index):
            command = [__file__, "--peak", name, str(index), side, *(["--quick"] if quick else [])]
            return harness.peak_in_own_process(command)

        for row in harness.run(race, rounds, peak if Path("/proc/self/clear_refs").exists() else None):
            print(harness.text(row), flush=True)
            rows.append({"file": name, **row})
    return rows


def main(arguments=None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="toy sizes: that everything runs, not how fast")
    parser.add_argument("--out", type=Path, default=paths.results_folder().parent / "results.json")
    parser.add_argument("--peak", nargs=3, metavar=("FILE", "INDEX", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.peak:
        name, index, side = options.peak
        harness.print_peak(races(name, options.quick)[int(index)].sides[side])
        return 0
    kept = json.loads(options.out.read_text())["rows"] if options.out.is_file() else []
    for name in options.only:
        kept = [row for row in kept if row["file"] != name] + measured(name, options.rounds, options.quick)
        kept.sort(key=lambda row: NAMES.index(row["file"]))
        answer = {"machine": machine(), "versions": versions(), "rows": kept}
        write_text(options.out, json.dumps(answer, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
