"""One file for each thing that is compared; each has `races(quick)`, the comparisons at full or at toy size."""

NAMES = (
    "loss",
    "overlap",
    "surfaces",
    "largest",
    "labels",
    "image",
    "reading",
    "writing",
    "patches",
    "windows",
    "step",
)
