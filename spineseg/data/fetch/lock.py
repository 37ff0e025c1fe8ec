"""What a data set without published checksums held when it was first fetched: other bytes are refused from then on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from spineseg.data import atomic
from spineseg.data.fetch.folder import write_error
from spineseg.data.fetched import parse
from spineseg.errors import CaseError

NAMED = 5  # files that an error lists


def lock_file(data: Path) -> Path:
    """Where the hashes of a data set's first fetch are kept: beside its folder, so that deleting that is no pardon."""
    return data.with_name(f"{data.name}.lock.json")


def hold(data: Path) -> None:
    """Lock what was fetched, or compare it with the lock.

    Args:
        data: Folder with a finished ledger. Names count below the folder that all files share: where the publisher's
            version stands in a path, equal files of another version are equal.

    Raises:
        CaseError: If a file is another, new or gone; the folder then gets a name under which nobody looks for data.
    """
    lock, entries = lock_file(data), parse(data)[1]
    shared = os.path.commonpath(entries) if entries else ""
    found = {name.removeprefix(shared).lstrip("/"): entry.sha256 for name, entry in entries.items()}
    try:
        locked = json.loads(lock.read_text(encoding="utf-8"))
        if not isinstance(locked, dict):
            raise ValueError
    except FileNotFoundError:
        _write(lock, found)
        return
    except (OSError, ValueError):
        expected, remedy = "the hashes of the first fetch", "restore it, or delete it to trust what is there now"
        raise CaseError("lock-damaged", lock, "a file that is no lock", expected, remedy) from None
    changed = sorted(name for name in found.keys() | locked.keys() if found.get(name) != locked.get(name))
    if changed:
        refused = data.with_name(f"{data.name}.refused")
        try:
            shutil.rmtree(refused, ignore_errors=True)
            os.replace(data, refused)
        except OSError as error:
            raise write_error(refused, error) from None
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        what = f"{len(changed)} files that are changed, new or gone: {', '.join(map(ascii, changed[:NAMED]))}{more}"
        remedy = f"ask the publisher what changed; to trust it, delete {lock.name} and rename the folder {data.name}"
        raise CaseError("lock", refused, what, f"the {len(locked)} files of {lock.name}", remedy)


def _write(lock: Path, found: dict[str, str]) -> None:
    try:
        atomic.write_text(lock, json.dumps(found, indent=0, sort_keys=True) + "\n")
    except OSError as error:
        raise write_error(lock, error) from None
