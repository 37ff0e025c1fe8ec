"""An archive to files, each under a temporary name until its checksum is right; a bad one stops no other."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tqdm import tqdm

from spineseg.data.fetch import ledger
from spineseg.data.fetch.folder import write_error
from spineseg.data.fetch.members import OWN, UNREADABLE, Caps, Member, opened
from spineseg.data.resources import need_space
from spineseg.errors import CaseError

STEP = 1 << 20  # bytes that are inflated at a time
BLOCK = 4096  # bytes that a disk gives a file at a time
FLUSHED = 8 << 20  # bytes from which a file is flushed to disk before it gets its name; flushing all takes hours
TEMPORARY = f"{OWN}unpacking"
NAMED = 8  # bad members that an error lists by name


class BadMember(Exception):
    """A member that is not what the archive's directory says."""


def unpack(archive: Path, folder: Path, *, origin: str, caps: Caps | None = None, progress: bool = True) -> Path:
    """Unpack a zip or tar archive, or the rest of it if an earlier attempt was interrupted.

    Files that the folder's ledger has and that still have their size are kept.

    Args:
        archive: `.zip`, `.tar` or `.tar.gz`.
        folder: Made when missing.
        origin: What tells this archive from others, such as its checksum.
        caps: What is taken for a bomb.
        progress: Show a bar.

    Returns:
        The folder that holds the data: `folder`, or the one below that all of it lies in.

    Raises:
        CaseError: Before anything is written if the archive could do harm (see `members.opened`) or the disk has no
            room; after everything else is unpacked if members are corrupt, with their names.
    """
    folder = Path(folder).absolute()
    with opened(archive, caps or Caps()) as (members, reader):
        done = ledger.read(folder, origin)
        left = [m for m in members if m.name not in done or done[m.name].size != m.size]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from None
        need_space(folder, sum(-(-m.size // BLOCK) * BLOCK for m in left), f"{len(left)} files")
        bad = _write_all(left, reader, folder, origin, progress)
    if bad:
        raise _bad_members(archive, bad, len(members))
    holds = holder(folder)
    ledger.finish(folder, origin, holds, [m.name for m in members])
    return holds


def holder(folder: Path) -> Path:
    """The folder itself, or the one below it that it holds nothing but; hidden names do not count."""
    while True:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(visible) != 1 or not visible[0].is_dir():
            return folder
        folder = visible[0]


def _write_all(members: list[Member], reader, folder: Path, origin: str, progress: bool) -> dict[str, str]:
    """Unpack members.

    Returns:
        Name and fault of each one that is corrupt.
    """
    bad, root = {}, folder.resolve()
    shown = {"desc": "unpacking", "unit": "B", "unit_scale": True, "disable": not progress}
    with ledger.writing(folder, origin) as note, tqdm(total=sum(m.size for m in members), **shown) as bar:
        for member in members:
            try:
                note(member.name, member.size, _write(member, reader, folder, root))
            except BadMember as error:
                bad[member.name] = str(error)
            bar.update(member.size)
    return bad


def _write(member: Member, reader, folder: Path, root: Path) -> str:
    """Unpack one member.

    Returns:
        Its sha256.

    Raises:
        BadMember: If it is corrupt; then nothing is left of it.
        CaseError: If it cannot be written.
    """
    temporary, target = folder / TEMPORARY, folder / member.name
    digest, size = hashlib.sha256(), 0
    try:
        parent = target.parent.resolve()
        if not parent.is_relative_to(root):  # by a link that was there before
            raise CaseError("archive-path", target, f"leads to {parent}", f"a folder in {root}", "remove the link")
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            for chunk in _chunks(member, reader):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            if size >= FLUSHED:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise write_error(target, error) from None
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def _chunks(member: Member, reader):
    """The member's bytes, read to their end, where the checksum is compared."""
    received = 0
    try:
        with reader(member) as stream:
            while chunk := stream.read(STEP):
                received += len(chunk)
                if received > member.size:
                    raise BadMember(f"inflates beyond its declared {member.size} bytes")
                yield chunk
    except UNREADABLE as error:
        reason = "CRC-32 differs" if "CRC-32" in str(error) else type(error).__name__
        raise BadMember(f"cannot be read ({reason})") from None
    if received < member.size:
        raise BadMember(f"ends after {received} of {member.size} bytes")


def _bad_members(archive: Path, bad: dict[str, str], total: int) -> CaseError:
    listed = "; ".join(f"{ascii(name)} {fault}" for name, fault in list(bad.items())[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    found = f"{len(bad)} of {total} members are corrupt: {listed}{more}"
    remedy = f"the other {total - len(bad)} are unpacked: leave these cases out, or download the archive again"
    return CaseError("members-corrupt", archive, found, "members as their checksums say", remedy)
