"""A data set from Kaggle, through its own library; whatever that says is scrubbed of the login first."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from spineseg.data.fetch import ledger, lock
from spineseg.data.fetch.credentials import HOW, Secrets, kaggle_secrets
from spineseg.data.fetch.folder import write_error
from spineseg.data.fetch.sources import Source
from spineseg.data.fetch.transfer import AGAIN, Patience
from spineseg.data.fetch.unpacking import holder
from spineseg.data.resources import need_space
from spineseg.errors import CaseError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
LONGEST = 300  # characters of the library's message that are shown


class Trouble(NamedTuple):
    """Why a call to the library failed, in words without secrets."""

    text: str
    status: int | None  # of HTTP
    is_temporary: bool


def download(source: Source, folder: Path, *, patience: Patience, progress: bool) -> Path:
    """Download a Kaggle data set into `<folder>/<source.name>` and note every file in a ledger.

    Args:
        source: With a Kaggle handle.
        folder: An existing folder.
        patience: How often the library is called again after a broken connection, and after what wait.
        progress: Show a bar while files are hashed.

    Returns:
        The folder that holds the data.

    Raises:
        CaseError: If a credentials file is open to others, the library is missing, the service refuses, or files are
            other than at the first fetch.
    """
    cache = folder / source.name
    if (holds := ledger.finished(cache, source.kaggle)) is not None:
        lock.hold(cache)
        return cache / holds
    secrets, is_damaged = kaggle_secrets(), bool(ledger.missing(cache, source.kaggle))
    if not cache.exists():
        need_space(folder, source.least_bytes, "the data")
    for failures in range(1, patience.attempts + 1):
        outcome = _call(source.kaggle, cache, secrets, force=is_damaged)
        if isinstance(outcome, CaseError):
            raise outcome
        if isinstance(outcome, Path):
            done = {} if is_damaged else ledger.read(cache, source.kaggle)
            return _noted(outcome, cache, source.kaggle, done, progress)
        if not outcome.is_temporary or failures == patience.attempts:
            break
        patience.sleep(min(patience.first_wait_s * 2 ** (failures - 1), patience.longest_wait_s))
    raise _refusal(outcome, source, cache, secrets)


def _call(handle: str, cache: Path, secrets: Secrets, *, force: bool) -> Path | Trouble | CaseError:
    # the library's exception may carry the login: it ends here, and no later error has it as its context
    try:
        settings = {"KAGGLEHUB_CACHE": str(cache), "DISABLE_KAGGLE_CACHE": "1", "DISABLE_COLAB_CACHE": "1"}
        with _environment(settings), secrets.kept_out_of_logs():
            import kagglehub

            return Path(kagglehub.dataset_download(handle, force_download=force)).absolute()
    except ImportError:
        return Trouble("the package kagglehub is not installed", None, False)
    except Exception as error:  # whatever the library raises
        if isinstance(error, OSError) and error.errno in DISK:
            return write_error(cache, error)
        status = getattr(getattr(error, "response", None), "status_code", None)
        if type(error).__name__ == "UnauthenticatedError":
            status = 401
        is_broken = status is None and _is_network(error)
        text = " ".join(secrets.scrub(f"{type(error).__name__}: {error}").split())
        return Trouble(text[:LONGEST], status, is_broken or status == 429 or (status or 0) >= 500)


def _is_network(error: Exception) -> bool:
    import requests
    import urllib3

    network = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, (*network, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError))


def _refusal(trouble: Trouble, source: Source, cache: Path, secrets: Secrets) -> CaseError:
    expected = f"the Kaggle data set {source.kaggle}"
    if trouble.status in (401, 403):
        remedy = "make a new token at kaggle.com/settings" if secrets else HOW
        return CaseError("kaggle-refused", cache, f"Kaggle refuses ({trouble.text})", expected, remedy)
    if trouble.is_temporary:
        return CaseError("no-connection", cache, trouble.text, expected, AGAIN)
    remedy = f"look at kaggle.com/datasets/{source.kaggle}, and run pip install --upgrade kagglehub"
    return CaseError("kaggle", cache, trouble.text, expected, remedy)


def _noted(data: Path, cache: Path, handle: str, done: Container[str], progress: bool) -> Path:
    """Hash every file once and hold it to the lock of the first fetch; Kaggle publishes no checksum to compare with."""
    if not data.is_relative_to(cache):
        raise CaseError("kaggle", data, "the library put the data elsewhere", f"a folder in {cache}", "report this")
    files = sorted(path for path in data.rglob("*") if path.is_file() and not path.is_symlink())
    names = [path.relative_to(cache).as_posix() for path in files]
    with ledger.writing(cache, handle) as note:
        for path, name in tqdm(list(zip(files, names, strict=True)), desc="hashing", disable=not progress, delay=1.0):
            if name not in done:
                note(name, *_hashed(path))
    holds = holder(data)
    ledger.finish(cache, handle, holds, names)
    lock.hold(cache)
    return holds


def _hashed(path: Path) -> tuple[int, str]:
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise write_error(path, error) from None


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
