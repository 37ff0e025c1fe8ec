"""Ctrl-C and SIGTERM end a training after the step that it is in, with a checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType


class StopAsked(contextlib.AbstractContextManager):
    """From `listen` until it ends, signals are noted and not acted on; a Ctrl-C after one interrupts at once.

    A SIGTERM may come twice for one wish: a queue sends it to every process of a job, and torchrun hands on its own.

    Attributes:
        signum: Of the first signal; None while there was none.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.signum: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopAsked:
        if threading.current_thread() is threading.main_thread():  # elsewhere nobody may ask for signals
            self._before = {s: signal.getsignal(s) for s in self.SIGNALS}
        return self

    def listen(self) -> None:
        """Take the place of whatever handles the signals now."""
        for signum in self._before:
            signal.signal(signum, self._note)

    def __exit__(self, *_) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = self.signum or signum
