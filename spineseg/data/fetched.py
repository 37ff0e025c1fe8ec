"""What the ledger of a fetched folder says of its files; `fetch.ledger` writes it, whoever reads a scan asks it."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

LEDGER = ".spineseg-ledger.jsonl"


class Entry(NamedTuple):
    """What the ledger says about one file."""

    size: int  # bytes
    sha256: str


def recorded(path) -> str | None:
    """The sha256 that a file was fetched with; None where no folder above it was fetched, or without this file."""
    path = Path(path).absolute()
    for place in dict.fromkeys((path, Path(os.path.realpath(path)))):  # a link may lead into such a folder
        for root in place.parents:
            try:
                status = (root / LEDGER).stat()
            except OSError:
                continue
            entry = _entries(root, status.st_mtime_ns, status.st_size).get(place.relative_to(root).as_posix())
            return entry.sha256 if entry else None
    return None


@lru_cache(maxsize=4)
def _entries(root: Path, _changed: int, _size: int) -> dict[str, Entry]:
    return parse(root)[1]


def parse(folder: Path) -> tuple[str | None, dict[str, Entry], dict | None, list[int]]:
    """Origin, entries, last line if it ends the ledger, and the numbers of damaged lines."""
    try:
        lines = (folder / LEDGER).read_bytes().splitlines()
    except OSError:
        return None, {}, None, []
    origin, entries, end, damaged = None, {}, None, []
    for number, line in enumerate(lines, 1):
        try:
            match json.loads(line):
                case {"origin": str(found)} if number == 1:
                    origin = found
                case {"name": str(name), "size": int(size), "sha256": str(sha256)} if _is_inside(name):
                    entries[name], end = Entry(size, sha256), None
                case {"files": int(), "holds": str(holds)} as found if _is_inside(holds):
                    end = found
                case _:
                    damaged.append(number)
        except (ValueError, RecursionError):
            damaged.append(number)
    return origin, entries, end, damaged


def _is_inside(name: str) -> bool:
    return not name.startswith(("/", "\\")) and ".." not in name.split("/") and ":" not in name and "\0" not in name
