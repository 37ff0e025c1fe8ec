"""Cases that others have reported as bad, by data set."""

from __future__ import annotations

MIXED = "vertebrae reported as mixed up (issues 268 and 394 of wasserth/TotalSegmentator)"
HU_RANGE = "HU range reported as wrong in v2.0.0 (issue 193 of wasserth/TotalSegmentator)"
CHECKSUM = "fails its checksum in some releases (issue 92)"

KNOWN_BAD = {
    "totalsegmentator": {
        **dict.fromkeys(("s0016", "s0070", "s0071", "s0128", "s0350", "s0513", "s0603", "s0676", "s0941"), MIXED),
        **dict.fromkeys(("s0184", "s0224", "s0830", "s0992"), HU_RANGE),
        "s0864": f"{HU_RANGE}; {CHECKSUM}",
    }
}
