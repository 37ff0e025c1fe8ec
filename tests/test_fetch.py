import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import misbehaving_server as acts
import pytest
from made_files import error_of

from spineseg.data import fetch as package
from spineseg.data import resources
from spineseg.data.fetch import SOURCES, Source, fetch, folder, transfer, verify
from spineseg.data.fetch.transfer import Patience, download
from spineseg.errors import CaseError

FILES = {f"s{i:04}/ct.nii.gz": random.Random(i).randbytes(20_000 + 37 * i) for i in range(9)}


def zipped(files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


BODY = zipped(FILES)
SIZE, MD5 = len(BODY), hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server():
    with acts.serving(BODY) as running:
        yield running


@pytest.fixture
def waits():
    return []


@pytest.fixture
def patience(waits):
    return Patience(attempts=4, connect_s=2.0, read_s=2.0, least_bytes=1, sleep=waits.append)


@pytest.fixture
def get(server, patience, tmp_path):
    """Downloads the server's file; by default its size is known."""

    def run(size=SIZE, **changes):
        settings = {"md5": MD5, "at_most": 2 * len(BODY), "patience": patience, "progress": False} | changes
        return download(server.url, tmp_path / "archive.zip", size=size, **settings)

    return run


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


SIZES = pytest.mark.parametrize("size", [len(BODY), None], ids=["size known", "size unknown"])


@SIZES
def test_a_file_arrives_in_one_request_and_leaves_nothing_beside_it(get, server, tmp_path, size):
    assert get(size).read_bytes() == BODY
    assert server.ranges == [None] and left(tmp_path) == ["archive.zip"]


@SIZES
def test_connections_that_break_at_random_bytes_are_gone_on_from(get, server, size):
    rng = random.Random(7)
    cuts = [rng.randrange(1, 15_000) for _ in range(9)]  # more breaks than attempts, each with progress
    server.script = [acts.drops_after(cut) for cut in cuts]
    assert get(size).read_bytes() == BODY
    assert server.ranges == [None, *(f"bytes={sum(cuts[: i + 1])}-" for i in range(9))]
    assert all(headers["If-Range"] == '"one"' for headers in server.requests[1:])


def test_attempts_without_progress_are_counted_and_waits_double(get, server, waits, tmp_path):
    server.script = [acts.drops_after(5000), *[acts.drops_after(0)] * 9]
    error = error_of(get)
    assert error.code == "dropped" and "4 times in a row" in error.found and "5.00 kB" in error.found
    assert waits == [2, 4, 8]
    assert left(tmp_path) == ["archive.zip.part", "archive.zip.part.json"]
    server.script = []
    assert get().read_bytes() == BODY
    assert server.ranges[-1] == "bytes=5000-"


def test_a_server_that_starts_again_each_time_makes_no_progress(get, server):
    server.script = [lambda a: a.send(start=0, cut=3000)] * 50
    assert error_of(get).code == "dropped"
    assert len(server.requests) == 1 + 3


def test_a_server_that_ignores_ranges_starts_the_file_again(get, server):
    server.script = [acts.drops_after(9000), lambda a: a.send(start=0)]
    assert get().read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-"]


@SIZES
def test_a_file_that_changed_between_attempts_starts_again(get, server, size):
    new = BODY[::-1]

    def changes(answer):
        answer.send(cut=9000)
        answer.server.body, answer.server.etag = new, '"two"'

    server.script = [changes]
    assert get(size, md5=hashlib.md5(new).hexdigest()).read_bytes() == new
    assert server.requests[1]["If-Range"] == '"one"'


def test_a_changed_etag_on_a_partial_answer_starts_again(get, server):
    server.script = [acts.drops_after(9000), lambda a: a.send(headers={"ETag": '"two"'})]
    assert get().read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-", None]


def test_a_weak_etag_is_not_sent_as_a_condition(get, server):
    server.etag, server.script = 'W/"one"', [acts.drops_after(9000)]
    assert get().read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-"] and "If-Range" not in server.requests[1]


@pytest.mark.parametrize(
    "content_range",
    [f"bytes 0-{len(BODY) - 1}/{len(BODY)}", f"bytes 9000-9999/{len(BODY)}", f"bytes 9000-{len(BODY)}/{len(BODY) + 1}",
     "bytes 9000-", "bytes 9٣-9/9", "", None],
)  # fmt: skip
def test_a_content_range_that_does_not_go_on_starts_again(get, server, content_range):
    server.script = [acts.drops_after(9000), lambda a: a.send(headers={"Content-Range": content_range})]
    if content_range and not content_range.isascii():
        server.script[1] = lambda a: a.write(
            b"HTTP/1.1 206 x\r\nContent-Range: " + content_range.encode() + b"\r\nContent-Length: 1\r\n\r\nx"
        )
    assert get().read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-", None]


def test_a_partial_answer_nobody_asked_for_is_not_taken_for_the_file(get, server):
    server.script = [lambda a: a.send(start=100)]
    assert get().read_bytes() == BODY


def test_416_throws_away_what_the_server_cannot_go_on_from(get, server):
    server.script = [acts.drops_after(9000), acts.status(416)]
    assert get().read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-", None]


def test_416_says_that_a_file_of_unknown_size_was_complete(get, server, tmp_path):
    server.script = [lambda a: a.send(length=len(BODY) + 500)]  # lies, and closes
    assert get(None).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("lie", [-7000, 7000], ids=["shorter", "longer"])
class TestLength:
    def test_a_lie_about_a_known_size_is_asked_again(self, get, server, lie):
        server.script = [lambda a: a.send(length=len(BODY) + lie)] * 2
        assert get().read_bytes() == BODY
        assert server.ranges == [None] * 3

    def test_a_lasting_lie_is_refused_by_size(self, get, server, lie, tmp_path):
        server.script = [lambda a: a.send(length=len(BODY) + lie)] * 9
        error = error_of(get)
        assert error.code == "wrong-size" and str(len(BODY)) in error.found and str(len(BODY) + lie) in error.found
        assert "archive.zip" not in left(tmp_path)


def test_a_shorter_lie_about_an_unknown_size_does_not_pass_the_checksum(get, server, tmp_path):
    server.script = [lambda a: a.send(length=len(BODY) - 7000)]
    assert error_of(get, None).code == "checksum"
    assert left(tmp_path) == []


def test_more_bytes_than_the_file_has_are_thrown_away(get, server):
    server.script = [lambda a: a.send(200, BODY + b"more", length=None)]
    assert get().read_bytes() == BODY
    assert server.ranges == [None, None]


def test_an_endless_answer_is_given_up(get, server, tmp_path):
    server.script = [lambda a: a.send(200, BODY * 3, length=None)] * 9
    assert error_of(get, None).code == "wrong-size"
    assert (tmp_path / "archive.zip.part").stat().st_size == 0


def test_an_announced_file_that_is_far_too_big_is_not_begun(get, server):
    server.script = [lambda a: a.send(length=10**12)]
    assert error_of(get, None).code == "wrong-size"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("page", "kind"),
    [(b"log in", "text/html; charset=utf-8"), (b"<!DOCTYPE html><p>log in", "application/zip"),
     (b"\xef\xbb\xbf \n<html>", "application/zip")],
)  # fmt: skip
@SIZES
def test_a_web_page_is_refused_by_name(get, server, tmp_path, page, kind, size):
    page = page.ljust(len(BODY))
    server.script = [lambda a: a.send(200, page, headers={"Content-Type": kind})]
    error = error_of(get, size)
    assert error.code == "web-page" and "127.0.0.1" in error.found
    assert len(server.requests) == 1 and "archive.zip" not in left(tmp_path)


