"""Where worker processes come from: a dask cluster of this machine, made for one job, or an existing scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import dask
import psutil
from distributed import CancelledError, Client, KilledWorker, LocalCluster

from spineseg.errors import CaseError

# at INFO, dask tells of connections that close under a message: a job that is ended closes all of its own
logging.getLogger("distributed").setLevel(logging.WARNING)

LINUX = sys.platform == "linux"
METHOD = "forkserver" if LINUX else "spawn"
PRELOADED = ["torch", "blosc2", "distributed", "distributed.nanny", "spineseg.data.store"]  # before workers are forked
STARTS = 8  # of the local cluster; a worker may be killed while it starts
CONNECT_S = 8.0  # until a scheduler has to answer
REPLACE_S = 20.0  # until a nanny elsewhere has to have ended its worker
ENDED = (KilledWorker, CancelledError)  # raised for a case whose worker is gone
ENVIRONMENT = {  # of worker processes, which do one thing at a time and leave the talking to this process
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "DASK_LOGGING__DISTRIBUTED": "critical",
}  # fmt: skip
SETTINGS = {
    "distributed.worker.multiprocessing-method": METHOD,
    "distributed.worker.preload": [__name__],  # calls dask_setup
    "distributed.worker.profile.enabled": False,
    "distributed.worker.http.routes": [],
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": None,  # a case may hold the interpreter's lock for as long as its time-out
    # after 15 s dask asks whether a worker that died is back, and drops its nanny if it has just died once more
    "distributed.deploy.lost-worker-timeout": "365d",
    "distributed.diagnostics.nvml": False,
}


@contextlib.asynccontextmanager
async def open_cluster(scheduler: str, workers: int, modules: list[str]) -> AsyncIterator[tuple[Client, Callable]]:
    """Connect to workers; those of this machine are ended with the context.

    Args:
        scheduler: Address of an existing one; empty for processes of this machine.
        workers: Processes of this machine.
        modules: Importable names that the work needs; imported once, before workers are forked from the result.

    Yields:
        An asynchronous client, and a coroutine function that ends the worker at an address and returns what became of
        it: empty if another one takes its place.

    Raises:
        CaseError: If no scheduler answers at the address.
    """
    if scheduler:
        async with _connected(scheduler) as client:
            yield client, _replace_elsewhere(client)
        return
    with (
        _surroundings(modules),
        tempfile.TemporaryDirectory(prefix="spineseg-", ignore_cleanup_errors=True) as scratch,
    ):
        cluster = await _started(workers, scratch)
        try:
            async with Client(cluster, asynchronous=True, set_as_default=False) as client:
                try:
                    yield client, _replace_here(cluster)
                except BaseException:
                    _end_all(cluster)  # in the middle of their cases, which nobody wants any more
                    raise
        finally:
            await cluster.close()


def dask_setup(worker) -> None:
    """Called by dask in each new worker: Ctrl-C is for the process that shares out the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _surroundings(modules: list[str]) -> Iterator[None]:
    """What local workers are started in; this process gets its own environment and main module back afterwards.

    Workers do not run the main module again: functions of it travel by value. So a script needs no guard, and a worker
    that was killed is back before a command line or a test runner would have been imported. Of jobs that overlap in
    this process the first changes and the last restores.
    """
    with _CHANGING:
        if not _before:
            _change()
        _before["jobs"] = _before.get("jobs", 0) + 1
    try:
        if LINUX:
            _warm_up(modules)
        with dask.config.set(SETTINGS):
            yield
    finally:
        with _CHANGING:
            _before["jobs"] -= 1
            if not _before["jobs"]:
                _restore()


_CHANGING = threading.Lock()
_before: dict = {}  # what this process was like before the first of the jobs that are running


def _change() -> None:
    main, names = sys.modules["__main__"], (*ENVIRONMENT, "PYTHONHASHSEED")  # the last is set by nannies
    _before["spec"], _before["file"] = getattr(main, "__spec__", None), main.__dict__.pop("__file__", None)
    _before["variables"] = {name: os.environ.get(name) for name in names}
    os.environ.update(ENVIRONMENT)
    main.__spec__ = None
    context = multiprocessing.get_context(METHOD)
    context.Queue = lambda *options: _forgetful(type(context).Queue(context, *options))


def _forgetful(queue):
    """A queue that this process does not wait for at its end: a worker that was killed never empties its own."""
    queue.cancel_join_thread()
    return queue


def _restore() -> None:
    main = sys.modules["__main__"]
    del multiprocessing.get_context(METHOD).Queue  # the instance's own; the class has the usual one
    main.__spec__ = _before["spec"]
    if _before["file"] is not None:
        main.__file__ = _before["file"]
    for name, value in _before["variables"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    _before.clear()


def _warm_up(modules: list[str]) -> None:
    """Have the server ready that workers are forked from: one that is killed is then back at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *modules])
    first = context.Process(target=int)
    first.start()
    first.join()


async def _started(workers: int, scratch: str) -> LocalCluster:
    for _ in range(STARTS):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            memory_limit=0,  # a worker that dask pauses for its memory would never finish its case
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
            asynchronous=True,
        )
        try:
            return await cluster
        except BaseException as error:
            _end_all(cluster)
            await cluster.close()
            if not isinstance(error, RuntimeError):  # what dask raises for a worker that did not come up
                raise
    found, remedy = f"worker processes that died while they started, {STARTS} times", "see whether memory is short"
    raise CaseError("no-workers", "this machine's cluster", found, f"{workers} workers", remedy)


def _end_all(cluster: LocalCluster) -> None:
    for nanny in cluster.workers.values():
        nanny.close_gracefully()  # so that it starts no other
        _kill(nanny.pid)


def _kill(pid: int | None) -> None:
    if pid:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()


def _replace_here(cluster: LocalCluster) -> Callable:
    async def replace(address: str) -> str:
        # asking the worker would not help: it may hang with the interpreter's lock held
        for nanny in cluster.workers.values():
            if nanny.worker_address == address:
                _kill(nanny.pid)
        return ""

    return replace


def _replace_elsewhere(client: Client) -> Callable:
    async def replace(address: str) -> str:
        try:
            outcome = await client.restart_workers([address], timeout=REPLACE_S, raise_for_error=False)
        except (TimeoutError, OSError, ValueError):
            outcome = {}
        if outcome.get(address) == "OK":
            return ""
        return f"the worker at {address} has no nanny that could replace it: end it and start another"

    return replace


@contextlib.asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Client]:
    client = Client(address, asynchronous=True, set_as_default=False, timeout=CONNECT_S)
    try:
        async with asyncio.timeout(CONNECT_S + 1):
            await client
    except (OSError, ValueError, RuntimeError) as error:
        found = f"no dask scheduler answers ({str(error).splitlines()[0][:100] if str(error) else 'time-out'})"
        expected = "the address of a running one, such as tcp://127.0.0.1:8786"
        remedy = "start one with 'dask scheduler' and 'dask worker', or leave cluster.scheduler empty"
        with contextlib.suppress(Exception):
            await client.close()
        raise CaseError("scheduler", address, found, expected, remedy) from None
    try:
        yield client
    finally:
        await client.close()
