import asyncio
import concurrent.futures
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import dask
import distributed
import jobs
import psutil
import pytest

from spineseg.config import ClusterConfig, Config
from spineseg.data import parallel
from spineseg.errors import CaseError

IN_PROCESS = dict(
    threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0", silence_logs=50
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Worker processes take over from the first case on."""
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler that somebody else started, with two workers under nannies."""
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
    ):
        yield cluster.scheduler_address


def workers_left():
    """Processes that this one's server forked and that still live."""
    found = [p for p in psutil.Process().children(recursive=True) if p.ppid() != os.getpid()]
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]


def spread(function, items, **cluster):
    return parallel.map_cases(function, items, cluster=ClusterConfig(**cluster), title="cases", progress=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert spread(jobs.double, range(20), workers=workers) == [2 * i for i in range(20)]
    assert spread(jobs.double, [], workers=workers) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_case_is_returned_as_its_error_and_the_others_go_on(workers):
    first, second, third = spread(jobs.failing_on_one, range(3), workers=workers)
    assert (first, third) == (0, 2) and isinstance(second, CaseError) and second.remedy == "do something"


def test_another_exception_is_raised_and_ends_the_workers():
    with pytest.raises(ZeroDivisionError, match="a fault of the program"):
        spread(jobs.raising, range(6), workers=2)
    assert not workers_left()


def test_short_work_stays_in_this_process(monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 5.0)
    assert {pid for pid, _, _ in spread(jobs.surroundings, range(8), workers=2)} == {os.getpid()}


def test_a_first_case_that_hangs_here_stops_no_other(monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.3)
    results = spread(jobs.hanging, [2, 0, 1], workers=2, case_timeout_s=1.2)
    assert results[1:] == [0, 1] and results[0].code == "timeout" and "goes on" in str(results[0])


def test_a_worker_that_dies_loses_no_case(tmp_path):
    with pytest.warns(UserWarning, match="cases: a worker process died once and its case was repeated"):
        results = spread(jobs.dying_once, [(str(tmp_path), i) for i in range(8)], workers=2)
    assert results == [2 * i for i in range(8)] and (tmp_path / "died").exists()


def test_a_worker_that_is_killed_from_outside_loses_no_case_and_only_its_own_is_done_again(tmp_path):
    items = [(str(tmp_path), i, 0.25) for i in range(12)]

    def kill_the_worker_of(index):
        while not (taken := list(tmp_path.glob(f"{index}-*"))):
            time.sleep(0.01)
        os.kill(int(taken[0].name.split("-")[1]), signal.SIGKILL)

    with concurrent.futures.ThreadPoolExecutor() as pool, pytest.warns(UserWarning, match="2 times"):
        kills = [pool.submit(kill_the_worker_of, index) for index in (3, 8)]
        assert spread(jobs.wait, items, workers=2) == list(range(12))
        assert [kill.result() for kill in kills] == [None, None]
    taken = sorted(int(path.name.split("-")[0]) for path in tmp_path.iterdir())
    assert taken == sorted([*range(12), 3, 8])


def test_a_case_that_always_ends_its_worker_is_named_and_the_others_go_on():
    with pytest.warns(UserWarning, match="died once"):
        results = spread(jobs.dying_always, range(6), workers=2, deaths_per_case=2)
    assert [r for r in results if not isinstance(r, CaseError)] == [0, 1, 3, 4, 5]
    assert results[2].code == "worker-died" and "2 times" in results[2].found and "memory" in results[2].remedy


def test_a_case_that_hangs_is_given_up_even_with_the_interpreters_lock_held():
    started = time.perf_counter()
    results = spread(jobs.hanging, range(8), workers=2, case_timeout_s=0.8)
    assert [r for r in results if not isinstance(r, CaseError)] == [0, 1, 4, 5, 6, 7]
    assert [r.code for r in results[2:4]] == ["timeout", "timeout"] and "0.8 s" in results[2].found
    assert time.perf_counter() - started < 10 and not workers_left()


def test_workers_have_this_process_s_folders_and_one_thread_and_leave_no_trace_here(monkeypatch, tmp_path):
    before, spec = dict(os.environ), sys.modules["__main__"].__spec__
    for home in ("a", "b"):
        monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / home))
        monkeypatch.setenv("SPINESEG_REALCT", str(tmp_path / f"real-{home}"))
        found = [f[1:] for f in spread(jobs.surroundings, range(6), workers=2) if f[0] != os.getpid()]
        assert found and all(f == (1, [str(tmp_path / home), str(tmp_path / f"real-{home}")]) for f in found)
    monkeypatch.undo()
    assert dict(os.environ) == before and sys.modules["__main__"].__spec__ is spec


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_that_no_future_can_carry_is_raised_all_the_same(workers):
    with pytest.raises(RuntimeError, match="running_out raised StopIteration"):
        spread(jobs.running_out, range(3), workers=workers)


def test_nothing_listens_beyond_this_machine():
    assert set.union(*spread(jobs.listening, range(4), workers=2)) == {"127.0.0.1"}


def test_an_existing_scheduler_is_used_and_given_the_folders(scheduler, monkeypatch, tmp_path):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    found = [f for f in spread(jobs.surroundings, range(9), scheduler=scheduler, workers=1) if f[0] != os.getpid()]
    assert len({pid for pid, _, _ in found}) == 2 and {f[2][0] for f in found} == {str(tmp_path)}