@pytest.mark.parametrize("code", [401, 403, 404, 410, 418])
def test_4xx_stops_at_once_with_a_remedy(get, server, waits, code):
    server.script = [acts.status(code)]
    error = error_of(get)
    assert error.code == f"http-{code}" and "browser" in error.remedy
    assert len(server.requests) == 1 and waits == []


@pytest.mark.parametrize("code", [500, 503, 429, 408])
def test_5xx_and_429_are_asked_again(get, server, waits, code):
    server.script = [acts.status(code)] * 2
    assert get().read_bytes() == BODY
    assert waits == [2, 4]


def test_a_server_that_stays_busy_is_given_up(get, server):
    server.script = [acts.status(503)] * 9
    assert error_of(get).code == "http-503"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("text", "wait"),
    [("7", 7), ("99999", 120), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("Sat, 01 Jan 2399 00:00:00 GMT", 120),
     ("soon", 2), ("-5", 2)],
)  # fmt: skip
def test_retry_after_is_honoured_up_to_a_cap(get, server, waits, text, wait):
    server.script = [acts.status(503, **{"Retry-After": text})]
    get()
    assert waits == [wait]


def test_a_redirect_on_this_machine_is_followed(get, server):
    server.script = [acts.status(302, Location="/elsewhere?x=1")] * 2
    assert get().read_bytes() == BODY
    assert len(server.requests) == 3


