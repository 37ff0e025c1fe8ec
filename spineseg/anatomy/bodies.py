"""Vertebral bodies with their surfaces found between the voxels: endplates, back wall, and the canal behind it.

The surface is where the mask, interpolated linearly on a lattice in the vertebra's own frame, passes one half. Over the
dozens of columns of a window the steps of the voxels average out, unless the frame lies exactly along the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.row import Row
from spineseg.anatomy.vertebra_view import STRIP_MM, Settled, View, body_of, plane_through

C1, C2, S1 = IDS["C1"], IDS["C2"], IDS["S1"]
CORE_ACROSS = 0.3  # of the width to either side of the midplane, ...
CORE_ALONG = (0.15, 0.85)  # ... and of the depth from the back wall: the inner part of an endplate
LEAST_CANAL_MM = 5.0  # a narrower gap behind the back wall is a fold of its surface
_WALL_SHARE = 0.15  # of the depth, where the search for the back wall begins: behind any hole in an endplate
INWARD = {"top": -1.0, "bottom": 1.0}  # the way into a body along its axis, from either end
_NEAR_END_MM = (1.5, 5.0)  # from an endplate, where the back wall's corner is taken
_FRONT_SHARE = 0.25  # of the depth behind the front, where the search for its edge at each height begins
_TURNS = 3  # after the first search, until the frame no longer moves
_SIDES = 0.1  # of the width to either side of a body, where its edge may lie
_FLOOR_MM = 1.8  # above the lowest point, what belongs to C2's lower endplate
_FLOOR_INSET = 0.12  # of it, left out at either end
_ROOM_MM, _ROOM_SIDES, _ROOM_BEHIND_MM = 6.0, 0.6, 34.0  # around a body, what else is looked at: canal and laminae
LEAST_POINTS = 12  # of an endplate, from which its normal can be told
_LEAST_SEEN = 0.9  # of the inner part, where an endplate must be found
_DENS_SHARE = 0.35  # of C2's usual height, which is that of its dens, that columns of its body have
_ABOVE_FLOOR_MM = 5.0  # where the search for C2's lower endplate begins, above the lowest bone in the midplane


@dataclass(frozen=True)
class Body:
    """A body in its own frame, axes right, anterior, superior.

    Attributes:
        level: Label, 1 to 25.
        view: The lattice that it was seen on.
        frame: `(3, 3)`, columns are the axes in the world.
        middle: `(3,)` world mm of the lattice's origin, in the midplane.
        top: `(x, y)` mm, height of the upper surface over the columns of the body, nan elsewhere.
        bottom: Likewise of the lower surface.
        core: `(x, y)` bool, the inner part of the body seen along its axis.
        front_mm: y of the front in the midplane.
        back_mm: y of the back wall.
        width_mm: From right to left in the middle of the depth; of C2, whose joints lie beside its body, the depth.
        wall: `(z,)` y of the back wall at each height, nan above and below the body.
        face: `(z,)` y of the front at each height in the midplane, nan where there is none.
        canal: `(z,)` mm from the back wall to the bone behind it, nan where there is none.
        is_whole: Whether both endplates lie clear of the border of the array.
    """

    level: int
    view: View
    frame: np.ndarray
    middle: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    core: np.ndarray
    front_mm: float
    back_mm: float
    width_mm: float
    wall: np.ndarray
    face: np.ndarray
    canal: np.ndarray
    is_whole: bool

    @property
    def name(self) -> str:
        """Such as L1."""
        return VERTEBRAE[self.level - 1]

    @property
    def depth_mm(self) -> float:
        """From back wall to front in the midplane."""
        return self.front_mm - self.back_mm

    @property
    def has_top(self) -> bool:
        """Whether its upper end is an endplate: not of C1 and C2."""
        return self.level > C2

    @property
    def has_bottom(self) -> bool:
        """Whether its lower end is an endplate: not of C1 and S1."""
        return C1 < self.level < S1

    def world(self, local) -> np.ndarray:
        """Points of the frame, `(..., 3)` mm, in the world."""
        return np.asarray(local) @ self.frame.T + self.middle

    @property
    def has_ends(self) -> bool:
        """Whether both its ends are endplates and are seen whole."""
        return self.is_whole and self.has_top and self.has_bottom

    def reach_mm(self, end: str) -> tuple[float, float]:
        """y of the back and the front of an endplate that it has, `top` or `bottom`, in mm.

        A body that leans has its upper end behind its lower one. The back wall tells by how much, since fronts carry
        spurs. Of C2 and S1, which widen or narrow towards their only endplate, wall and front near it are taken. What
        is not seen lies where the body as a whole has it.
        """
        if self.has_top and self.has_bottom:
            ends = {e: self.near_end_mm(self.wall, e) for e in ("top", "bottom")}
            shift = ends[end] - np.mean(list(ends.values()))
            shift = float(shift) if np.isfinite(shift) else 0.0
            return self.back_mm + shift, self.front_mm + shift
        found = self.near_end_mm(self.wall, end), self.near_end_mm(self.face, end)
        return tuple(a if np.isfinite(a) else b for a, b in zip(found, (self.back_mm, self.front_mm), strict=True))

    def inner(self, end: str) -> np.ndarray:
        """`(x, y)` bool, the inner part of an endplate where it is seen, between its own back and front."""
        core = self.core
        if self.has_top and self.has_bottom:
            along = (self.view.y - self.reach_mm(end)[0]) / self.depth_mm
            core = (np.abs(self.view.x) <= CORE_ACROSS * self.width_mm)[:, None]
            core = core & ((along >= CORE_ALONG[0]) & (along <= CORE_ALONG[1]))[None, :]
        return core & ~np.isnan(getattr(self, end))

    def near_end_mm(self, edge_mm: np.ndarray, end: str) -> float:
        """Median of `wall` or `face` near an endplate, `top` or `bottom`; nan where it is not seen."""
        heights = getattr(self, end)[self.core & ~np.isnan(getattr(self, end))]
        if not len(heights):
            return float("nan")
        within = (self.view.z - heights.mean()) * INWARD[end]
        near = (within >= _NEAR_END_MM[0]) & (within <= _NEAR_END_MM[1]) & ~np.isnan(edge_mm)
        return float(np.median(edge_mm[near])) if near.any() else float("nan")

    def surface(self, end: str) -> np.ndarray:
        """`(n, 3)` world mm of the points of an endplate, `top` or `bottom`."""
        heights = getattr(self, end)
        i, j = np.nonzero(~np.isnan(heights))
        return self.world(np.stack([self.view.x[i], self.view.y[j], heights[i, j]], axis=1))

    def plane(self, end: str) -> tuple[np.ndarray, np.ndarray]:
        """Middle of an endplate and its normal towards the head, both in the world, from the inner part."""
        heights = getattr(self, end)
        i, j = np.nonzero(self.inner(end))
        x, y, z = self.view.x[i], self.view.y[j], heights[i, j]
        normal = plane_through(x, y, z)
        centre = np.array([x.mean(), y.mean(), z.mean()]) if len(x) else np.zeros(3)
        return self.world(centre), self.frame @ normal


def bodies_of(row: Row, *, step_mm: float) -> dict[int, Body]:
    """The bodies of a row of vertebrae.

    Args:
        row: From `row.row_of`.
        step_mm: Lattice on which each is looked at.

    Returns:
        By label; C1, which has no body, and vertebrae without a canal in view are left out.
    """
    found = {}
    for level in row.places:
        if level == C1:
            continue
        first = row.settled(level, step_mm)
        body = body_from(row.viewed(level, first.frame, first.middle, step_mm), level)
        for _ in range(_TURNS):
            better = None if body is None else _better(body)
            if better is not None:
                *about, room = better
                body = body_from(row.viewed(level, *about, step_mm, room), level)
        if body is not None:
            found[level] = _checked(body, row)
    return found


def _better(body: Body) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]] | None:
    """A frame along the mean normal of the endplates, its midplane half way between the sides of the body.

    Its origin is the middle of the body. The search that a body was first found with goes in steps; this does not, so
    that all searches end alike. The third is the room of the body and the canal behind it, for a smaller lattice.
    None where the edge of the scan has left too little of the endplates.
    """
    ends = [end for end, there in (("top", body.has_top), ("bottom", body.has_bottom)) if there]
    if any(np.isfinite(getattr(body, end)[body.core]).sum() < LEAST_POINTS for end in ends):
        return None
    up = np.sum([body.plane(end)[1] for end in ends], axis=0)
    up /= np.linalg.norm(up)
    view = body.view
    along = (view.y - body.back_mm) / body.depth_mm
    rows = np.flatnonzero((along >= CORE_ALONG[0]) & (along <= CORE_ALONG[1]))
    beside = np.abs(view.x) <= (0.5 + _SIDES) * body.width_mm
    tall = view.filled[beside][:, rows].sum(2)
    tall = np.minimum(tall, np.median(tall[np.abs(view.x[beside]) <= STRIP_MM]))
    aside = float((tall * view.x[beside, None]).sum() / tall.sum())
    forward = body.frame[:, 1] - (body.frame[:, 1] @ up) * up
    forward /= np.linalg.norm(forward)
    deep = (body.front_mm + body.back_mm) / 2
    levels = [np.nanmean(getattr(body, end)[body.core]) for end in ends]
    level = float(np.mean(levels)) if len(ends) == 2 else 0.0
    axes, middle = np.stack([np.cross(forward, up), forward, up], axis=1), np.array([aside, deep, level])
    high = np.nanmax(body.top) + _ROOM_MM if np.isfinite(body.top).any() else view.z[-1]
    low = np.nanmin(body.bottom) - _ROOM_MM if np.isfinite(body.bottom).any() else view.z[0]
    if not np.isfinite([aside, level]).all():
        return None
    corners = (
        np.array([-_ROOM_SIDES * body.width_mm - _ROOM_MM, body.back_mm - _ROOM_BEHIND_MM, low]),
        np.array([_ROOM_SIDES * body.width_mm + _ROOM_MM, body.front_mm + _ROOM_MM, high]),
    )
    return axes, body.world(middle), [corner - middle for corner in corners]


def body_from(settled: Settled, level: int) -> Body | None:
    """The body of one vertebra that stands upright in its frame; None where body and arch cannot be told apart."""
    view, parts = settled.view, settled.parts
    if parts is None:
        return None
    front, back, _ = parts
    solid, tall = body_of(view, parts, share=_DENS_SHARE) if level == C2 else body_of(view, parts)
    if not solid.any():
        return None
    strip = np.abs(view.x) <= STRIP_MM
    middle = view.filled[strip].mean(0)  # (y, z), the section in the midplane
    heights = middle[back:front].sum(0)
    level_z = float((heights * view.z).sum() / heights.sum())
    if level == C2:
        level_z = float(view.z[np.flatnonzero(heights >= 0.5 * heights.max())[0]]) + _ABOVE_FLOOR_MM
    start = int(np.argmin(np.abs(view.z - level_z)))
    top = np.where(solid, edge(view.filled, view.z, start, up=True), np.nan)
    bottom = np.where(solid, edge(view.filled, view.z, start, up=False), np.nan)
    deep = (front + back) // 2
    profile = tall[strip].mean(0)
    half = 0.5 * np.median(profile[back:front])
    ends = [edge(profile / (2 * half), view.y, deep, up=up) for up in (True, False)]
    if not ends[0] - ends[1] > 2 * view.step_mm:  # nor if one is nan
        return None
    widths = solid[:, back + (front - back) * 2 // 5 : front - (front - back) // 5].sum(0)
    width_mm = float(np.median(widths) * view.step_mm) if level != C2 else float(ends[0] - ends[1])
    along = [ends[1] + share * (ends[0] - ends[1]) for share in CORE_ALONG]
    if level == C2:
        along = _floor(view, bottom[strip])
    core = solid & (np.abs(view.x) <= CORE_ACROSS * width_mm)[:, None]
    core &= ((view.y >= along[0]) & (view.y <= along[1]))[None, :]
    near = int(np.argmin(np.abs(view.y - ends[1] - _WALL_SHARE * (ends[0] - ends[1]))))
    ahead = int(np.argmin(np.abs(view.y - ends[0] + _FRONT_SHARE * (ends[0] - ends[1]))))
    wall, canal = _behind(view, middle, near, (np.nanmean(bottom), np.nanmean(top)))
    return Body(
        level, view, settled.frame, settled.middle, top, bottom, core,
        float(ends[0]), float(ends[1]), width_mm, wall, edge(middle.T, view.y, ahead, up=True), canal, True,
    )  # fmt: skip


def edge(filled, axis, start, *, up):
    """Where values along the last axis first fall below one half, going away from an index; nan if they never do."""
    values, places = (filled[..., start:], axis[start:]) if up else (filled[..., start::-1], axis[start::-1])
    if len(places) < 2:
        return np.full(values.shape[:-1], np.nan)
    outside = values < 0.5
    k = np.maximum(outside.argmax(-1), 1)
    inner = np.take_along_axis(values, (k - 1)[..., None], -1)[..., 0]
    outer = np.take_along_axis(values, k[..., None], -1)[..., 0]
    share = (inner - 0.5) / np.maximum(inner - outer, 1e-6)
    found = places[k - 1] + share * (places[k] - places[k - 1])
    return np.where(outside.any(-1) & ~outside[..., 0], found, np.nan)


def _floor(view, bottom):
    """From where to where C2's lower endplate runs, y in mm: in a frame that leans, more lies above it than it."""
    height = np.nanmedian(np.where(np.isnan(bottom), np.inf, bottom), axis=0)
    low = np.flatnonzero(height <= np.min(height) + _FLOOR_MM)
    inset = _FLOOR_INSET * (view.y[low[-1]] - view.y[low[0]])
    return view.y[low[0]] + inset, view.y[low[-1]] - inset


