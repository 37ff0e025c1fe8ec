import gzip
import hashlib
import io
import json
import os
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections import namedtuple

import pytest
from made_files import error_of

from spineseg.data import resources
from spineseg.data.fetch import ledger, members, unpacking, verify
from spineseg.data.fetch.members import Caps
from spineseg.data.fetch.unpacking import unpack
from spineseg.errors import CaseError

FILES = {f"s{i:04}/ct.nii.gz": random.Random(i).randbytes(3000 + 37 * i) for i in range(7)} | {"meta.csv": b"a;b\n" * 9}
FORMATS = pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])


def make(path, files, kind="zip", method=zipfile.ZIP_DEFLATED):
    """An archive of names and contents."""
    files = list(files.items()) if isinstance(files, dict) else files
    if kind == "zip":
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files:
                archive.writestr(zipfile.ZipInfo(name) if method is None else name, data)
        return path
    with tarfile.open(path, f"w:{kind[4:]}") as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def run(target):
    def run(archive, **options):
        return unpack(archive, target, **({"origin": "one", "progress": False} | options))

    return run


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name[0] != "."}


def written(root):
    return [p for p in root.parent.rglob("*") if p.is_file() and not p.name.startswith("a.")]


@FORMATS
def test_what_was_packed_is_unpacked_and_noted(tmp_path, run, target, kind):
    assert run(make(tmp_path / f"a.{kind}", FILES, kind)) == target
    assert contents(target) == FILES
    assert verify(target, progress=False) == []
    lines = [json.loads(line) for line in (target / ledger.LEDGER).read_text().splitlines()]
    assert lines[0] == {"origin": "one"} and lines[-1] == {"files": len(FILES), "holds": "."}
    shas = {line["name"]: (line["size"], line["sha256"]) for line in lines[1:-1]}
    assert shas == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}


@FORMATS
def test_dots_and_folders_in_names_do_no_harm(tmp_path, run, target, kind):
    path = make(tmp_path / f"a.{kind}", {"./s1//ct.nii": b"x", "s2/./ct.nii": b""}, kind)
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            for name, is_folder in ((".", True), ("./s1", True), ("./s1/ct.nii", False), ("s2/ct.nii", False)):
                entry = tarfile.TarInfo(name)
                entry.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
                archive.addfile(entry)
    run(path)
    assert sorted(contents(target)) == ["s1/ct.nii", "s2/ct.nii"]


# --- attacks: nothing is written


@pytest.mark.parametrize(
    "name",
    ["../x", "s/../../x", "s/..", "/etc/x", "//x", "C:x", "C:/x", "c:\\x", "s\\..\\..\\x", "\\\\host\\x", "s:stream",
     "a\nb", "a\x7fb", "s/" + "n" * 256, ".spineseg-ledger.jsonl", ".SPINESEG-unpacking", ".spineseg-x/y"],
)  # fmt: skip
@FORMATS
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path, run, target, kind, name):
    error = error_of(run, make(tmp_path / f"a.{kind}", [*FILES.items(), (name, b"x")], kind))
    assert error.code == "archive-path" and ascii(name)[1:20] in error.found
    assert written(target) == []


def test_a_nul_in_a_name_is_error_of(tmp_path, run, target):
    path = make(tmp_path / "a.zip", {"s0001.nii/x": b"x"})
    path.write_bytes(path.read_bytes().replace(b".nii/x", b".nii\0x"))
    assert error_of(run, path).code == "archive-path" and written(target) == []


def test_a_tar_name_that_is_not_text_is_error_of(tmp_path, run):
    path = make(tmp_path / "a.tar", {"abc": b"x"}, "tar")
    entry = tarfile.TarInfo("ab\udcff")
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry)
    assert error_of(run, path).code == "archive-path"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_error_of(tmp_path, run, target, kind):
    info = zipfile.ZipInfo("s0001/ct.nii.gz")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert error_of(run, tmp_path / "a.zip").code == "archive-link" and written(target) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("suffix", ["", ":gz"])