def test_the_body_of_a_redirect_is_not_read(get, server):
    server.script = [lambda a: (a.send(302, b"x", length=10**12, headers={"Location": "/a"}), server.over.wait(10))]
    assert get().read_bytes() == BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "target", ["http://example.org/a.zip", "ftp://127.0.0.1/a.zip", "file:///etc/passwd", "http://[::1", "//:80", ""]
)
def test_a_redirect_to_anything_but_https_is_error_of(get, server, target):
    server.script = [acts.status(302, Location=target)] * 9
    error = error_of(get)
    assert error.code == "redirect" and len(server.requests) <= 6


def test_an_https_file_may_not_lead_to_this_machine():
    with pytest.raises(CaseError, match="redirect"):
        transfer._refuse_unsafe("http://127.0.0.1:8888/", "https://zenodo.org/a.zip", Path("a.zip"))


def test_endless_redirects_are_error_of(get, server):
    server.script = [acts.status(307, Location="/again")] * 20
    assert "more than 5 redirects" in error_of(get).found
    assert len(server.requests) == 6


def test_the_query_of_an_address_is_not_shown(get, server):
    server.script = [acts.status(302, Location="/x?signature=planted"), acts.status(404)]
    assert "planted" not in str(error_of(get))


def test_a_wrong_checksum_deletes_the_bytes_and_says_both(get, server, tmp_path):
    server.body = BODY[:500] + bytes([BODY[500] ^ 1]) + BODY[501:]
    error = error_of(get)
    assert error.code == "checksum" and MD5 in error.expected
    assert hashlib.md5(server.body).hexdigest() in error.found
    assert left(tmp_path) == []


def test_a_flipped_byte_in_the_part_is_found_after_going_on(get, server, tmp_path):
    server.script = [acts.drops_after(9000), acts.status(404)]
    error_of(get)
    part = tmp_path / "archive.zip.part"
    part.write_bytes(b"\0" + part.read_bytes()[1:])
    assert error_of(get).code == "checksum"
    assert server.ranges[-1] == "bytes=9000-" and left(tmp_path) == []


def test_a_part_longer_than_the_file_is_thrown_away(get, server, tmp_path):
    (tmp_path / "archive.zip.part").write_bytes(BODY + b"x")
    assert get().read_bytes() == BODY
    assert server.ranges == [None]


def test_a_part_of_another_release_is_thrown_away(get, server, tmp_path):
    server.script = [acts.drops_after(9000), acts.status(404)]
    error_of(get, md5="0" * 32)
    assert get().read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-", None]


def test_a_complete_part_needs_no_request(get, server, tmp_path):
    (tmp_path / "archive.zip.part").write_bytes(BODY)
    assert get().read_bytes() == BODY
    assert server.requests == []


@pytest.mark.parametrize("note", ["", "{", "[]", '{"md5": 3}', "\0"])
def test_a_damaged_note_does_not_stop_going_on(get, server, tmp_path, note):
    (tmp_path / "archive.zip.part").write_bytes(BODY[:9000])
    (tmp_path / "archive.zip.part.json").write_text(note)
    assert get().read_bytes() == BODY
    assert server.ranges == ["bytes=9000-"]


def test_a_silent_server_is_left_after_the_read_time_out(get, server, patience):
    server.script = [acts.hangs_after(9000), acts.hangs_after(0)]
    started = time.monotonic()
    quick = Patience(attempts=4, connect_s=2, read_s=0.15, least_bytes=1, sleep=patience.sleep)
    assert get(patience=quick).read_bytes() == BODY
    assert server.ranges == [None, "bytes=9000-", "bytes=9000-"]
    assert time.monotonic() - started < 3


