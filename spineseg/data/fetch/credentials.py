"""Logins, found where they belong and nowhere else, and kept out of every text that people or files see."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from spineseg.errors import CaseError

HOW = (
    "set KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN, in the environment, or save the file that "
    "kaggle.com/settings offers as ~/.kaggle/kaggle.json and chmod 600 it"
)
HIDDEN = "<hidden>"
LOGIN = re.compile(r"token|secret|passw|credential|api_?key|(^|[._])key$", re.IGNORECASE)  # in names of parameters


class Secrets:
    """Values that must not be seen. They can be taken out of a text, but not read back from here by accident.

    Args:
        values: The secrets, and whatever is made of them.
    """

    __slots__ = ("_values",)

    def __init__(self, *values: str):
        forms = {form for value in values if value for form in (value, quote(value), quote(value, safe=""))}
        self._values = tuple(sorted(forms, key=len, reverse=True))

    def __repr__(self) -> str:
        return f"Secrets({HIDDEN if self._values else ''})"

    def __reduce__(self):
        raise TypeError("secrets are not pickled")

    def __bool__(self) -> bool:
        return bool(self._values)

    def scrub(self, text: str) -> str:
        """The text without the secrets."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return text

    @contextlib.contextmanager
    def kept_out_of_logs(self) -> Iterator[None]:
        """Scrub every log record that any library makes inside the block."""
        make = logging.getLogRecordFactory()

        def scrubbed(*args, **kwargs):
            record = make(*args, **kwargs)
            try:
                text = record.getMessage()
            except (TypeError, ValueError, KeyError):
                text = f"{record.msg} {record.args}"
            record.msg, record.args = self.scrub(text), None
            if record.exc_info:
                record.exc_text = self.scrub("".join(traceback.format_exception(*record.exc_info)))
                record.exc_info = None
            return record

        logging.setLogRecordFactory(scrubbed)
        try:
            yield
        finally:
            logging.setLogRecordFactory(make)


def kaggle_secrets() -> Secrets:
    """The login that kagglehub will use, looked up in its own order: environment before file, token before key.

    Returns:
        What must be hidden; empty if there is no login, which public data do not need.

    Raises:
        CaseError: If the file in question can be read by others, or cannot be read as what it is.
    """
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token and not _is_file(token):
        return Secrets(token)
    home = Path.home() / ".kaggle"
    for path in [Path(token)] if token else [home / "access_token", home / "access_token.txt"]:
        if path.is_file() and (text := _private_text(path).strip()):
            return Secrets(text)
    user, key = os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", "")
    if user and key:
        return Secrets(key, _basic(user, key))
    path = Path(os.environ.get("KAGGLE_CONFIG_DIR") or home) / "kaggle.json"
    if not path.is_file():
        return Secrets()
    if (secrets := _legacy(path)) is None:
        found, expected = "not the file that Kaggle offers", "JSON with username and key"
        raise CaseError("credentials", path, found, expected, "save it again from kaggle.com/settings")
    return secrets


def refuse_logins(parameters: Mapping[str, object]) -> None:
    """Refuse parameters that are a login: an executed notebook and the report's provenance print all of them.

    Args:
        parameters: Values by name.

    Raises:
        ValueError: If a name, also one inside a value, says that it is one, or a value holds the login of this machine.
            The value is not shown.
    """
    known = Secrets()
    with contextlib.suppress(CaseError):  # a file that cannot be used is no matter of a report
        known = kaggle_secrets()
    for name, value in parameters.items():
        inside = map(str, value) if isinstance(value, Mapping) else re.findall(r"[\w.]+(?=[\"']?\s*:)", str(value))
        text = f"{name} {value}"
        if any(map(LOGIN.search, (name, *inside))) or known.scrub(text) != text:
            raise ValueError(f"parameter {known.scrub(name)!r} is a login, which the report would print; {HOW}")


def _legacy(path: Path) -> Secrets | None:
    text = _private_text(path)
    try:
        values = json.loads(text)
        user, key = str(values["username"]), str(values["key"])
    except (ValueError, KeyError, TypeError):
        return None  # an error raised here would carry the text along
    return Secrets(key, _basic(user, key))


def _private_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        if os.name != "nt" and mode & 0o077:
            found = f"mode {mode:04o}: others on this machine can read it"
            raise CaseError("credentials-mode", path, found, "mode 0600", f"chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        found = "cannot be read"
    raise CaseError("credentials", path, found, "a text file of yours", "save it again from kaggle.com/settings")


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a token is too long for a name
        return False


def _basic(user: str, key: str) -> str:
    return base64.b64encode(f"{user}:{key}".encode()).decode()
