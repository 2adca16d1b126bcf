"""The camera: a level pinhole whose pitch is a shift of the horizon, as in a lens with vertical shift.

World axes are x right, y up, z along the street, in metres. Keeping the image plane vertical makes every
image row of the ground one depth, and every upright line upright, which the renderer relies on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.synth.chance import Floats

NEAR = 0.5  # metres in front of the camera where geometry is cut off
SUBPIXEL = 4  # fractional bits of a point handed to OpenCV's drawing functions

FAR = 400_000.0  # in such fractions

Matrix = tuple[float, float, float, float, float, float, float, float, float]  # row-major 3x3
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Camera:
    """Where one frame is seen from.

    ``hand`` is +1 for traffic on the right and -1 for traffic on the left, which is the same world seen
    in a mirror. (``center_x``, ``horizon``) is the image of the point at infinity straight ahead.
    """

    x: float
    y: float
    z: float
    sin: float
    cos: float
    focal: float
    center_x: float
    horizon: float
    hand: float
    width: int
    height: int

    def view(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Camera coordinates (right, up, depth) of world points, elementwise."""
        dx, dz = x - self.x, z - self.z
        return (dx * self.cos - dz * self.sin) * self.hand, y - self.y, dx * self.sin + dz * self.cos

    def project(self, right: Floats, up: Floats, depth: Floats) -> tuple[Floats, Floats]:
        """Pixel coordinates of camera-space points; depth must be positive."""
        scale = self.focal / depth
        return self.center_x + right * scale, self.horizon - up * scale

    def depth_of(self, x: float, z: float) -> float:
        """Distance of one world point along the optical axis."""
        return (x - self.x) * self.sin + (z - self.z) * self.cos

    def view_point(self, x: float, z: float) -> tuple[float, float]:
        """Metres right of the camera and ahead of it, of one world point."""
        dx, dz = x - self.x, z - self.z
        return (dx * self.cos - dz * self.sin) * self.hand, dx * self.sin + dz * self.cos

    def plane(self, origin: Vector, along: Vector, down: Vector) -> Matrix:
        """The homography from plane coordinates (u, v) to pixels, of the points ``origin + u along + v down``.

        Each argument is a world vector; ``origin`` a point. Row-major 3x3.
        """
        a, d, g = self._image_of(*along)
        b, e, h = self._image_of(*down)
        c, f, i = self._image_of(origin[0] - self.x, origin[1] - self.y, origin[2] - self.z)
        return a, b, c, d, e, f, g, h, i

    def _image_of(self, dx: float, dy: float, dz: float) -> Vector:
        """Homogeneous pixel coordinates of a direction."""
        right = (dx * self.cos - dz * self.sin) * self.hand
        depth = dx * self.sin + dz * self.cos
        return self.focal * right + self.center_x * depth, self.horizon * depth - self.focal * dy, depth


def inverted(m: Matrix) -> Matrix | None:
    """The inverse of a 3x3 matrix up to scale, None where the plane is seen edge-on."""
    a, b, c, d, e, f, g, h, i = m
    x, y, z = e * i - f * h, f * g - d * i, d * h - e * g
    if abs(a * x + b * y + c * z) < 1e-9:
        return None
    return x, c * h - b * i, b * f - c * e, y, a * i - c * g, c * d - a * f, z, b * g - a * h, a * e - b * d


def to_fixed(px: Floats, py: Floats) -> npt.NDArray[np.int32]:
    """Points as OpenCV's drawing functions take them, (..., 2) i32 with SUBPIXEL fractional bits.

    Far-away coordinates are held within what the rasteriser can add up without overflow.
    """
    points = np.stack((px, py), axis=-1) * (1 << SUBPIXEL)
    return np.asarray(np.floor(np.clip(points, -FAR, FAR) + 0.5), np.int32)


def points_to_fixed(points: Sequence[tuple[float, float]]) -> npt.NDArray[np.int32]:
    """The same for a handful of points, for which array arithmetic takes longer than this."""
    one = 1 << SUBPIXEL
    return np.array(
        [[math.floor(min(max(c * one, -FAR), FAR) + 0.5) for c in point] for point in points],
        np.int32,
    )


def clipped(points: Floats) -> Floats:
    """A convex polygon (N, 3) in camera space, cut at the near plane; may come back empty."""
    kept: list[Floats] = []
    for k in range(len(points)):
        here, there = points[k - 1], points[k]
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            t = (NEAR - here[2]) / (there[2] - here[2])
            kept.append(here + (there - here) * t)
        if there[2] >= NEAR:
            kept.append(there)
    return np.array(kept, np.float64).reshape(-1, 3)
