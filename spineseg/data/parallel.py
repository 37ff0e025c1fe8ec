"""One function over many cases in worker processes; a bad case or a killed worker stops nothing else."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from spineseg.errors import CaseError

WORTH_A_POOL_S = 5.0  # workers take seconds to import torch; shorter work is done here
ATTEMPTS = 3  # pools that may break before the cases that were running are given up


def map_cases(function: Callable, items: Iterable, *, workers: int, title: str, progress: bool = True) -> list:
    """Apply `function` to each item, in order, showing progress.

    The first item is done in this process; if the rest would take long, worker processes with one torch thread each
    take over.

    Args:
        function: Importable by name, so that a worker can find it.
        items: Picklable arguments.
        workers: Processes; 1 stays in this one.
        title: Of the progress bar.
        progress: Show it.

    Returns:
        One result per item; a `CaseError` in place of the result where the item raised one.

    Raises:
        Exception: Whatever else `function` raises, and RuntimeError if workers keep dying.
    """
    items = list(items)
    results: list = [None] * len(items)
    waiting = list(range(len(items)))
    with tqdm(total=len(items), desc=title, disable=not progress or not items, mininterval=1.0, delay=0.5) as bar:
        started = time.perf_counter()
        while waiting:
            done = len(items) - len(waiting)
            per_item = (time.perf_counter() - started) / max(done, 1)
            if workers > 1 and done and per_item * len(waiting) > WORTH_A_POOL_S:
                break
            index = waiting.pop(0)
            results[index] = _guarded(function, items[index])
            bar.update()
        for _ in range(ATTEMPTS):
            if not waiting:
                break
            waiting = _pool_round(function, items, results, waiting, workers, bar)
    if waiting:
        names = ", ".join(str(items[i])[:80] for i in waiting[:3])
        raise RuntimeError(f"worker processes keep dying on {names}: probably out of memory; lower cohort.workers")
    return results


def _pool_round(function, items, results, waiting, workers, bar) -> list[int]:
    # a clean server forks the workers: no threads or CUDA state of this process come along
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(["spineseg.data.parallel", "torch"])
    pool = concurrent.futures.ProcessPoolExecutor(min(workers, len(waiting)), context, _begin, (dict(os.environ),))
    try:
        futures = {pool.submit(_guarded, function, items[i]): i for i in waiting}
        left = set(waiting)
        for future in concurrent.futures.as_completed(futures):
            try:
                results[futures[future]] = future.result()
            except BrokenProcessPool:
                continue
            left.discard(futures[future])
            bar.update()
        return sorted(left)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _guarded(function, item):
    try:
        return function(item)
    except CaseError as error:
        return error


def _begin(environment: dict[str, str]) -> None:
    os.environ.update(environment)  # the server may be older than a change to them
    import torch

    torch.set_num_threads(1)
