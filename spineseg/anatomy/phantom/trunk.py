"""The shape of a body around a spine: where skin, muscle and the chest and belly cavity lie at each height."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.fields import ellipse_distance, knots
from spineseg.anatomy.phantom.spine import Spine

# Mean adult, mm: half width, then how far back from the line through the bodies and how far forward the surface lies.
# Rows are vertebrae, or mm above the centre of S1 (negative: below). From whole-body CT proportions, calibrated by eye.
_CAVITY = {  # middle of the rib cage, then the inside of the abdominal wall and of the true pelvis
    "C7": (36, 24, 24), "T1": (56, 38, 42), "T2": (82, 44, 56), "T3": (100, 46, 74), "T4": (113, 47, 90),
    "T5": (121, 47, 104), "T6": (128, 48, 116), "T7": (133, 48, 126), "T8": (137, 49, 134), "T9": (139, 49, 140),
    "T10": (139, 48, 143), "T11": (138, 47, 143), "T12": (134, 46, 140), "L1": (130, 44, 136), "L2": (127, 42, 130),
    "L3": (125, 42, 122), "L4": (124, 40, 112), "L5": (120, 34, 105), "S1": (112, 30, 105), -60: (98, 40, 106),
    -110: (74, 52, 96), -150: (45, 40, 70),
}  # fmt: skip
_MUSCLE = {
    "C1": (56, 54, 40), "C2": (57, 54, 48), "C3": (57, 55, 54), "C4": (56, 56, 54), "C5": (57, 59, 52),
    "C6": (62, 64, 50), "C7": (78, 68, 50), "T1": (112, 70, 54), "T2": (148, 72, 68), "T3": (163, 72, 86),
    "T4": (164, 72, 103), "T5": (160, 72, 118), "T6": (157, 71, 130), "T7": (155, 70, 139), "T8": (154, 70, 145),
    "T9": (153, 70, 150), "T10": (152, 70, 152), "T11": (150, 70, 152), "T12": (147, 71, 149), "L1": (143, 74, 145),
    "L2": (140, 77, 139), "L3": (138, 80, 132), "L4": (139, 80, 123), "L5": (146, 76, 117), "S1": (155, 74, 117),
    -60: (163, 92, 117), -110: (168, 104, 110), -150: (168, 98, 98), -200: (160, 85, 85),
}  # fmt: skip
_FAT_SHARE = {  # of the patient's fat, mm: sides, back, front
    "C1": (0.3, 0.6, 0.3), "C4": (0.3, 0.6, 0.3), "C7": (0.4, 0.9, 0.4), "T2": (0.5, 0.7, 0.6), "T8": (0.8, 0.6, 0.7),
    "L1": (1.0, 0.7, 1.0), "L4": (1.2, 1.2, 1.3), "S1": (1.3, 1.4, 1.4), -110: (1.4, 1.4, 1.0), -200: (1.2, 1.1, 0.9),
}  # fmt: skip


class Trunk:
    """Three winding tubes around the spine - skin, muscle, cavity - and the frames that organs are placed in.

    Args:
        spine: Whose body it is.
        rng: Draws the build: girth, fat, paunch.

    Attributes:
        fat_mm: Thickness of subcutaneous fat at the flank of L1.
        girth: Width and depth of the cavities against the mean adult of this height.
        paunch_mm: How far visceral fat pushes the belly out.
    """

    def __init__(self, spine: Spine, rng: np.random.Generator):
        self.spine, self.scale = spine, spine.scale
        self.fat_mm = float(np.exp(rng.uniform(np.log(5.0), np.log(34.0))))
        self.girth = float(np.clip(rng.normal(1.0, 0.04) + 0.004 * (self.fat_mm - 13.0), 0.9, 1.15))
        self.paunch_mm = float(max(0.0, rng.normal(0.6 * self.fat_mm - 4.0, 12.0)))
        centre = spine.centre_mm[::-1]  # z rises
        low, high = centre[0] - (0.0, 0.0, 400.0), centre[-1] + (0.0, 0.0, 300.0)
        self.line = np.vstack([low, centre, high])
        smooth = np.arange(self.line[0, 2], self.line[-1, 2], 5.0)
        y = np.interp(smooth, self.line[:, 2], self.line[:, 1])
        kernel = np.exp(-0.5 * (np.arange(-24, 25) * 5.0 / 45.0) ** 2)
        self.front_line = smooth, np.convolve(np.pad(y, 24, mode="edge"), kernel / kernel.sum(), mode="valid")
        self.tables = {"cavity": self._table(_CAVITY), "muscle": self._table(_MUSCLE), "fat": self._table(_FAT_SHARE)}

    def height(self, place, offset_mm: float = 0.0) -> float:
        """World z of a vertebra's centre, or of so many mm below S1, plus an offset, both to the patient's scale."""
        base = (
            self.spine.centre_mm[IDS[place] - 1, 2]
            if isinstance(place, str)
            else self.height("S1") + place * self.scale
        )
        return float(base + offset_mm * self.scale)

    def axis(self, z) -> tuple[np.ndarray, np.ndarray]:
        """World x, y of the line through the vertebral bodies at height z."""
        return np.interp(z, self.line[:, 2], self.line[:, 0]), np.interp(z, self.line[:, 2], self.line[:, 1])

    def point(self, place, right: float, anterior: float, up: float = 0.0) -> np.ndarray:
        """World point at a level: offsets in mm of the mean adult from the spine's line (right and anterior scaled)."""
        z = self.height(place, up)
        x, y = self.axis(z)
        return np.array([x + right * self.scale, y + anterior * self.scale, z])

    def wall(self, z) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half width, back and front world y of the cavity at height z."""
        return self._tube("cavity", np.asarray(z, float))

    def skin(self, z) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half width, back and front world y of the skin at height z."""
        return self._tube("skin", np.asarray(z, float))

    def surface_distance(self, which: str, x, y, z):
        """Signed distance to the `skin`, `muscle` or `cavity` tube at broadcastable world tensors, without ends."""
        flat = z.flatten().cpu().numpy().astype(float)
        width, back, front = self._tube(which, flat)
        middle = self.axis(flat)[0]
        cx, cy, rx, ry = (
            knots(z, (flat, v), z.device) if len(flat) > 1 else z * 0 + float(v[0])
            for v in (middle, (back + front) / 2, width, (front - back) / 2)
        )
        return ellipse_distance(x - cx, y - cy, rx, ry)

    def _table(self, rows) -> np.ndarray:
        """`(n, 4)` z, a, b, c with z rising."""
        return np.array([(self.height(place), *values) for place, values in rows.items()], float)[::-1]

    def _tube(self, which, z):
        if which == "skin":
            width, back, front = self._tube("muscle", z)
            side, behind, ahead = (np.interp(z, self.tables["fat"][:, 0], self.tables["fat"][:, i]) for i in (1, 2, 3))
            skin = 2.0
            return (
                width + skin + side * self.fat_mm,
                back - skin - behind * self.fat_mm,
                front + skin + ahead * self.fat_mm,
            )
        table = self.tables[which]
        width, behind, ahead = (np.interp(z, table[:, 0], table[:, i]) * self.scale for i in (1, 2, 3))
        y = self.axis(z)[1]
        ahead = np.interp(z, *self.front_line) + ahead * self.girth
        bulge = np.exp(-0.5 * ((z - self.height("L3")) / (90.0 * self.scale)) ** 2)
        return width * self.girth + 0.5 * bulge * self.paunch_mm, y - behind, ahead + bulge * self.paunch_mm
