"""Work beside the calling thread: a function that can be left behind, a coroutine that Ctrl-C ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine

CLOSING_S = 20.0  # until a cancelled coroutine has to have cleaned up


def in_thread(function: Callable, *arguments) -> asyncio.Future:
    """Call a function in a thread of its own, which does not keep the process alive.

    Returns:
        A future of the running loop with the function's result or exception.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(method, value) -> None:
        if not future.done():
            method(value)

    def work() -> None:
        try:
            outcome = future.set_result, function(*arguments)
        except BaseException as error:
            outcome = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, daemon=True).start()
    return future


def run_aside(work: Coroutine) -> None:
    """Run a coroutine to its end in a thread, since a notebook's kernel has a running loop in this one.

    Raises:
        BaseException: What the coroutine raises; or what interrupts the waiting, such as Ctrl-C, after the coroutine
            was cancelled and has cleaned up.
    """
    state: dict = {}

    async def main() -> None:
        state["loop"], state["task"] = asyncio.get_running_loop(), asyncio.current_task()
        if "interrupted" in state:
            work.close()
        else:
            await work

    def target() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            state["error"] = error
        finally:
            over.set()

    over = threading.Event()  # Thread.join takes a thread for ended once Ctrl-C has interrupted it (Python 3.11, 3.12)
    threading.Thread(target=target, daemon=True).start()
    try:
        while not over.wait(0.1):  # without a limit Windows would not see Ctrl-C
            pass
    except BaseException:
        state["interrupted"] = True
        if "task" in state:
            with contextlib.suppress(RuntimeError):  # just over
                state["loop"].call_soon_threadsafe(state["task"].cancel)
        over.wait(CLOSING_S)
        raise
    if "error" in state:
        raise state["error"]
