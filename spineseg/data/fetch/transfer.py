"""One file over HTTP: goes on where a broken connection left off, and gets its name only when its checksum is right."""

from __future__ import annotations

import email.utils
import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from tqdm import tqdm

from spineseg.data.fetch.partial import STEP, Part
from spineseg.data.resources import need_space, size_text
from spineseg.errors import CaseError

AGAIN = "run the same command again later; it goes on from there"
REDIRECTS = (301, 302, 303, 307, 308)
TEMPORARY = (408, 425, 429)  # of the 4xx; all others will not change by asking again
REMEDIES = {
    401: "the server wants a login, which a public file does not: look at its page in a browser",
    403: "the server refuses this machine: look at the file's page in a browser, or use another network",
    404: "the file is not there any more: look at its page in a browser, and update spineseg",
    410: "the file was withdrawn: look at its page in a browser, and update spineseg",
}


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    attempts: int = 8  # in a row without progress
    first_wait_s: float = 2.0  # doubled after each of them
    longest_wait_s: float = 120.0  # also of what the server asks for
    connect_s: float = 20.0
    read_s: float = 60.0  # within it `least_bytes` must come
    least_bytes: int = 64 << 10  # that count as progress
    redirects: int = 5
    sleep: Callable[[float], None] = time.sleep


class Session(requests.Session):
    """Leaves redirects to us: requests would read their body into memory, and follow them to anywhere."""

    def get_redirect_target(self, resp) -> None:
        """No redirect is followed or looked at."""
        return None


class Dropped(Exception):
    """An attempt that may go better the next time."""

    def __init__(self, code: str, found: str, wait_s: float | None = None):
        super().__init__(found)
        self.code, self.found, self.wait_s = code, found, wait_s


def download(
    url: str,
    final: Path,
    *,
    md5: str,
    size: int | None = None,
    at_most: int,
    patience: Patience | None = None,
    progress: bool = True,
) -> Path:
    """Download one file into an existing folder, or the rest of it if an earlier attempt was cut.

    Args:
        url: https, or http on this machine.
        final: Where the file goes. Until the checksum is right its bytes are in `<final>.part`.
        md5: Expected checksum, in hexadecimal.
        size: Expected bytes; None if they are not known.
        at_most: Bytes after which an endless answer is given up, if `size` is not known.
        patience: How long to wait, and how often.
        progress: Show a bar.

    Returns:
        `final`.

    Raises:
        CaseError: If the server refuses, answers with something else, or stays away; if the disk is full; if the
            checksum is wrong. What was received is kept, but not after a wrong checksum.
    """
    patience = patience or Patience()
    with Part(final, md5=md5, size=size, progress=progress) as part, Session() as session:
        session.auth = _no_login
        shown = {"desc": final.name, "unit": "B", "unit_scale": True, "disable": not progress}
        with tqdm(total=part.total, initial=part.size, **shown) as bar:
            _until_complete(session, url, part, at_most if size is None else size, patience, bar)
        return part.finish()


def _until_complete(session, url: str, part: Part, at_most: int, patience: Patience, bar: tqdm) -> None:
    failures, furthest = 0, part.size
    while not part.is_complete:
        try:
            with _ask(session, url, part, patience) as response:
                return _receive(response, part, at_most, patience, bar)
        except Dropped as error:
            dropped = error
        # measured from the furthest point ever reached: a server that starts again each time makes no progress
        if part.size - furthest >= patience.least_bytes:
            failures, furthest = 0, part.size
        failures += 1
        bar.set_postfix_str(f"try {failures + 1}: {dropped.found}"[:60])
        if failures >= patience.attempts:
            kept = f"{size_text(part.size)} of {size_text(part.total) if part.total else 'an unknown size'} received"
            found = f"{dropped.found}, {failures} times in a row; {kept}"
            raise CaseError(dropped.code, part.final, found, f"the file from {_shown(url)}", AGAIN)
        wait_s = patience.first_wait_s * 2 ** (failures - 1) if dropped.wait_s is None else dropped.wait_s
        patience.sleep(min(wait_s, patience.longest_wait_s))


