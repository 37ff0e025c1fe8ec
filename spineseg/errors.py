"""The error that one bad case causes: it names the file, what was found, what was expected and the remedy."""

from __future__ import annotations


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
