"""Meshes of convex polygons, and the few solids everything upright in the street is put together from.

Local axes: x to the object's right, y up from the ground, z forward, in metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.synth.chance import Floats

ROUND = 12  # corners of a circle
EMISSIVE = 12  # palette rows from here up shine by themselves
ROWS = 16  # rows of a palette

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """F polygons in painter's order within a part; parts are ordered by distance when they are drawn."""

    corners: Floats  # (V, 3) of all faces, one after the other
    sizes: npt.NDArray[np.int64]  # (F,) corners of each face
    normals: Floats  # (F, 3), zero for a sheet that is seen from both sides
    materials: npt.NDArray[np.int64]  # (F,) palette row
    centers: Floats  # (F, 3) centre of the part the face belongs to
    lamps: tuple[tuple[Point, int, float], ...]  # glowing points: where, palette row, radius


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The same thing at falling levels of detail: each mesh is for objects at least that many pixels high."""

    levels: tuple[tuple[float, Mesh], ...]
    height: float
    half_width: float
    half_length: float

    def level(self, pixels: float) -> Mesh:
        """The mesh for an object this many pixels high."""
        return next((mesh for least, mesh in self.levels if pixels >= least), self.levels[-1][1])


class Sculptor:
    """Collects polygons. ``part`` starts a new part, which is ordered against the others by its centre."""

    def __init__(self) -> None:
        self._faces: list[tuple[Sequence[Point], int, Point, int]] = []
        self._centers: list[Point] = [(0.0, 0.0, 0.0)]
        self._inside: Point = (0.0, 0.0, 0.0)
        self._lamps: list[tuple[Point, int, float]] = []

    def part(self, center: Point) -> None:
        """What follows belongs to a part around this centre."""
        self._centers.append(center)

    def around(self, inside: Point) -> None:
        """Faces that follow look away from this point."""
        self._inside = inside

    def face(self, points: Sequence[Point], material: int, sheet: bool = False) -> None:
        """A convex polygon; ``sheet`` is visible from both sides."""
        normal = (0.0, 0.0, 0.0) if sheet else _outward(points, self._inside)
        self._faces.append((points, material, normal, len(self._centers) - 1))

    def lamp(self, where: Point, material: int, radius: float) -> None:
        """A point that glows in the dark."""
        self._lamps.append((where, material, radius))

    def box(self, low: Point, high: Point, material: int, skip: str = "") -> None:
        """An upright box; ``skip`` names sides left out: l r (x), d u (y), b f (z)."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        self.around(((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2))
        sides: dict[str, Sequence[Point]] = {
            "l": ((x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)),
            "r": ((x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)),
            "u": ((x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)),
            "b": ((x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)),
            "f": ((x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)),
            "d": ((x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)),
        }
        for name, points in sides.items():
            if name not in skip:
                self.face(points, material)

    def extrude(self, profile: Sequence[tuple[float, float, float]], materials: Sequence[int], side: int) -> None:
        """A convex (z, y, half width) profile drawn out across x: one quad per edge, and the two sides."""
        count = len(profile)
        z = sum(p[0] for p in profile) / count
        y = sum(p[1] for p in profile) / count
        self.around((0.0, y, z))
        for k, material in enumerate(materials):
            (z0, y0, w0), (z1, y1, w1) = profile[k], profile[(k + 1) % count]
            if material >= 0:
                self.face(((-w0, y0, z0), (w0, y0, z0), (w1, y1, z1), (-w1, y1, z1)), material)
        if side >= 0:
            for sign in (-1.0, 1.0):
                self.face([(sign * w, y, z) for z, y, w in profile], side)

    def disc(self, center: Point, radius: float, material: int, axis: str = "x", corners: int = ROUND) -> None:
        """A round plate across one axis, seen from the side that looks away from ``inside``."""
        points: list[Point] = []
        for c, s in circle(corners):
            a, b = radius * c, radius * s
            cx, cy, cz = center
            points.append((cx, cy + a, cz + b) if axis == "x" else (cx + a, cy + b, cz))
        self.face(points, material)

    def capsule(self, start: Point, r0: float, end: Point, r1: float, material: int) -> None:
        """A limb seen flat: the hull of two circles in the x-y plane, z kept from its ends."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = max(1e-6, (dx * dx + dy * dy) ** 0.5)
        ux, uy = dx / length, dy / length
        points: list[Point] = []
        for (x, y, z), r, sign in ((start, r0, -1.0), (end, r1, 1.0)):
            for side, out in ((1.0, 0.0), (0.71, 0.71), (-0.71, 0.71), (-1.0, 0.0)):
                side_, out_ = side * sign * r, out * sign * r
                points.append((x + ux * out_ - uy * side_, y + uy * out_ + ux * side_, z))
        self.face(points, material, sheet=True)

    def mesh(self) -> Mesh:
        """Everything collected so far."""
        corners = np.array([point for points, _, _, _ in self._faces for point in points], np.float64)
        sizes = np.array([len(f[0]) for f in self._faces], np.int64)
        normals = np.array([f[2] for f in self._faces], np.float64)
        materials = np.array([f[1] for f in self._faces], np.int64)
        centers = np.array([self._centers[f[3]] for f in self._faces], np.float64)
        return Mesh(corners, sizes, normals, materials, centers, tuple(self._lamps))


def circle(corners: int) -> list[tuple[float, float]]:
    """(cosine, sine) of evenly spread angles, rounded so that every C library gives the same."""
    step = 2 * math.pi / corners
    return [(round(math.cos(k * step), 9), round(math.sin(k * step), 9)) for k in range(corners)]


def _outward(points: Sequence[Point], inside: Point) -> Point:
    """The unit normal of a flat polygon on the side away from ``inside`` (Newell's method)."""
    nx = ny = nz = 0.0
    for (x0, y0, z0), (x1, y1, z1) in zip(points, [*points[1:], points[0]]):
        nx += (y0 - y1) * (z0 + z1)
        ny += (z0 - z1) * (x0 + x1)
        nz += (x0 - x1) * (y0 + y1)
    length = max(1e-12, (nx * nx + ny * ny + nz * nz) ** 0.5)
    px, py, pz = points[0]
    outside = nx * (px - inside[0]) + ny * (py - inside[1]) + nz * (pz - inside[2])
    length = length if outside >= 0 else -length
    return nx / length, ny / length, nz / length
