"""Pathology put into a spine on purpose, in place of what chance did to it: kind, place and severity are known.

A planted spine is otherwise healthy and has the usual number of vertebrae, so that every vertebra and disc is either
one that something was planted in or one that nothing was.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from spineseg.anatomy.labels import IDS, N_VERTEBRAE, VERTEBRAE
from spineseg.anatomy.phantom.degeneration import Wear

# kind: value at severity 0 and at 1, in the unit of the kind's name in `UNITS`
RANGES = {
    "wedge": (0.10, 0.55),
    "biconcave": (0.10, 0.45),
    "crush": (0.10, 0.50),
    "node": (2.0, 6.0),
    "spur": (1.0, 4.2),
    "narrow": (0.85, 0.25),
    "vacuum": (0.62, 0.35),
    "sclerosis": (60.0, 450.0),
    "fused": (-1.0, -1.0),
    "slip": (1.5, 10.0),
    "scoliosis": (8.0, 40.0),
    "low_density": (95.0, 20.0),
}
UNITS = {
    "wedge": "share of the height lost in front", "biconcave": "share lost in the middle",
    "crush": "share lost throughout", "node": "mm, radius", "spur": "mm, radius",
    "narrow": "disc height against a healthy one", "vacuum": "disc height against a healthy one, with gas",
    "sclerosis": "HU added under both endplates at the disc", "fused": "mm between the bodies", "slip": "mm forwards",
    "scoliosis": "degrees", "low_density": "HU of the marrow",
}  # fmt: skip
OF_VERTEBRA = ("wedge", "biconcave", "crush", "node", "spur")
OF_DISC = ("narrow", "vacuum", "sclerosis", "fused", "slip")
OF_PATIENT = ("scoliosis", "low_density")
FRACTURES = ("wedge", "biconcave", "crush")
_C3, _C7, _T1, _L1, _L5, _S1 = (IDS[v] - 1 for v in ("C3", "C7", "T1", "L1", "L5", "S1"))
_LEAST_DISC = 0.88  # of a healthy disc's height, where chance had worn it
_LIGHT_SPUR_MM = 0.8  # what may stay of spurs that chance drew


@dataclass(frozen=True)
class Pathology:
    """What to plant.

    Attributes:
        vertebra_share: Of the vertebrae C3 to L5 that get one of `OF_VERTEBRA`.
        disc_share: Of the discs from C2-C3 to L5-S1 that get one of `OF_DISC`.
        patient_share: Of the patients that get one or another of `OF_PATIENT`, each.
        severity: Least and most, in [0, 1].
    """

    vertebra_share: float = 0.22
    disc_share: float = 0.25
    patient_share: float = 0.2
    severity: tuple[float, float] = (0.3, 1.0)

    def __post_init__(self):
        low, high = self.severity
        if not 0 <= low <= high <= 1:
            raise ValueError(f"severity must be least and most within [0, 1], got {self.severity}")
        for name in ("vertebra_share", "disc_share", "patient_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class Planted:
    """What was planted.

    Attributes:
        rows: One dict each: `kind`, `place` (a vertebra, a disc such as L4-L5, or spine), `severity`, `value`.
        vacuum: `(25,)` whether the disc below holds gas.
        roll: `(25,)` degrees that each vertebra is tilted to the right in addition.
        yaw: `(25,)` degrees that each is turned to the left in addition.
        core_hu: Of the marrow, or None where it was left as drawn.
    """

    rows: tuple[dict, ...]
    vacuum: np.ndarray
    roll: np.ndarray
    yaw: np.ndarray
    core_hu: float | None

    def of_bone(self, bone: dict) -> dict:
        """The densities that `marrow.draw_bone` drew, as far as they were planted."""
        changes = {"vacuum": self.vacuum}
        return bone | changes | ({} if self.core_hu is None else {"core": self.core_hu})


def plant(pathology: Pathology, seed: int, disc_share: np.ndarray, wear: Wear):
    """Draw what is planted in one patient.

    Args:
        pathology: How much of it.
        seed: Of the patient; decides everything.
        disc_share: `(25,)` disc heights against healthy ones as chance drew them.
        wear: What chance did.

    Returns:
        New `disc_share`, `wedge` and wear, and `Planted`.
    """
    rng = np.random.default_rng([seed, 0x9A7B])  # a stream of its own
    n, level, rows = N_VERTEBRAE, np.arange(N_VERTEBRAE), []

    def value_of(kind, place):
        severity = float(rng.uniform(*pathology.severity))
        low, high = RANGES[kind]
        value = low + severity * (high - low)
        rows.append({"kind": kind, "place": place, "severity": severity, "value": value})
        return value

    disc_share, wedge = np.maximum(disc_share, _LEAST_DISC), np.zeros(n)
    fused, crush, fish = np.zeros(n, bool), np.zeros(n), np.zeros(n)
    node, spur = np.zeros((n, 2)), np.minimum(wear.spur, _LIGHT_SPUR_MM)
    modic, slip, vacuum = np.zeros((n, 2)), np.zeros(n), np.zeros(n, bool)
    for i in level[_C3:_S1]:
        if rng.random() >= pathology.vertebra_share:
            continue
        kind = str(rng.choice(OF_VERTEBRA))
        value = value_of(kind, VERTEBRAE[i])
        if kind == "wedge":
            wedge[i] = value
        elif kind == "biconcave":
            fish[i] = value / 2  # each endplate gives half
        elif kind == "crush":
            crush[i] = value
        elif kind == "node":
            large = float(np.interp(i, [_C3, _L1], [0.5, 1.0]))  # no node is wider than its body
            end = int(rng.integers(2))
            node[i, end] = rows[-1]["value"] = value * large
        else:
            spur[i] = value * float(np.interp(i, [_C3, _L1], [0.6, 1.0]))
            rows[-1]["value"] = float(spur[i, 0])
    for i in level[_C3 - 1 : _S1]:
        if rng.random() >= pathology.disc_share:
            continue
        slips = (_C3 <= i < _C7) or i >= _L1
        kinds = [k for k in OF_DISC if k != "slip" or slips]
        kind = str(rng.choice(kinds))
        value = value_of(kind, f"{VERTEBRAE[i]}-{VERTEBRAE[i + 1]}")
        if kind in ("narrow", "vacuum"):
            disc_share[i], vacuum[i] = value, kind == "vacuum"
        elif kind == "sclerosis":
            modic[i, 1] = modic[i + 1, 0] = value
        elif kind == "fused":
            broken_in = fish[i : i + 2].any() or node[i : i + 2].any()  # the ends of a block are flat
            fused[i] = i < _L5 and not broken_in
            if not fused[i]:
                rows.pop()
        else:
            slip[i] = value * (0.45 if i < _C7 else 1.0)
            rows[-1]["value"] = float(slip[i])
    roll, yaw, core = np.zeros(n), np.zeros(n), None
    if rng.random() < pathology.patient_share:
        roll, yaw = _curve(rng, value_of("scoliosis", "spine"))
    if rng.random() < pathology.patient_share:
        core = value_of("low_density", "spine")
    changed = dataclasses.replace(
        wear, fused=fused, crush=crush, fish=fish, node=node, spur=spur, modic=modic, slip=slip
    )
    return disc_share, wedge, changed, Planted(tuple(rows), vacuum, roll, yaw, core)


def _curve(rng, cobb):
    """Tilt and turn of one thoracic or lumbar curve of a given angle between its end vertebrae."""
    level, apex = np.arange(N_VERTEBRAE), float(rng.uniform(_T1 + 5, _L1 + 2))
    half = float(rng.uniform(3.0, 5.0)) * (1 if rng.random() < 0.5 else -1)
    away = (level - apex) / abs(half)
    tilt = np.sign(half) * np.clip(away, -1.0, 1.0) * np.exp(-(np.maximum(np.abs(away) - 1.0, 0.0) ** 2))
    return cobb / 2 * tilt, 0.35 * cobb * np.sign(half) * np.exp(-(away**2))