def test_on_an_existing_scheduler_bad_fatal_and_endless_cases_stop_no_other(scheduler):
    assert [str(r)[:4] for r in spread(jobs.failing_on_one, range(3), scheduler=scheduler)] == ["0", "case", "2"]
    with pytest.warns(UserWarning, match="died"):
        assert spread(jobs.dying_always, range(4), scheduler=scheduler)[2].code == "worker-died"
    results = spread(jobs.hanging, range(2, 7), scheduler=scheduler, case_timeout_s=0.8)
    assert [r.code for r in results[:2]] == ["timeout"] * 2 and results[2:] == [4, 5, 6]


def test_a_worker_that_nobody_replaces_is_said_to_be_so():
    with distributed.LocalCluster(**IN_PROCESS, n_workers=2) as cluster:
        results = spread(jobs.wait_or_not, range(4), scheduler=cluster.scheduler_address, case_timeout_s=0.5)
    assert results[:2] == [0, 1] and results[3] == 3 and "no nanny" in results[2].found


@pytest.mark.parametrize("kind", ["nobody", "silent", "nonsense"])
def test_a_scheduler_that_does_not_answer_is_one_clear_error(monkeypatch, kind):
    monkeypatch.setattr("spineseg.data.cluster.CONNECT_S", 0.7)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if kind == "nobody":
            server.close()
        started = time.perf_counter()
        with pytest.raises(CaseError, match="no dask scheduler answers.*start one with 'dask scheduler'") as caught:
            spread(jobs.double, range(9), scheduler="what:ever" if kind == "nonsense" else address)
    assert time.perf_counter() - started < 4 and "\n" not in str(caught.value)


def test_a_scheduler_without_a_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(parallel, "WORKERLESS_S", 0.5)
    monkeypatch.setattr(parallel, "LOOK_S", 0.1)
    with (
        distributed.LocalCluster(**IN_PROCESS, n_workers=0) as cluster,
        pytest.raises(CaseError, match="no worker for.*dask worker"),
    ):
        spread(jobs.double, range(9), scheduler=cluster.scheduler_address)


def test_a_scheduler_that_goes_away_is_one_clear_error(tmp_path, monkeypatch):
    with distributed.LocalCluster(**IN_PROCESS, n_workers=2) as cluster:
        monkeypatch.setattr("spineseg.data.cluster.CONNECT_S", 1.0)
        threading.Timer(0.5, cluster.close).start()
        with pytest.raises(CaseError, match="the connection was lost"):
            spread(jobs.wait, [(str(tmp_path), i, 0.1) for i in range(50)], scheduler=cluster.scheduler_address)


SCRIPT = """
import ctypes, sys, time
from spineseg.config import ClusterConfig, Config
from spineseg.data import parallel
parallel.WORTH_A_POOL_S = 0.0
factor = 3

def short(index):
    return factor * index

def long(index):
    if index == 2:
        ctypes.PyDLL(None).sleep(600)
    time.sleep(0.2)

for function in short, long:
    results = parallel.map_cases(function, range(9), cluster=ClusterConfig(workers=2), title="", progress=False)
    print(results, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="sessions of processes are POSIX")
def test_a_script_needs_no_guard_and_ctrl_c_ends_all_of_its_processes_without_noise(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command, pipe = [sys.executable, str(tmp_path / "script.py")], subprocess.PIPE
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores Ctrl-C
    options = {"start_new_session": True, "stdout": pipe, "stderr": pipe, "text": True, "preexec_fn": listen}
    process = subprocess.Popen(command, cwd=tmp_path, **options)
    assert process.stdout.readline().strip() == str([3 * i for i in range(9)])
    deadline = time.perf_counter() + 20
    while len(session_of(process)) < 5 and time.perf_counter() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    assert len(session_of(process)) == 5  # the script, a resource tracker, the server, two workers
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "" and err.strip().endswith("KeyboardInterrupt") and err.count("Traceback") == 1
    deadline = time.perf_counter() + 20
    while session_of(process) and time.perf_counter() < deadline:  # the server and the tracker see that it is gone
        time.sleep(0.05)
    assert process.returncode != 0 and not session_of(process)


def session_of(process):
    found = []
    for other in psutil.pids():
        try:
            found += [other] if os.getsid(other) == process.pid else []
        except ProcessLookupError:
            continue
    return found


def test_a_running_event_loop_is_no_obstacle():
    async def notebook():
        return spread(jobs.double, range(6), workers=2)

    assert asyncio.run(notebook()) == [0, 2, 4, 6, 8, 10]


def test_a_worker_process_does_the_work_itself():
    assert spread(jobs.nested, range(3), workers=2) == [[0, 0], [0, 2], [0, 4]]


@pytest.mark.parametrize(
    ("name", "value"), [("workers", 0), ("case_timeout_s", 0.0), ("deaths_per_case", 0), ("scheduler", "somewhere")]
)
def test_an_impossible_cluster_is_refused(name, value):
    with pytest.raises(ValueError, match=f"cluster.{name}"):
        Config.load(**{f"cluster.{name}": value})