def test_a_trickle_that_never_times_out_is_left_too(get, server):
    server.script = [acts.trickles(500, 0.02)] * 2
    quick = Patience(attempts=4, connect_s=2, read_s=0.2, least_bytes=4000, sleep=lambda _: None)
    assert get(patience=quick).read_bytes() == BODY
    assert len(server.requests) == 3


def test_trickles_that_add_up_to_too_little_are_given_up(get, server):
    server.script = [acts.trickles(500, 0.02)] * 9
    quick = Patience(attempts=3, connect_s=2, read_s=0.1, least_bytes=4000, sleep=lambda _: None)
    error = error_of(get, patience=quick)
    assert error.code == "dropped" and "only" in error.found and len(server.requests) == 3


def test_nobody_listening_is_named_after_all_attempts(patience, tmp_path, waits):
    with acts.serving(b"") as closed:
        url = closed.url
    error = error_of(download, url, tmp_path / "a.zip", md5=MD5, at_most=9, patience=patience, progress=False)
    assert error.code == "no-connection" and len(waits) == 3


def test_a_false_certificate_stops_at_once(get, waits, monkeypatch):
    def broken(*_, **__):
        raise transfer.requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] expired")

    monkeypatch.setattr(transfer.requests.Session, "get", broken)
    assert error_of(get).code == "certificate" and waits == []


def test_no_login_of_a_netrc_file_is_sent(get, server, tmp_path_factory, monkeypatch):
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login me password planted")
    monkeypatch.setenv("NETRC", str(netrc))
    get()
    assert "Authorization" not in server.requests[0]


def disk(monkeypatch, free):
    usage = namedtuple("usage", "total used free")(10**15, 0, free)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage)


def test_the_disk_is_looked_at_before_the_body_of_a_file_of_unknown_size(get, server, monkeypatch, tmp_path):
    disk(monkeypatch, 1000)
    assert error_of(get, None).code == "disk-full"
    assert (tmp_path / "archive.zip.part").stat().st_size == 0


def test_a_disk_that_fills_up_in_between_keeps_the_part(get, server, monkeypatch, tmp_path):
    append = transfer.Part.append

    def full(part, chunk):
        if part.size > 20_000:
            raise folder.write_error(part.path, OSError(28, "No space left on device"))
        append(part, chunk)

    server.script = [acts.drops_after(30_000)]
    monkeypatch.setattr(transfer.Part, "append", full)
    error = error_of(get)
    assert error.code == "disk-full" and "No space left" in error.found
    assert (tmp_path / "archive.zip.part").stat().st_size > 20_000


# --- fetch: the whole way


def source(server, **changes):
    fields = {
        "name": "toy", "title": "Toy", "licence": "CC BY 4.0", "cite": "nobody", "subjects": 9, "least_bytes": 1000,
        "url": server.url, "file": "archive.zip", "size": len(BODY), "md5": MD5,
    }  # fmt: skip
    return Source(**(fields | changes))


@pytest.fixture
def toy(server, monkeypatch, patience, tmp_path):
    """Fetches the server's archive as a source of its own."""
    monkeypatch.setitem(SOURCES, "toy", source(server))

    def run(to=tmp_path, **options):
        return fetch("toy", to, progress=False, patience=patience, **options)

    return run


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.nii.gz")}


def test_fetch_returns_the_folder_with_the_data(toy, tmp_path):
    data = toy()
    assert data == tmp_path / "toy" and contents(data) == FILES
    assert verify(data, progress=False) == []


def test_what_is_there_is_not_asked_for_again(toy, server):
    assert toy(keep_archive=False) == toy()
    assert len(server.requests) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_the_archive_is_kept_unless_told_otherwise(toy, tmp_path, keep):
    toy(keep_archive=keep)
    assert (tmp_path / "archive.zip").exists() == keep


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_that_was_deleted_is_unpacked_again(toy, server, keep):
    data = toy(keep_archive=keep)
    (data / "s0003" / "ct.nii.gz").unlink()
    assert contents(toy()) == FILES
    assert len(server.requests) == (1 if keep else 2)


def test_an_archive_that_was_put_there_by_hand_is_used(toy, server, tmp_path):
    (tmp_path / "archive.zip").write_bytes(BODY)
    assert contents(toy()) == FILES and server.requests == []


