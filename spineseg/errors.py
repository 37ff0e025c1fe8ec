"""Errors that name what was found and the remedy: of one bad case, and of a training that had to end."""

from __future__ import annotations

import signal

CASE_ERROR, USER_ERROR, MEMORY_ERROR, SIGNALLED = 1, 2, 3, 128  # exit statuses; the last plus a signal's number


class CaseError(Exception):
    """One case cannot be used; the others go on.

    Survives pickling, so that a worker process can hand it back.

    Args:
        code: Short stable identifier of the kind of fault, such as `"gzip-truncated"`.
        path: The file that it was found in.
        found: What the file holds.
        expected: What it should hold.
        remedy: What the user can do about it.
    """

    def __init__(self, code: str, path, found: str, expected: str, remedy: str):
        super().__init__(code, str(path), found, expected, remedy)
        self.code, self.path, self.found, self.expected, self.remedy = code, str(path), found, expected, remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.found}; expected {self.expected}; {self.remedy} [{self.code}]"


class Interrupted(Exception):
    """A training was asked to stop and did, with a checkpoint to go on from.

    Attributes:
        signum: The signal.
    """

    def __init__(self, where: str, signum: int):
        super().__init__(where, signum)
        self.where, self.signum = where, signum

    def __str__(self) -> str:
        name = signal.Signals(self.signum).name
        return f"{self.where}: stopped by {name}; say the same again to go on from there"


class MissingExtra(RuntimeError):
    """A choice needs packages that are installed only when asked for.

    Args:
        what: The choice, such as `architecture 'swin'`.
        package: The first one that is missing.
        extra: Name of the extra in `pyproject.toml` that brings them.
    """

    def __init__(self, what: str, package: str, extra: str):
        super().__init__(f"{what} needs {package}, which is not installed: python -m pip install -e '.[{extra}]'")


class OutOfMemory(Exception):
    """A training step did not fit; the last checkpoint is whole."""
