"""One function over many cases in worker processes; a bad, fatal or endless case stops nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable

from tqdm import tqdm

from spineseg import paths
from spineseg.config import ClusterConfig
from spineseg.data.aside import in_thread, run_aside
from spineseg.errors import CaseError

WORTH_A_POOL_S = 5.0  # worker processes take seconds to import torch; shorter work is done here
LOOK_S = 1.0  # between two looks at which workers there are; a change of them is also announced
WORKERLESS_S = 30.0  # without a single worker before the work is given up


def map_cases(
    function: Callable,
    items: Iterable,
    *,
    cluster: ClusterConfig,
    title: str,
    progress: bool = True,
    files: Iterable | None = None,
) -> list:
    """Apply `function` to each item, in order, showing progress.

    The first items are done in this process; if the rest would take long, worker processes with one torch thread each
    take over. A case whose worker process dies is done again by another. With one worker and no scheduler everything
    is done here, and there is no time-out.

    Args:
        function: Importable by name, so that a worker can find it; one of the main module travels by value.
        items: Picklable arguments.
        cluster: How many workers, or whose; time and deaths that are allowed to a case.
        title: Of the progress bar.
        progress: Show it.
        files: What to name an item's file in an error; the item itself when None.

    Returns:
        One result per item; a `CaseError` in place of the result where the item raised one, took longer than
        `case_timeout_s` (code timeout) or ended its worker process `deaths_per_case` times (code worker-died).

    Raises:
        CaseError: If there is no scheduler at the address, or no worker to be had (code scheduler).
        Exception: Whatever else `function` raises.
    """
    items = list(items)
    names = [str(item)[:200] for item in (items if files is None else files)]
    bar = tqdm(total=len(items), desc=title, disable=not progress or not items, mininterval=1.0, delay=0.5)
    with bar:
        # a process that is itself a worker may not have workers
        if multiprocessing.current_process().daemon or (cluster.workers == 1 and not cluster.scheduler):
            results = []
            for item in items:
                results.append(_guarded(function, item))
                bar.update()
            return results
        job = _Job(function, items, names, cluster, bar)
        run_aside(job.run())
    if job.repeats:
        times = "once" if job.repeats == 1 else f"{job.repeats} times"
        remedy = "if nobody killed it, memory is short: lower cluster.workers"
        warnings.warn(f"{title}: a worker process died {times} and its case was repeated; {remedy}", stacklevel=2)
    return job.results


class _Job:
    """The state of one call: who has which case, what is left, how often a case ended its worker."""

    def __init__(self, function, items, names, cluster, bar):
        self.function, self.items, self.names, self.cluster, self.bar = function, items, names, cluster, bar
        # the folders as seen from here; a worker may have another working folder and other variables
        self.environment = {"SPINESEG_HOME": str(paths.project_root()), "SPINESEG_REALCT": str(paths.real_ct_folder())}
        self.environment["SPINESEG_WEIGHTS"] = str(paths.weights_folder())
        self.results: list = [None] * len(items)
        self.waiting = deque(range(len(items)))
        self.left = len(items)
        self.deaths: Counter = Counter()
        self.repeats = 0
        self.gone: dict[str, asyncio.Future] = {}  # of each worker address, resolved when it is lost
        self.ended: set[str] = set()  # addresses of workers that were ended for a time-out
        self.hung: set[str] = set()  # those that could not be ended, and are not counted on
        self.tasks: set[asyncio.Task] = set()

    async def run(self) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self.offered, self.changed = asyncio.Condition(), asyncio.Event()
        try:
            await self._begin_here()
            if self.waiting:
                from spineseg.data.cluster import open_cluster  # distributed is not imported for short work

                workers = min(self.cluster.workers, len(self.waiting))
                modules = [self.function.__module__]
                async with open_cluster(self.cluster.scheduler, workers, modules) as (client, replace):
                    client.subscribe_topic("all", lambda _: self.changed.set())
                    self._start(self._look_after_workers(client, replace))
                    try:
                        await self.over
                    finally:
                        client.unsubscribe_topic("all")  # or the scheduler complains that nobody hears of the end
            elif self.left:
                await self.over
        finally:
            for task in self.tasks:
                task.cancel()

    def _start(self, work: Coroutine) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self.over.done():
            self.over.set_exception(error)

    def _finish(self, index: int, result) -> None:
        self.results[index] = result
        self.left -= 1
        self.bar.update()
        if not self.left and not self.over.done():
            self.over.set_result(None)

    async def _begin_here(self) -> None:
        started = time.perf_counter()
        while self.waiting:
            done = len(self.items) - len(self.waiting)
            if done and (time.perf_counter() - started) / done * len(self.waiting) > WORTH_A_POOL_S:
                return
            index = self.waiting.popleft()
            running = in_thread(_guarded, self.function, self.items[index])
            await asyncio.wait({running}, timeout=min(WORTH_A_POOL_S, self.cluster.case_timeout_s))
            if not running.done():  # the others need not wait for it
                self._start(self._await_here(index, running))
                return
            self._finish(index, running.result())

    async def _await_here(self, index: int, running: asyncio.Future) -> None:
        await asyncio.wait({running}, timeout=self.cluster.case_timeout_s - WORTH_A_POOL_S)
        self._finish(index, running.result() if running.done() else self._timeout(index, "it goes on in a thread"))

    async def _look_after_workers(self, client, replace) -> None:
        """Give each new worker thread cases, and tell those who wait for a lost worker."""
        alone_since = time.monotonic()
        while True:
            try:
                threads = await client.nthreads()
            except (OSError, RuntimeError) as error:
                raise self._no_scheduler(f"the connection was lost ({type(error).__name__})") from None
            self.hung &= threads.keys()
            threads = {a: n for a, n in threads.items() if a not in self.hung}
            for address in [a for a in self.gone if a not in threads]:
                self.gone.pop(address).set_result(None)
            for address in [a for a in threads if a not in self.gone]:
                self.ended.discard(address)
                self.gone[address] = asyncio.get_running_loop().create_future()
                for _ in range(threads[address]):
                    self._start(self._serve(client, replace, address, self.gone[address]))
            if threads:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > WORKERLESS_S:
                raise self._no_scheduler(f"no worker for {WORKERLESS_S:.0f} s")
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.changed.wait()

    async def _serve(self, client, replace, address: str, gone: asyncio.Future) -> None:
        """Give one thread of one worker one case after another; none waits there, so all of its time is its own."""
        from spineseg.data.cluster import ENDED

        while True:
            async with self.offered:
                await self.offered.wait_for(lambda: self.waiting or gone.done())
                if gone.done():
                    return
                index = self.waiting.popleft()
            arguments = (self.function, self.items[index], self.environment)
            future = client.submit(_in_worker, *arguments, workers=[address], allow_other_workers=False, pure=False)
            result = asyncio.ensure_future(future.result())
            limit = self.cluster.case_timeout_s
            await asyncio.wait({result, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            lost = result.done() and (result.cancelled() or isinstance(result.exception(), ENDED))
            if result.done() and not lost:
                self._finish(index, result.result())
                continue
            result.cancel()
            await client.cancel([future], force=True)
            if lost or gone.done():
                await self._repeat(index, guilty=address not in self.ended)
                continue
            self.ended.add(address)
            if remark := await replace(address):
                self.hung.add(address)
            self._finish(index, self._timeout(index, remark))
            return

    async def _repeat(self, index: int, *, guilty: bool) -> None:
        self.deaths[index] += guilty
        if self.deaths[index] >= self.cluster.deaths_per_case:
            self._finish(index, self._died(index))
            return
        self.repeats += guilty
        async with self.offered:
            self.waiting.append(index)
            self.offered.notify_all()

    def _timeout(self, index: int, remark: str) -> CaseError:
        limit = self.cluster.case_timeout_s
        found = f"not done after {limit:g} s" + (f" ({remark})" if remark else "")
        remedy = "look at the file, or raise cluster.case_timeout_s"
        return CaseError("timeout", self.names[index], found, f"at most {limit:g} s a case", remedy)

    def _died(self, index: int) -> CaseError:
        found = f"a case that ended its worker process {self.deaths[index]} times"
        remedy = "probably out of memory: lower cluster.workers, or leave the case out"
        return CaseError("worker-died", self.names[index], found, "a case that a worker survives", remedy)

    def _no_scheduler(self, found: str) -> CaseError:
        where = self.cluster.scheduler or "this machine's cluster"
        remedy = "start 'dask worker' for it" if self.cluster.scheduler else "see whether memory or disk are full"
        return CaseError("scheduler", where, found, "a scheduler with at least one worker", remedy)


def _guarded(function, item):
    try:
        return function(item)
    except CaseError as error:
        return CaseError(*error.args)  # without a context, which may be of a kind that cannot be pickled
    except StopIteration as error:  # no future can carry one: the caller would wait for ever
        raise RuntimeError(f"{function.__name__} raised StopIteration") from error


def _in_worker(function, item, environment: dict[str, str]):
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)
    return _guarded(function, item)
