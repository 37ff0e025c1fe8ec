"""Work done by processes side by side, each of which keeps what it has imported; killed at the end of the time."""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Callable, Iterable, Iterator

LOOK_S = 5.0  # between two looks at whether all processes are alive


class Workers:
    """Processes that take one job after the other.

    Args:
        count: How many; 1: no process, the caller does the work.
    """

    def __init__(self, count: int):
        self.processes: list = []
        if count == 1:
            return
        context = multiprocessing.get_context("spawn")  # what CUDA needs
        self.jobs, self.answers = context.Queue(), context.Queue()
        self.processes = [
            context.Process(target=_serve, args=(self.jobs, self.answers), daemon=True) for _ in range(count)
        ]
        for process in self.processes:
            process.start()

    def each(self, function: Callable, jobs: Iterable, *, until: float = float("inf")) -> Iterator:
        """Answers as they come, in any order.

        Args:
            function: Of one job, importable by name; must not raise.
            jobs: Taken in their order.
            until: On `time.monotonic`; nothing is begun or given after it.

        A job whose process died has no answer.
        """
        jobs = list(jobs)
        if not self.processes:
            for job in jobs:
                if time.monotonic() >= until:
                    return
                yield function(job)
            return
        for job in jobs:
            self.jobs.put((function, job))
        waiting = len(jobs)
        while waiting > sum(not process.is_alive() for process in self.processes):
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                answer = self.answers.get(timeout=min(LOOK_S, left))
            except queue.Empty:
                continue
            waiting -= 1
            yield answer

    def kill(self) -> None:
        """End the processes at once, whatever they are at."""
        for process in self.processes:
            process.kill()
        if self.processes:
            self.jobs.cancel_join_thread()


def _serve(jobs, answers) -> None:
    while True:
        function, job = jobs.get()
        answers.put(function(job))