def test_a_wrong_archive_under_the_final_name_is_refused_and_kept(toy, server, tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"mine")
    assert error_of(toy).code == "checksum"
    assert (tmp_path / "archive.zip").read_bytes() == b"mine" and server.requests == []


def test_a_single_folder_in_the_archive_is_what_is_returned(toy, server, monkeypatch, tmp_path):
    server.body = zipped({f"release/{name}": data for name, data in FILES.items()})
    changed = source(server, size=None, about_bytes=len(BODY), md5=hashlib.md5(server.body).hexdigest())
    monkeypatch.setitem(SOURCES, "toy", changed)
    assert toy() == toy() == tmp_path / "toy" / "release"
    assert verify(tmp_path / "toy" / "release", progress=False) == []


def test_a_full_disk_is_refused_before_a_byte_is_fetched(toy, server, monkeypatch, tmp_path):
    disk(monkeypatch, resources.SPARE_BYTES + len(BODY) + 999)
    error = error_of(toy)
    assert error.code == "disk-full" and "MB" in error.expected and server.requests == []
    disk(monkeypatch, resources.SPARE_BYTES + 10 * len(BODY))
    assert contents(toy()) == FILES


def test_the_disk_need_not_have_room_for_what_is_there(toy, server, monkeypatch, tmp_path):
    (tmp_path / "archive.zip.part").write_bytes(BODY[:-100])
    disk(monkeypatch, resources.SPARE_BYTES + len(BODY))
    assert error_of(toy).code == "disk-full"  # when unpacking: the rest of the archive had room
    assert (tmp_path / "archive.zip").exists() and not list((tmp_path / "toy").rglob("*.gz"))


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_folder_that_cannot_be_made_is_refused_first(toy, server, tmp_path, below):
    (tmp_path / "file").write_text("x")
    assert error_of(toy, tmp_path / "file" / below).code == "unwritable"
    assert server.requests == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_folder_is_refused_first(toy, server, tmp_path):
    (tmp_path / "fixed").mkdir(mode=0o500)
    assert error_of(toy, tmp_path / "fixed").code == "unwritable"
    assert server.requests == []


def test_two_processes_do_not_fetch_into_one_folder(toy, tmp_path):
    with folder.claimed(tmp_path):
        assert error_of(toy).code == "busy"
    assert contents(toy()) == FILES


def test_an_unknown_source_is_an_error_that_names_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'totalsegmentator'.*known: .*kaggle"):
        fetch("totalsegmenter", tmp_path)


def test_progress_is_shown_unless_told_otherwise(toy, server, patience, tmp_path, capfd):
    toy()
    assert capfd.readouterr().err == ""
    fetch("toy", tmp_path / "other", patience=patience)
    assert "archive.zip" in capfd.readouterr().err


def test_every_source_is_pinned():
    assert SOURCES["totalsegmentator"].size == 23_581_218_285
    assert SOURCES["totalsegmentator"].md5 == "fe250e5718e0a3b5df4c4ea9d58a62fe"
    for name, entry in SOURCES.items():
        assert name == entry.name and "CC BY 4.0" in entry.licence and entry.title and entry.cite and entry.subjects
        assert entry.kaggle or (len(entry.md5) == 32 and entry.url.startswith("https://zenodo.org/records/"))
        assert entry.kaggle or entry.url.endswith(f"/files/{entry.file}?download=1")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_download_goes_on_where_it_was(server, tmp_path):
    server.script = [acts.hangs_after(3000)]  # less than any buffer holds back
    program = "\n".join([
        "import sys, pathlib",
        "from spineseg.data import fetch",
        f"fetch.SOURCES['toy'] = fetch.{source(server)!r}",
        "print(fetch.fetch('toy', pathlib.Path(sys.argv[1]), progress=False))",
    ])  # fmt: skip
    command = [sys.executable, "-c", program, str(tmp_path)]
    part = tmp_path / "archive.zip.part"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "archive.zip").exists()
    received = part.stat().st_size
    assert 0 < received < len(BODY)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "toy")
    assert server.ranges == [None, f"bytes={received}-"]
    assert (tmp_path / "archive.zip").read_bytes() == BODY and contents(tmp_path / "toy") == FILES
    assert package.verify(tmp_path / "toy", progress=False) == []
