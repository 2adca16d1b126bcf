"""Drawing of the ground: flat patches, then one pass of grain, shadow and headlight over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.camera import NEAR, SUBPIXEL, Camera, inverted, to_fixed
from perception.synth.chance import Floats, grain
from perception.synth.light import Light
from perception.synth.palette import TERRAIN
from perception.synth.route import Route
from perception.synth.site import Cell
from perception.synth.solids import Canvas, Solid
from perception.types import Image

START = 1.6  # metres before the camera where the ground begins
TILE = 512  # pixels of the grain's tile
PER_METRE = 28.0
FINE_LAYER = 3  # kerbs, lawns, mended places and markings; what lies below them is never left out
CONTACT = 0.42  # brightness under a vehicle


def draw_ground(canvas: Canvas, camera: Camera, light: Light, route: Route, cells: Sequence[Cell], first: int) -> None:
    """Paint every patch in the order of its layer; rows from ``first`` down are cleared beforehand."""
    base = np.array((96.0, 104.0, 100.0)) * np.array(light.ambient)
    canvas[first:] = (*np.minimum(base, 255).astype(np.uint8).tolist(), TERRAIN)
    table = np.concatenate([cell.ground for cell in cells])
    table = table[(table[:, 4] > camera.z + START)]
    table = table[np.argsort(table[:, 0], kind="stable")]
    d0, d1, z0, z1, y0, y1 = table.T[1:7]
    z0 = np.maximum(z0, camera.z + START)
    d = np.stack((d0, d1, d1, d0), axis=1)
    z = np.stack((z0, z0, z1, z1), axis=1)
    y = np.stack((y0, y1, y1, y0), axis=1)
    x, z = route.corners(d, z)
    right, up, depth = camera.view(x, y, z)
    px, py = camera.project(right, up, np.maximum(depth, NEAR))
    seen = (
        (px.max(axis=1) > 0) & (px.min(axis=1) < camera.width) & (py.max(axis=1) > 0) & (py.min(axis=1) < camera.height)
    )
    seen &= (table[:, 0] < FINE_LAYER) | (py.max(axis=1) - py.min(axis=1) > 0.4)  # lines too thin to be seen
    points = to_fixed(px[seen], py[seen])
    colors = _tinted(light, depth[seen], table[seen])
    for outline, color in zip(points, colors):
        cv2.fillConvexPoly(canvas, outline, color, cv2.LINE_8, SUBPIXEL)


def _tinted(light: Light, depth: Floats, table: Floats) -> list[list[float]]:
    middle = np.maximum(depth, NEAR).min(axis=1) * 0.5 + depth.max(axis=1) * 0.5
    up_facing = np.full(len(table), max(0.0, light.sun[1]))
    far = np.full(len(table), 1e6)  # our own headlights come with the grain, so that they fall off smoothly
    veil = light.veil(middle)[:, None]
    tint = np.minimum(table[:, 7:10] * light.power(far, up_facing), 255.0) * (1 - veil) + np.array(light.fog) * veil
    rows: list[list[float]] = np.concatenate((np.floor(tint), table[:, 10:]), axis=1).tolist()
    return rows


class Relief:
    """Grain, shadows and headlights of the ground, laid over the patches at half resolution."""

    def __init__(self, light: Light) -> None:
        self._light = light
        self._unity = 150 if light.headlights < 0.2 else 60
        coarse = 0.2 * grain(TILE, 8, 81) + 0.4 * grain(TILE, 32, 82) + 0.6 * grain(TILE, 128, 83)
        fine = 0.9 * grain(TILE, 2, 84)
        tile = self._unity * (1.0 + 0.20 * (coarse - 0.6) + 0.26 * (fine - 0.45))
        self._tile = np.clip(np.floor(tile), 0, 255).astype(np.uint8)

    def lay_over(
        self, canvas: Canvas, camera: Camera, shadows: npt.NDArray[np.float64], dark: Sequence[Floats]
    ) -> None:
        """Modulate the canvas below the horizon.

        ``shadows`` (N, 4, 2) and each of ``dark`` (K, 4, 2) are world (x, z) outlines: cast shadows, and
        the darker places under vehicles.
        """
        top = max(0, int(camera.horizon) + 2)
        height, width = canvas.shape[0] - top, canvas.shape[1]
        if height < 4:
            return
        size = width // 2, (height + 1) // 2
        plane = camera.plane((0.0, 0.0, 0.0), (1 / PER_METRE, 0.0, 0.0), (0.0, 0.0, 1 / PER_METRE))
        inverse = inverted(plane)
        assert inverse is not None  # the camera is above the ground
        matrix = np.array(inverse).reshape(3, 3)
        matrix = np.stack(
            (matrix[:, 0] * 2, matrix[:, 1] * 2, matrix[:, 0] * 0.5 + matrix[:, 1] * (top + 0.5) + matrix[:, 2]), axis=1
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shade = np.asarray(
            cv2.warpPerspective(self._tile, matrix, size, flags=flags, borderMode=cv2.BORDER_WRAP), np.uint8
        )
        far = max(1, int(camera.y * camera.focal / 30.0 / 2))  # rows beyond 30 m: finer than a pixel
        shade[:far] = self._unity
        self._shadows(shade, camera, top, shadows, self._light.shadow)
        for outlines in dark:
            self._shadows(shade, camera, top, outlines, CONTACT)
        if self._light.headlights > 0.2:
            shade = self._beam(shade, camera, top)
        full = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        layer = cv2.merge((full, full, full, np.full_like(full, self._unity)))
        cv2.multiply(canvas[top:], layer, dst=canvas[top:], scale=1.0 / self._unity)

    def _shadows(self, shade: Image, camera: Camera, top: int, outlines: Floats, strength: float) -> None:
        if len(outlines) == 0 or strength > 0.97:
            return
        mask = np.full(shade.shape, 255, np.uint8)
        x, z = outlines[..., 0], outlines[..., 1]
        right, up, depth = camera.view(x, np.zeros_like(x), z)
        ahead = depth.max(axis=1) > START
        px, py = camera.project(right, up, np.maximum(depth, START * 0.6))
        points = to_fixed(px / 2 - 0.25, (py - top) / 2 - 0.25)
        for k in np.flatnonzero(ahead).tolist():
            cv2.fillConvexPoly(mask, points[k], (round(255 * strength),), cv2.LINE_8, SUBPIXEL)
        soft = cv2.blur(mask, (5, 3)) if strength >= 0.44 else cv2.blur(mask, (9, 5))
        cv2.multiply(shade, soft, dst=shade, scale=1 / 255)

    def _beam(self, shade: Image, camera: Camera, top: int) -> Image:
        rows = (np.arange(shade.shape[0]) * 2 + top + 1 - camera.horizon) / (camera.y * camera.focal)
        depth = 1.0 / np.maximum(rows, 1e-3)
        columns = (np.arange(shade.shape[1]) * 2 + 1 - camera.center_x) / camera.focal
        side = columns / 0.34
        spread = 1.0 / (1.0 + side * side * side * side)
        reach = 1.0 / (1.0 + (depth / 13.0) * (depth / 13.0)) * np.minimum(1.0, depth / 5.0)
        gain = 1.0 + 2.3 * reach[:, None] * spread[None]
        return np.asarray(np.minimum(shade * gain, 255.0), np.uint8)


def footprints(solids: Sequence[Solid], light: Light) -> tuple[Floats, Floats]:
    """World outlines (N, 4, 2) of the cast shadows and of the ground right under these solids."""
    if not solids:
        return np.zeros((0, 4, 2)), np.zeros((0, 4, 2))
    at = np.array([(s.at[0], s.at[2]) for s in solids])
    forward = np.array([s.heading for s in solids])
    across = np.stack((forward[:, 1], -forward[:, 0]), axis=1)
    wide = np.array([s.model.half_width * s.scale * 1.03 for s in solids])[:, None]
    deep = np.array([s.model.half_length * s.scale * 1.02 for s in solids])[:, None]
    tall = np.array([s.model.height * s.scale for s in solids])[:, None]
    corners = [at + across * wide * i + forward * deep * j for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    under = np.stack(corners, axis=1)
    if light.shadow > 0.93:
        return np.zeros((0, 4, 2)), under
    sun = np.array((light.sun[0], light.sun[2])) / max(0.15, light.sun[1])
    moved = under - (sun[None] * np.minimum(tall, 4.0))[:, None]
    # The swept footprint as four sides and its far end: parallelograms, which need no hull.
    sides = [
        np.stack((under[:, k], under[:, (k + 1) % 4], moved[:, (k + 1) % 4], moved[:, k]), axis=1) for k in range(4)
    ]
    return np.concatenate((*sides, moved)), under
