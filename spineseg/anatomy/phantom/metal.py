"""What surgeons leave behind: pedicle screws with their rods, and cement in broken bodies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.shapes import capsule
from spineseg.anatomy.phantom.spine import Spine

_T8, _L5 = IDS["T8"] - 1, IDS["L5"] - 1


@dataclass(frozen=True)
class Rod:
    """A round bar in the world: a screw, a piece of rod, or with equal ends a blob of cement.

    Attributes:
        start_mm: `(3,)` world.
        end_mm: `(3,)` world.
        radius_mm: Of the bar.
        hu: Its density.
    """

    start_mm: np.ndarray
    end_mm: np.ndarray
    radius_mm: float
    hu: float

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """World box around it."""
        ends = np.stack([self.start_mm, self.end_mm])
        return ends.min(0) - self.radius_mm, ends.max(0) + self.radius_mm

    def distance(self, coordinates) -> torch.Tensor:
        """Signed distance at three broadcasting world coordinates."""
        ends = ([float(v) for v in end] for end in (self.start_mm, self.end_mm))
        return capsule(coordinates, *ends, self.radius_mm)


@dataclass(frozen=True)
class Metal:
    """What one patient carries.

    Attributes:
        screws: Levels with a pair of screws, top one first; empty in nearly all.
        cement: `{level: (x, y, z, radius)}` in the vertebra's frame, as shares of the body.
        hu: Of the metal.
        cement_hu: Of the cement.
    """

    screws: tuple[int, ...]
    cement: dict[int, tuple[float, float, float, float]]
    hu: float
    cement_hu: float

    def parts(self, poses) -> list[Rod]:
        """The bars in world mm, for the poses of this patient."""
        rods, heads = [], {1: [], -1: []}
        for level, (x, y, z, radius) in self.cement.items():
            pose, size = poses[level], poses[level].size
            middle = np.array([x * size["body_width"], y * size["body_depth"], z * size["body_height"]])
            centre = pose.centre_mm + pose.rotation @ middle
            rods.append(Rod(centre, centre, radius * size["body_height"], self.cement_hu))
        for level in self.screws:
            pose, size = poses[level], poses[level].size
            if size["body_height"] == 0:  # the patient lacks it
                continue
            across, lift = size["canal_width"] / 2 + size["pedicle_width"] / 2, 0.2 * size["body_height"]
            back = -size["body_depth"] / 2 - size["canal_depth"] - 9.0
            for side in (1, -1):
                head = pose.centre_mm + pose.rotation @ np.array([side * (across + 4.0), back, lift + 2.0])
                tip = pose.centre_mm + pose.rotation @ np.array(
                    [side * across * 0.55, size["body_depth"] * 0.28, lift - 3]
                )
                rods += [Rod(head, tip, min(3.0, 0.4 * size["pedicle_width"]), self.hu), Rod(head, head, 5.5, self.hu)]
                heads[side].append(head)
        for line in heads.values():
            rods += [Rod(a, b, 2.9, self.hu) for a, b in zip(line[:-1], line[1:], strict=True)]
        return rods


def draw_metal(spine: Spine, rng: np.random.Generator) -> Metal:
    """Draw the rare patient with screws (one in thirty) and the broken body with cement (one in six of those).

    Args:
        spine: Where the fractures are.
        rng: Source of every random number.

    Returns:
        The implants, empty in nearly all.
    """
    count, last = int(rng.integers(2, 6)), int(rng.integers(_T8 + 4, _L5 + 2))
    screws = tuple(range(last - count + 1, last + 1)) if rng.random() < 0.033 else ()
    hu, cement_hu = float(rng.uniform(2500.0, 3000.0)), float(rng.uniform(1300.0, 2000.0))
    cement = {}
    for level in np.flatnonzero(spine.wedge):
        x, y, z = rng.uniform(-0.15, 0.15, 3)
        radius = rng.uniform(0.25, 0.36)
        if rng.random() < 0.17:
            cement[int(level)] = (float(x), float(y), float(z), float(radius))
    return Metal(screws, cement, hu, cement_hu)
