"""A fair race: every side's result is compared first, then all sides take turns in one process, one thread.

Memory is measured in a process of its own for each side: the highest resident size while the side runs, above what its
inputs hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

OURS = "spineseg"


@dataclass(frozen=True)
class Race:
    """One comparison.

    Attributes:
        name: What is done.
        sides: By library, ours first; None is a library that is not installed.
        check: Takes the results by side and says, for each peer, whether ours equals them (`True`: within the stated
            rounding; `False`: the peer computes something else) and how far they are apart. Raises AssertionError where
            they should be equal and are not.
        targets: By peer, the least ratio aimed at.
        memory: By peer, the least ratio of peak memory aimed at; a peer without a target has None. Nothing is measured
            if empty.
        rounds: How often each side runs; 0 for the caller's number.
        sizes: By peer, bytes to hold ours against in place of a time (files, for one).
    """

    name: str
    sides: dict[str, Callable | None]
    check: Callable[[dict], dict[str, tuple[bool, str]]]
    targets: dict[str, float | None] = field(default_factory=dict)
    memory: dict[str, float | None] = field(default_factory=dict)
    rounds: int = 0
    sizes: dict[str, float] = field(default_factory=dict)


def peer(module: str):
    """A module of another library, or None if it is not installed."""
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return __import__(module, fromlist=["_"])
    return None


def run(race: Race, rounds: int, peak_mb: Callable[[str], float] | None = None) -> list[dict]:
    """Check, time and weigh one comparison.

    Args:
        race: The comparison.
        rounds: Of the timing.
        peak_mb: Gives the peak memory of a side by name; None leaves memory out.

    Returns:
        A row for each peer and quantity: `name`, `peer`, `ratio` (above 1: ours is better), `target`, `ours`, `theirs`,
        `unit`, `equal`, `apart` (how far the results are apart), `ours_range`, `theirs_range`. A peer that is not
        installed has nan in place of numbers.
    """
    results = {name: side() for name, side in race.sides.items() if side}
    verdicts = race.check(results)
    del results
    times = {name: [] for name, side in race.sides.items() if side}
    for _ in range(race.rounds or rounds):
        for name in times:
            gc.collect()
            start = time.perf_counter()
            result = race.sides[name]()
            times[name].append(1000 * (time.perf_counter() - start))
            del result
    rows = [_row(race.name, p, race.targets.get(p), times.get(p), times[OURS], "ms", verdicts) for p in race.sides]
    rows = [row for row in rows if row["peer"] != OURS]
    if race.memory and peak_mb:
        ours = [peak_mb(OURS)]
        for name, target in race.memory.items():
            theirs = [peak_mb(name)] if name in times else None
            rows.append(_row(f"{race.name}, peak memory", name, target, theirs, ours, "MB", verdicts))
    for name, size in race.sizes.items():
        ours = [race.sizes[OURS] / 1e6]
        if name != OURS:
            target = race.targets.get(f"{name}, size")
            rows.append(_row(f"{race.name}, size on disk", name, target, [size / 1e6], ours, "MB", verdicts))
    return rows


def _row(name, peer_name, target, theirs, ours, unit, verdicts) -> dict:
    """One line of the answer."""
    nan = float("nan")
    middle, other = statistics.median(ours), statistics.median(theirs) if theirs else nan
    equal, apart = verdicts.get(peer_name, (False, "not compared"))
    row = {"name": name, "peer": peer_name, "ratio": round(other / middle, 3), "target": target}
    row |= {"ours": round(middle, 3), "theirs": round(other, 3), "unit": unit, "equal": bool(equal), "apart": apart}
    row["ours_range"] = [round(min(ours), 3), round(max(ours), 3)]
    row["theirs_range"] = [round(min(theirs), 3), round(max(theirs), 3)] if theirs else [nan, nan]
    return row


def text(row: dict) -> str:
    """A row as one line of a terminal."""
    target = f"target {row['target']:g}" if row["target"] else ""
    met = "" if not row["target"] else "met" if row["ratio"] >= row["target"] else "missed"
    sides = " against ".join(f"{row[s]:.1f} ({row[f'{s}_range'][0]:.1f}-{row[f'{s}_range'][1]:.1f})" for s in SIDES)
    return (
        f"{row['name']:<34} {row['peer']:<26} {row['ratio']:8.2f}x  {target:<12} {met:<7} {sides} {row['unit']}; "
        f"{'equal' if row['equal'] else 'not the same thing'}: {row['apart']}"
    )


SIDES = ("ours", "theirs")


def peak_in_own_process(command: list[str]) -> float:
    """Peak MB that a process prints as the last line of what it says (see `print_peak`)."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def peak_mb(side: Callable) -> float:
    """Run a side; by how many MB (2**20 bytes) the resident size rose at most. Linux only."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # what the inputs' making has freed goes back first
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    side()
    return round((_status("VmHWM") - before) / 1024, 1)


def print_peak(side: Callable) -> None:
    """Print the `peak_mb` of a side."""
    print(json.dumps(peak_mb(side)))


def print_peak_on(device: str, side: Callable) -> None:
    """As `print_peak`; on a GPU what torch had allocated there at most."""
    if device == "cpu":
        print_peak(side)
        return
    import torch  # here, not above: not all that is measured needs it

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    side()
    print(json.dumps(round(torch.cuda.max_memory_allocated() / 2**20, 1)))


def _status(name: str) -> int:
    """A size of this process in KiB."""
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if name in line).split()[1])
