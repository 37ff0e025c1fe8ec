"""What the tests of worker processes let them do; a module that is imported fast, as each new worker has to."""

import ctypes
import os
import time
from pathlib import Path

import psutil
import torch

from spineseg.config import ClusterConfig
from spineseg.data import parallel
from spineseg.errors import CaseError


def double(index):
    return 2 * index


def wait(job):
    """Leave a file that says which process took which case, then take a while."""
    folder, index, seconds = job
    (Path(folder) / f"{index}-{os.getpid()}").touch()
    time.sleep(seconds)
    return index


def failing_on_one(index):
    if index == 1:
        raise CaseError("bad", f"case {index}", "this", "that", "do something")
    return index


def raising(index):
    if index == 2:
        raise ZeroDivisionError("a fault of the program")
    return index


def running_out(index):
    return next(iter(())) if index == 0 else index


def dying_once(job):
    folder, index = Path(job[0]), job[1]
    if index == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(9)
    return index * 2


def dying_always(index):
    if index == 2:
        os._exit(9)
    return index


def hanging(index):
    if index == 2:
        time.sleep(600)
    if index == 3:
        ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock: nothing in that process moves any more
    return index


def surroundings(_):
    names = ("SPINESEG_HOME", "SPINESEG_REALCT")
    return os.getpid(), torch.get_num_threads(), [os.environ.get(name) for name in names]


def listening(_):
    """Addresses at which this process and the one that shares out the cases listen."""
    me = psutil.Process()
    found = [me, next(p for p in (me, *me.parents()) if "pytest" in " ".join(p.cmdline()))]
    return {c.laddr.ip for p in found for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def wait_or_not(index):
    time.sleep(1.5 * (index == 2))
    return index


def nested(index):
    return parallel.map_cases(double, [0, index], cluster=ClusterConfig(workers=2), title="", progress=False)


def prepare(config, home):
    from spineseg.data.store import prepare_cohort

    os.environ["SPINESEG_HOME"] = home
    prepare_cohort(config, progress=False)