def test_links_and_devices_in_a_tar_are_error_of(tmp_path, run, target, kind, suffix):
    entry = tarfile.TarInfo("s0001/ct.nii.gz")
    entry.type, entry.linkname = kind, "meta.csv"
    with tarfile.open(tmp_path / "a.tar", f"w{suffix}") as archive:
        archive.addfile(tarfile.TarInfo("meta.csv"))
        archive.addfile(entry)
    assert error_of(run, tmp_path / "a.tar").code == "archive-link" and written(target) == []


def test_every_tar_member_goes_through_the_data_filter(tmp_path, run, target, monkeypatch):
    def no(entry, _):
        raise tarfile.AbsolutePathError(entry)

    monkeypatch.setattr(members.tarfile, "data_filter", no)
    assert error_of(run, make(tmp_path / "a.tar", FILES, "tar")).code == "archive-path" and written(target) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a/x", "a/x"), ("a/x", "a//x"), ("a/x", "a/X"), ("a/x", "A/y"), ("a", "a/x"), ("A", "a/x"),
              ("é/x", "e\u0301/x"), ("straße", "STRASSE")],
)  # fmt: skip
@FORMATS
def test_names_that_some_disk_takes_for_the_same_are_error_of(tmp_path, run, target, kind, names):
    path = make(tmp_path / f"a.{kind}", [(name, b"x") for name in names], kind)
    assert error_of(run, path).code == "archive-twice" and written(target) == []


def test_an_encrypted_member_is_error_of(tmp_path, run, target):
    path = make(tmp_path / "a.zip", FILES)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    assert error_of(run, path).code == "archive-encrypted" and written(target) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_bound_are_error_of(tmp_path, run, target, method):
    assert error_of(run, make(tmp_path / "a.zip", FILES, method=method)).code == "archive-method"
    assert written(target) == []


@FORMATS
@pytest.mark.parametrize(
    ("caps", "found"),
    [(Caps(members=7), "more than 7 members"), (Caps(total_bytes=9000), "when unpacked"),
     (Caps(ratio=1e-3, ratio_from=5000), "unpacked from")],
)  # fmt: skip
def test_too_much_is_error_of(tmp_path, run, target, kind, caps, found):
    error = error_of(run, make(tmp_path / f"a.{kind}", FILES, kind), caps=caps)
    assert error.code == "archive-bomb" and found in error.found and written(target) == []


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_deflate_bomb_is_refused_by_its_ratio_alone(tmp_path, run, target, kind):
    path = make(tmp_path / f"a.{kind}", {"zeros": bytes(66 << 20)}, kind)
    assert path.stat().st_size < 1 << 20
    assert "69.21 MB unpacked from" in error_of(run, path).found
    assert written(target) == []


def test_one_bomb_among_honest_members_is_error_of(tmp_path, run):
    files = {"honest": random.Random(1).randbytes(90_000), "zeros": bytes(90_000)}
    error = error_of(run, make(tmp_path / "a.zip", files), caps=Caps(ratio=10, ratio_from=50_000))
    assert error.code == "archive-bomb" and "'zeros'" in error.found


def test_a_tar_that_claims_a_petabyte_is_refused_in_little_memory(tmp_path, run):
    entry = tarfile.TarInfo("x")
    entry.size = 10**15
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert error_of(run, tmp_path / "a.tar").code == "archive-bomb"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_tar_header_that_asks_for_much_memory_is_error_of(tmp_path, run, kind):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, 40 << 20
    with gzip.open(tmp_path / "a.tar.gz", "wb", 1) as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(40):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    assert error_of(run, tmp_path / "a.tar.gz").code == "archive-unreadable"
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@FORMATS
@pytest.mark.parametrize("cut", [0, 1, 2, 100, 0.5, 0.99])
def test_a_cut_archive_is_error_of(tmp_path, run, target, kind, cut):
    path = make(tmp_path / f"a.{kind}", FILES, kind)
    data = path.read_bytes()
    cut = cut if isinstance(cut, int) else int(len(data) * cut)
    if kind == "tar" and cut > len(data) - 10240:
        cut = len(data) - 12000  # before the padding, whose loss is none
    path.write_bytes(data[:cut])
    assert error_of(run, path).code == "archive-unreadable" and written(target) == []


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_broken_tar_header_in_the_middle_is_not_taken_for_the_end(tmp_path, run, target, kind):
    path = make(tmp_path / "plain", FILES, "tar")
    data = path.read_bytes()
    at = data.index(b"s0003")
    data = data[:at] + b"t" + data[at + 1 :]
    (tmp_path / "a").write_bytes(gzip.compress(data) if kind == "tar.gz" else data)
    path.unlink()
    assert error_of(run, tmp_path / "a").code == "archive-unreadable" and not target.exists()


