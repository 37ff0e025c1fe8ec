"""Folder layouts to one table of cases: detected by what only they have, said out loud, and never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spineseg.data.layouts import flat, nnunet, totalsegmentator, verse
from spineseg.data.layouts.listing import Listing, entries
from spineseg.errors import CaseError

__all__ = ["AUTO", "LAYOUTS", "Layout", "Listing", "detect", "list_cases"]

AUTO = "auto"
DEEPEST = 8  # folders within folders that hold nothing else; a download from Kaggle has six
REMEDY = "name the layout (cohort.layout, or --layout)"


class Layout(NamedTuple):
    """How one kind of data set lies on disk.

    Attributes:
        looks_like: What a folder of it holds, in words.
        fits: Whether a folder may be one.
        read: Lists the cases of a folder; takes the folder and a scheme (empty: the layout's own).
    """

    looks_like: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, str], Listing]


LAYOUTS = {
    "kaggle": Layout("volumes/<case>.nii and segmentations/<case>.nii", flat.is_kaggle, flat.kaggle),
    "totalsegmentator": Layout(
        "<subject>/ct.nii.gz and <subject>/segmentations/vertebrae_<name>.nii.gz",
        totalsegmentator.is_totalsegmentator,
        totalsegmentator.totalsegmentator,
    ),
    "verse": Layout("sub-*_ct.nii.gz and sub-*_seg-vert_msk.nii.gz in any subfolder", verse.is_verse, verse.verse),
    "nnunet": Layout("imagesTr/<case>_0000.nii.gz, labelsTr/<case>.nii.gz", nnunet.is_nnunet, nnunet.nnunet),
    "pairs": Layout("<case>_ct.nii.gz and <case>_seg.nii.gz", flat.is_pairs, flat.pairs),
    "ct": Layout("scans <case>.nii.gz and no label map", flat.is_ct, flat.ct),
    "labels": Layout("label maps <case>_seg.nii.gz and no scan", flat.is_labels, flat.labels),
}


def detect(folder) -> tuple[str, Path]:
    """Tell which layout a folder has.

    Args:
        folder: The folder of a data set, or one that holds nothing but it, some folders down (as archives unpack).

    Returns:
        Name of the layout and the folder that has it.

    Raises:
        CaseError: If the folder is missing, fits no layout, or fits more than one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise _no_folder(folder)
    for place in _places(folder):
        fitting = [name for name, layout in LAYOUTS.items() if layout.fits(place)]
        if "verse" in fitting:  # its files in one folder look like plain ones too
            fitting = [name for name in fitting if name not in flat.PLAIN]
        if len(fitting) > 1:
            found = f"a folder that may be {' or '.join(fitting)}"
            raise CaseError("layout-ambiguous", place, found, "one layout", REMEDY)
        if fitting:
            return fitting[0], place
    seen = ", ".join(p.name for p in entries(folder)[:5]) or "nothing"
    known = "; ".join(f"{name}: {layout.looks_like}" for name, layout in LAYOUTS.items())
    raise CaseError("layout-unknown", folder, f"a folder with {seen}", f"one of these ({known})", REMEDY)


def list_cases(folder, layout: str = AUTO, scheme: str = "") -> Listing:
    """List the cases of a folder.

    Args:
        folder: The folder of a data set.
        layout: One of `LAYOUTS`, or `"auto"` to detect it.
        scheme: As in `parse_scheme`; empty for the layout's own.

    Returns:
        The listing; print it, so that what was detected is said.

    Raises:
        CaseError: If there is no case, or the layout or the scheme cannot be told.
        ValueError: If there is no such layout.
    """
    folder = Path(folder)
    if layout not in (AUTO, *LAYOUTS):
        raise ValueError(f"unknown layout {layout!r}; known: {', '.join((AUTO, *LAYOUTS))}")
    if layout == AUTO:
        layout, folder = detect(folder)
    elif not folder.is_dir():
        raise _no_folder(folder)
    else:
        folder = next(filter(LAYOUTS[layout].fits, _places(folder)), folder)
    listing = LAYOUTS[layout].read(folder, scheme)
    if listing.table.empty:
        found = f"no case, {len(listing.problems)} unusable files"
        first = f"; the first: {listing.problems[0][1]}" if listing.problems else ""
        raise CaseError("cohort", folder, found + first, LAYOUTS[layout].looks_like, "check the folder and the layout")
    return listing


def _no_folder(folder: Path) -> CaseError:
    remedy = "download the data set into it (spineseg fetch, data/README.md), or set cohort.folder to where it is"
    return CaseError("cohort", folder, "no such folder", "the folder of a data set", remedy)


def _places(folder: Path) -> Iterator[Path]:
    """The folder, its only subfolder, the only one of that, and so on."""
    for _ in range(DEEPEST):
        yield folder
        inside = [p for p in entries(folder) if p.is_dir() and not p.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1:
            return
        folder = inside[0]