def _behind(view, middle, start, between):
    """Back wall and depth of the canal per height, in the midplane section `(y, z)`."""
    section = middle.T
    wall = edge(section, view.y, start, up=False)
    wall[(view.z < between[0]) | (view.z > between[1])] = np.nan
    behind = (view.y[None, :] < wall[:, None] - LEAST_CANAL_MM) & (section >= 0.5)
    canal = np.full(len(view.z), np.nan)
    for k in np.flatnonzero(behind.any(1)):
        j = np.flatnonzero(behind[k])[-1]  # the first bone behind the wall
        inner, outer = section[k, j], section[k, j + 1]
        if outer < 0.5:  # else the gap is narrower than any canal
            canal[k] = wall[k] - view.y[j] - (inner - 0.5) / (inner - outer) * view.step_mm
    return wall, canal


def _checked(body: Body, row: Row) -> Body:
    """The body, said not to be whole where an endplate lies at the border of the array."""
    ends = [end for end, there in (("top", body.has_top), ("bottom", body.has_bottom)) if there]
    points = np.concatenate([body.surface(end) for end in ends])
    index = (points - row.affine[:3, 3]) @ np.linalg.inv(row.affine[:3, :3]).T
    inside = (index > 0.6) & (index < np.array(row.labels.shape) - 1.6)
    held = [np.mean(~np.isnan(getattr(body, end)[body.core])) >= _LEAST_SEEN for end in ends]
    if inside.all() and all(held):
        return body
    return Body(**{**vars(body), "is_whole": False})