def _ask(session, url: str, part: Part, patience: Patience) -> requests.Response:
    """The server's answer after redirects, its body unread."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "spineseg"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.etag and not part.etag.startswith("W/"):  # a weak one does not promise equal bytes
            headers["If-Range"] = part.etag
    first = url
    for _ in range(patience.redirects + 1):
        _refuse_unsafe(url, first, part.final)
        try:
            timeout = (patience.connect_s, patience.read_s)
            response = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=timeout)
        except requests.RequestException as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                remedy = "check this machine's clock, or ask your network's administrator"
                found = f"the certificate of {urlsplit(url).hostname} is not valid"
                raise CaseError("certificate", part.final, found, "a trusted server", remedy) from None
            raise Dropped("no-connection", f"no answer from {_shown(url)} ({type(error).__name__})") from None
        if response.status_code not in REDIRECTS:
            return response
        response.close()
        url = _joined(url, response.headers.get("Location", ""))
    found, remedy = f"more than {patience.redirects} redirects", "look at the file's page in a browser"
    raise CaseError("redirect", part.final, found, f"the file from {_shown(first)}", remedy)


def _receive(response, part: Part, at_most: int, patience: Patience, bar: tqdm) -> None:
    """Append the body to the part.

    Raises:
        Dropped: If it ended early or does not fit; then the part holds what can be gone on from, or nothing.
        CaseError: If asking again would not help.
    """
    if response.status_code == 416 and part.size:
        if _range(response)[2] == part.size and part.pinned in (None, part.size):
            return  # nothing was missing but the knowledge of it
        part.restart()
        raise Dropped("range", "the server cannot go on where the last attempt ended")
    _refuse_status(response, part.final, patience)
    if "html" in response.headers.get("Content-Type", "").lower():
        raise _web_page(response, part.final)
    total = _matched_total(response, part)
    if (total or 0) > at_most:
        found, expected = f"a file of {size_text(total)}", f"one of at most {size_text(at_most)}"
        raise CaseError("wrong-size", part.final, found, expected, "update spineseg")
    need_space(part.final.parent, (total or at_most) - part.size, part.final.name)
    part.belongs_to(response.headers.get("ETag", ""), total)
    bar.total = total
    for chunk in _chunks(response, patience):
        if part.size == 0 and chunk.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise _web_page(response, part.final)
        part.append(chunk)
        if part.size > (at_most if total is None else total):
            part.restart()
            raise Dropped("wrong-size", "the server sends more bytes than the file has")
        bar.update(part.size - bar.n)
    if total is not None and part.size < total:
        raise Dropped("dropped", "the connection ended early")


def _chunks(response, patience: Patience):
    """Bytes as they come. A trickle too thin to ever end counts as a dropped connection."""
    since, received = time.monotonic(), 0
    while True:
        try:
            chunk = response.raw.read1(STEP, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Dropped("dropped", f"the connection broke ({type(error).__name__})") from None
        if not chunk:
            return
        yield chunk
        received += len(chunk)
        if (now := time.monotonic()) - since > patience.read_s:
            if received < patience.least_bytes:
                raise Dropped("dropped", f"only {size_text(received)} came within {patience.read_s:.0f} s")
            since, received = now, 0


def _matched_total(response, part: Part) -> int | None:
    """Bytes of the whole file; the part is emptied if the answer does not go on from it."""
    etag = response.headers.get("ETag", "")
    if response.status_code == 200:  # also in reply to a range: then the file changed, or the server knows no ranges
        part.restart()
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isascii() and length.isdigit() else None
    else:
        first, last, total = _range(response)
        total = part.total if total is None else total
        same_file = part.total in (None, total) and (not (etag and part.etag) or etag == part.etag)
        goes_on = part.size > 0 and first == part.size and (total is None or last == total - 1)
        if not (same_file and goes_on):
            part.restart()
            header = response.headers.get("Content-Range", "no range")[:60]
            raise Dropped("range", f"the server answers with another part of the file, or another file ({header!r})")
    if part.pinned is not None and total not in (None, part.pinned):
        raise Dropped("wrong-size", f"the server has a file of {total} bytes in place of {part.pinned}")
    return total if part.pinned is None else part.pinned


def _range(response) -> tuple[int | None, int | None, int | None]:
    """First byte, last byte and total of a Content-Range; None where the server does not say."""
    header = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", header.strip(), re.ASCII)
    if not found:
        return None, None, None
    first, last, total = (int(text) if text and text != "*" else None for text in found.groups())
    return first, last, total


def _refuse_status(response, path: Path, patience: Patience) -> None:
    status = response.status_code
    if status in TEMPORARY or status >= 500:
        raise Dropped(f"http-{status}", f"the server says {status}", _retry_after(response))
    if status >= 400:
        remedy = REMEDIES.get(status, "look at the file's page in a browser, and update spineseg")
        raise CaseError(
            f"http-{status}", path, f"the server says {status}", f"the file from {_shown(response.url)}", remedy
        )
    if status not in (200, 206):
        raise Dropped(f"http-{status}", f"the server says {status}")


def _retry_after(response) -> float | None:
    """Seconds that the server asks to wait, None if it does not."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _refuse_unsafe(url: str, first: str, path: Path) -> None:
    """Only https; http only from this machine to itself."""
    if urlsplit(url).scheme == "https" or (_is_here(url) and _is_here(first)):
        return
    found = f"a redirect to {_shown(url)}" if url != first else f"the address {_shown(url)}"
    raise CaseError("redirect", path, found, "an https address", "look at the file's page in a browser")


def _joined(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
        return joined if urlsplit(joined).hostname else ""
    except ValueError:
        return ""  # which is refused as not https


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _web_page(response, path: Path) -> CaseError:
    remedy = "log in to your network if it asks for that, or look at the file's page in a browser"
    return CaseError("web-page", path, f"a web page from {_shown(response.url)}", "the archive", remedy)


def _shown(url: str) -> str:
    parts = urlsplit(url)  # without the query and any login, which may be secret
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"[:200]


def _no_login(request):
    return request  # so that no login from a .netrc file is sent along
