"""What can be fetched: each source pinned by name, size and checksum, with its licence and what to cite."""

from __future__ import annotations

from dataclasses import dataclass

_PAPER = (
    "Wasserthal J, Breit H-C, Meyer MT, et al. TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT "
    "Images. Radiology: Artificial Intelligence 5(5), 2023, doi 10.1148/ryai.230024"
)


@dataclass(frozen=True)
class Source:
    """One release of a data set."""

    name: str
    title: str
    licence: str
    cite: str
    subjects: int
    least_bytes: (
        int  # that the data take when unpacked, for the first look at the disk; the archive's directory decides
    )
    url: str = ""  # of the archive
    file: str = ""  # name of the archive
    size: int | None = None  # bytes of the archive; None: not published, then only the checksum decides
    about_bytes: int = 0  # of the archive, where `size` is not known
    md5: str = ""  # of the archive, as the publisher states it
    kaggle: str = ""  # handle of a Kaggle data set, in place of an archive

    @property
    def archive_bytes(self) -> int:
        """Size of the archive, or the best guess at it."""
        return self.about_bytes if self.size is None else self.size


def _zenodo(record: int, file: str, **fields) -> Source:
    url = f"https://zenodo.org/records/{record}/files/{file}?download=1"
    cite = f"{_PAPER}; data: doi 10.5281/zenodo.{record}"
    return Source(url=url, file=file, licence="CC BY 4.0", cite=cite, **fields)


# the members of both archives are compressed already: unpacked they take about as much as packed
_ALL = (
    _zenodo(
        10047292,
        "Totalsegmentator_dataset_v201.zip",
        name="totalsegmentator",
        title="TotalSegmentator CT dataset 2.0.1",
        subjects=1228,
        size=23_581_218_285,
        least_bytes=23_581_218_285,
        md5="fe250e5718e0a3b5df4c4ea9d58a62fe",
    ),
    _zenodo(
        10047263,
        "Totalsegmentator_dataset_small_v201.zip",
        name="totalsegmentator-small",
        title="TotalSegmentator CT dataset 2.0.1, small subset",
        subjects=102,
        about_bytes=3_200_000_000,
        least_bytes=3_200_000_000,
        md5="6b5524af4b15e6ba06ef2d700c0c73e0",
    ),
    Source(
        name="kaggle",
        title="Spine segmentation from CT scans (PYCAD), made from TotalSegmentator 2",
        licence="see its page; CC BY 4.0 for the data that it was made from",
        cite=f"kaggle.com/datasets/pycadmk/spine-segmentation-from-ct-scans, and its source: {_PAPER}",
        subjects=1089,
        least_bytes=50_000_000_000,  # 1089 scans of 17 million voxels on average, 3 bytes each for CT and labels
        kaggle="pycadmk/spine-segmentation-from-ct-scans",
    ),
)
SOURCES = {source.name: source for source in _ALL}