def test_a_wrong_gzip_checksum_is_refused_before_anything_is_written(tmp_path, run, target):
    path = make(tmp_path / "a.tar.gz", FILES, "tar.gz")
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    assert error_of(run, path).code == "archive-unreadable" and written(target) == []


def test_random_damage_never_gives_wrong_bytes_or_another_error(tmp_path, target):
    rng, outcomes = random.Random(3), set()
    good = make(tmp_path / "a.zip", FILES).read_bytes()
    for i in range(100):
        data = bytearray(good)
        data[rng.randrange(0 if i % 2 else len(data) - 600, len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "a.zip").write_bytes(data)
        folder = tmp_path / str(i)
        try:
            unpack(tmp_path / "a.zip", folder, origin="x", progress=False)
            outcomes.add("none")  # a time stamp, or another byte that means nothing
            assert contents(folder) == FILES
        except CaseError as error:
            outcomes.add(error.code)
        assert (contents(folder) if folder.exists() else {}).items() <= FILES.items()
    assert {"members-corrupt", "archive-unreadable", "none"} <= outcomes


def test_a_link_in_the_target_is_not_followed(tmp_path, run, target):
    outside = tmp_path / "outside"
    outside.mkdir()
    target.mkdir()
    (target / "s0001").symlink_to(outside)
    error = error_of(run, make(tmp_path / "a.zip", FILES))
    assert error.code == "archive-path" and list(outside.iterdir()) == []


def test_a_link_in_place_of_a_file_is_replaced(tmp_path, run, target):
    (tmp_path / "outside").write_text("mine")
    target.mkdir()
    (target / "meta.csv").symlink_to(tmp_path / "outside")
    run(make(tmp_path / "a.zip", FILES))
    assert (tmp_path / "outside").read_text() == "mine" and contents(target) == FILES


# --- corrupt members: the others go on


def damage(path, name, at=500):
    """Flip a bit in the packed bytes of a zip member."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo(name).header_offset
    data[offset + 30 + len(name) + at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_corrupt_member_is_named_and_the_others_are_unpacked(tmp_path, run, target, method):
    path = make(tmp_path / "a.zip", FILES, method=method)
    damage(path, "s0002/ct.nii.gz")
    damage(path, "s0005/ct.nii.gz")
    for _ in range(2):  # a second run tries these two again and no other
        error = error_of(run, path)
        assert error.code == "members-corrupt" and "2 of 8" in error.found and "other 6" in error.remedy
        assert "'s0002/ct.nii.gz' cannot be read (CRC-32 differs)" in error.found and "s0005" in error.found
        bad = ("s0002/ct.nii.gz", "s0005/ct.nii.gz")
        assert contents(target) == {name: data for name, data in FILES.items() if name not in bad}
        assert verify(target, progress=False) == []
        assert not (target / unpacking.TEMPORARY).exists()
    assert ledger.finished(target, "one") is None
    run(make(tmp_path / "a.zip", FILES))
    assert contents(target) == FILES and ledger.finished(target, "one") == "."


def test_many_corrupt_members_make_one_short_line(tmp_path, run):
    path = make(tmp_path / "a.zip", {f"{i:03}\N{SNOWMAN}": b"x" * 900 for i in range(60)}, method=zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"xxx", b"xyx"))
    error = error_of(run, path)
    assert "60 of 60" in error.found and "and 52 more" in error.found and len(str(error)) < 1500


def lie(path, name, declared, *, crc=None):
    """Change the size, in both places, that a zip says a member has."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    data = bytearray(path.read_bytes())
    centre = data.rindex(b"PK\x01\x02" + data[:0], 0, data.rindex(name.encode()))
    for at, size_at, crc_at in ((info.header_offset, 22, 14), (centre, 24, 16)):
        struct.pack_into("<I", data, at + size_at, declared)
        if crc is not None:
            struct.pack_into("<I", data, at + crc_at, crc)
    path.write_bytes(data)


def test_a_member_that_inflates_beyond_its_declared_size_is_stopped(tmp_path, run, target):
    big = bytes(5 << 20)
    path = make(tmp_path / "a.zip", FILES | {"big": big})
    lie(path, "big", 1000, crc=zlib.crc32(big[:1000]))  # the checksum of what was declared, so that it would pass
    error = error_of(run, path)
    assert error.code == "members-corrupt" and "'big' inflates beyond its declared 1000 bytes" in error.found
    assert contents(target) == FILES and not (target / "big").exists()


def test_a_member_that_ends_before_its_declared_size_is_named(tmp_path, run, target):
    path = make(tmp_path / "a.zip", FILES | {"small": b"x" * 700})
    lie(path, "small", 900)
    assert "'small' ends after 700 of 900 bytes" in error_of(run, path).found
    assert contents(target) == FILES


# --- interrupted and gone on


@FORMATS
def test_an_interrupted_unpacking_goes_on_with_what_is_missing(tmp_path, run, target, kind, monkeypatch):
    path = make(tmp_path / f"a.{kind}", FILES, kind)
    write, names = unpacking._write, []

    def stops(member, *rest):
        names.append(member.name)
        if len(names) == 5:
            raise KeyboardInterrupt
        return write(member, *rest)

    monkeypatch.setattr(unpacking, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        run(path)
    assert len(contents(target)) == 4 and ledger.finished(target, "one") is None
    before = {p: p.stat().st_mtime_ns for p in target.rglob("*.gz")}
    run(path)
    assert names[5:] == names[4:5] + list(FILES)[5:]
    assert contents(target) == FILES and verify(target, progress=False) == []
    assert all(p.stat().st_mtime_ns == mtime for p, mtime in before.items())


def test_a_line_that_a_kill_cut_is_written_again(tmp_path, run, target):
    path = make(tmp_path / "a.zip", FILES)
    run(path)
    text = (target / ledger.LEDGER).read_bytes()
    (target / ledger.LEDGER).write_bytes(text[: text.index(b"s0004") + 3])
    (target / unpacking.TEMPORARY).write_bytes(b"half")
    run(path)
    assert contents(target) == FILES and verify(target, progress=False) == []
    assert not (target / unpacking.TEMPORARY).exists()


def test_a_member_with_another_size_on_disk_is_unpacked_again(tmp_path, run, target):
    path = make(tmp_path / "a.zip", FILES)
    run(path)
    (target / "meta.csv").write_bytes(b"")
    assert ledger.finished(target, "one") is None
    run(path)
    assert contents(target) == FILES


def test_files_of_another_archive_do_not_count(tmp_path, run, target):
    run(make(tmp_path / "a.zip", FILES))
    other = FILES | {"meta.csv": b"b;a\n" * 9}
    run(make(tmp_path / "a.zip", other), origin="two")
    assert contents(target) == other and verify(target, progress=False) == []


def test_files_of_another_archive_do_not_count_after_an_interruption_either(tmp_path, run, target):
    run(make(tmp_path / "a.zip", FILES))
    path = make(tmp_path / "a.zip", FILES, method=zipfile.ZIP_STORED)
    damage(path, "s0006/ct.nii.gz")
    error_of(lambda: run(path, origin="two"))
    assert ledger.read(target, "one") == {} and len(ledger.read(target, "two")) == len(FILES) - 1


def test_a_ledger_that_disagrees_with_the_archive_does_not_count(tmp_path, run, target):
    path = make(tmp_path / "a.zip", FILES)
    run(path)
    (target / "meta.csv").write_bytes(b"short")
    lines = (target / ledger.LEDGER).read_text()
    (target / ledger.LEDGER).write_text(lines.replace('"meta.csv", "size": 36', '"meta.csv", "size": 5'))
    run(path)
    assert contents(target) == FILES


def test_a_file_that_became_a_link_is_unpacked_again(tmp_path, run, target):
    path = make(tmp_path / "a.zip", FILES)
    run(path)
    os.replace(target / "meta.csv", tmp_path / "elsewhere")
    (target / "meta.csv").symlink_to(tmp_path / "elsewhere")
    run(path)
    assert not (target / "meta.csv").is_symlink() and contents(target) == FILES


def test_no_room_is_refused_before_anything_is_unpacked(tmp_path, run, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    blocks = sum(-(-len(data) // 4096) * 4096 for data in FILES.values())
    path = make(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage(0, 0, resources.SPARE_BYTES + blocks - 1))
    assert error_of(run, path).code == "disk-full" and written(target) == []
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage(0, 0, resources.SPARE_BYTES + blocks))
    run(path)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage(0, 0, resources.SPARE_BYTES))
    run(path)  # needs nothing


def test_a_disk_that_fills_up_in_between_is_named_and_gone_on_from(tmp_path, run, target, monkeypatch):
    path = make(tmp_path / "a.zip", FILES)

    def full(source, to):
        if "s0003" in str(to):
            raise OSError(28, "No space left on device")
        os.rename(source, to)

    with monkeypatch.context() as patch:
        patch.setattr(unpacking.os, "replace", full)
        assert error_of(run, path).code == "disk-full"
    assert len(contents(target)) == 3
    run(path)
    assert contents(target) == FILES


# --- the ledger


def test_verify_finds_each_flipped_byte_missing_file_and_changed_size(tmp_path, run, target):
    run(make(tmp_path / "a.zip", FILES))
    for name, at in (("s0001/ct.nii.gz", 0), ("s0006/ct.nii.gz", -1)):
        data = bytearray(FILES[name])
        data[at] ^= 1
        (target / name).write_bytes(data)
    (target / "s0002/ct.nii.gz").unlink()
    (target / "meta.csv").write_bytes(b"short")
    findings = verify(target / "s0000", progress=False)  # from a folder below, too
    assert {(f.code, f.path.removeprefix(f"{target}/")) for f in findings} == {
        ("file-changed", "s0001/ct.nii.gz"), ("file-changed", "s0006/ct.nii.gz"),
        ("file-missing", "s0002/ct.nii.gz"), ("file-changed", "meta.csv"),
    }  # fmt: skip
    assert hashlib.sha256(FILES["s0001/ct.nii.gz"]).hexdigest() in str(findings[0]) + str(findings[1])
    assert all("fetch again" in f.remedy for f in findings)


@pytest.mark.parametrize(
    "line",
    ["{", "[" * 100_000, '{"name": "../x", "size": 1, "sha256": ""}', '{"name": 1}', '{"files": 1, "holds": "/"}'],
)
def test_a_damaged_ledger_line_is_a_finding(tmp_path, run, target, line):
    run(make(tmp_path / "a.zip", FILES))
    lines = (target / ledger.LEDGER).read_text().splitlines()
    (target / ledger.LEDGER).write_text("\n".join([*lines[:3], line, *lines[3:]]))
    assert [f.code for f in verify(target, progress=False)] == ["ledger-damaged"]


def test_verify_without_a_ledger_is_an_error(tmp_path):
    assert error_of(verify, tmp_path).code == "no-ledger"


def test_files_do_not_become_programs(tmp_path, run, target):
    info = zipfile.ZipInfo("run.sh")
    info.external_attr = (stat.S_IFREG | 0o4777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "x")
    run(tmp_path / "a.zip")
    assert (target / "run.sh").stat().st_mode & 0o7111 == 0
