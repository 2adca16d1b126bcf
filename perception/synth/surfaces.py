"""Textured things: upright panels (facades, walls, fences) and flat cut-outs (tree crowns, bushes).

Shrunken and shaded versions of textures are kept, so that drawing one is a single warp or copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.camera import NEAR, SUBPIXEL, Camera, Matrix, inverted, points_to_fixed
from perception.synth.light import Light
from perception.synth.solids import Box, Canvas
from perception.types import Image

DEPTH_STEP = 12.0  # metres between two stored shadings of a texture
KEPT_BYTES = 20 << 20  # of shaded versions
SHRUNK_BYTES = 8 << 20  # of shrunken ones that are not shaded yet
Look = npt.NDArray[np.uint8]  # (h, w, 4): shaded colour and slot, slot 0 where nothing is


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """A picture of a surface. ``mask`` is 255 where something is, None for a closed surface."""

    color: Image
    density: float  # pixels a metre
    glow: Image | None = None  # light that the surface gives off itself
    mask: npt.NDArray[np.uint8] | None = None


class Shelf:
    """Pictures made from textures, the least recently used given up beyond so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[int, ...], tuple[object, Look]] = OrderedDict()
        self._bytes = 0

    def get(self, origin: object, key: tuple[int, ...], make: Callable[[], Look]) -> Look:
        """What was made from ``origin`` under this key, made now if it is not here."""
        key = (id(origin), *key)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found[1]
        picture = make()
        self._kept[key] = origin, picture  # the origin too: an id may be given again once its owner is gone
        self._bytes += picture.nbytes
        while self._bytes > self._limit:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return picture


class Shader:
    """Shrunken and shaded versions of textures under one light, kept while they are in use.

    Shading changes with the distance, and shrinking costs most of it, so what is shrunken is kept apart.
    """

    def __init__(self, light: Light) -> None:
        self._light = light
        self._shaded, self._small = Shelf(KEPT_BYTES), Shelf(SHRUNK_BYTES)

    def look(self, texture: Texture, slot: int, shrink: tuple[int, int], depth: float, facing: float) -> Look:
        """The texture at 1/2^n of its size per axis, as it appears from this distance."""
        bucket = min(20, int(depth / DEPTH_STEP))
        key = (slot, *shrink, bucket, round(facing * 1000))
        away = (bucket + 0.5) * DEPTH_STEP
        return self._shaded.get(texture, key, lambda: self._shade(texture, slot, shrink, away, facing))

    def _shade(self, texture: Texture, slot: int, shrink: tuple[int, int], depth: float, facing: float) -> Look:
        height, width = texture.color.shape[:2]
        size = max(1, width >> shrink[0]), max(1, height >> shrink[1])
        color = cv2.LUT(self._shrunk(texture.color, size), _curve(self._light, depth, facing))
        if texture.glow is not None:
            color = cv2.add(color, cv2.LUT(self._shrunk(texture.glow, size), _glow_curve(self._light, depth)))
        look = np.full((*color.shape[:2], 4), slot, np.uint8)
        look[..., :3] = color
        if texture.mask is not None:
            look[..., 3][self._shrunk(texture.mask, size) < 110] = 0
        return look

    def _shrunk(self, image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        if (image.shape[1], image.shape[0]) == size:
            return image
        return self._small.get(
            image, size, lambda: np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A textured upright rectangle from (x0, z0) to (x1, z1) in the world, ``low`` to ``high`` metres up."""

    texture: Texture
    start: tuple[float, float]
    end: tuple[float, float]
    low: float
    high: float
    class_id: int
    box: Box
    facing: float = 0.3  # cosine to the sun
    class_holes: bool = False  # what is seen through it keeps its colour but gets the panel's class


@dataclass(frozen=True, slots=True, eq=False)
class CutOut:
    """A picture that stands upright at a place and faces the camera."""

    texture: Texture
    at: tuple[float, float, float]  # world point of the middle of its lower edge
    width: float
    height: float
    class_id: int
    box: Box


def draw_panel(canvas: Canvas, camera: Camera, shader: Shader, panel: Panel) -> None:
    """Paint what is visible of a panel."""
    edges = _edges(camera, panel)
    if edges is None:
        return
    (t0, x0, top0, low0, z0), (t1, x1, top1, low1, z1) = edges
    left, right = max(0, int(min(x0, x1))), min(camera.width, int(max(x0, x1)) + 2)
    top, low = max(0, int(min(top0, top1))), min(camera.height, int(max(low0, low1)) + 2)
    if left >= right or top >= low:
        return
    height, width = panel.texture.color.shape[:2]
    shrink = (
        _halvings(width * abs(t1 - t0) / max(1.0, abs(x1 - x0)), width),
        _halvings(2 * height / max(2.0, low0 - top0 + low1 - top1), height),
    )
    look = shader.look(panel.texture, panel.class_id, shrink, (z0 + z1) / 2, panel.facing)
    outline = points_to_fixed(((x0, top0), (x1, top1), (x1, low1), (x0, low0)))
    if not panel.class_holes:
        mean = look[look.shape[0] // 2, look.shape[1] // 2].tolist()
        cv2.fillConvexPoly(canvas, outline, mean, cv2.LINE_8, SUBPIXEL)
    inverse = inverted(_plane(camera, panel, look))
    if inverse is None or right - left < 3:
        return
    a, b, c, d, e, f, g, h, i = inverse
    matrix = np.array(
        ((a, b, c + a * left + b * top), (d, e, f + d * left + e * top), (g, h, i + g * left + h * top)), np.float64
    )
    window = canvas[top:low, left:right]
    size = right - left, low - top
    if not panel.class_holes:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpPerspective(look, matrix, size, dst=window, flags=flags, borderMode=cv2.BORDER_TRANSPARENT)
        return
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    patch = cv2.warpPerspective(look, matrix, size, flags=flags, borderValue=(0, 0, 0, 0))
    cv2.copyTo(patch, cv2.extractChannel(patch, 3), window)
    inside = np.zeros(window.shape[:2], np.uint8)
    shifted = outline - np.array((left, top), np.int32) * (1 << SUBPIXEL)
    cv2.fillConvexPoly(inside, shifted, (1,), cv2.LINE_8, SUBPIXEL)
    window[..., 3][inside > 0] = panel.class_id


Edge = tuple[float, float, float, float, float]  # share of the length, column, upper row, lower row, depth


def _edges(camera: Camera, panel: Panel) -> tuple[Edge, Edge] | None:
    """The two upright edges of what lies before the near plane, None where nothing does."""
    r0, z0 = camera.view_point(*panel.start)
    r1, z1 = camera.view_point(*panel.end)
    if max(z0, z1) <= NEAR:
        return None

    def edge(t: float) -> Edge:
        depth = max(NEAR, z0 + (z1 - z0) * t)
        scale = camera.focal / depth
        x = camera.center_x + (r0 + (r1 - r0) * t) * scale
        return (
            t,
            x,
            camera.horizon - (panel.high - camera.y) * scale,
            camera.horizon - (panel.low - camera.y) * scale,
            depth,
        )

    cut = (NEAR - z0) / (z1 - z0) if min(z0, z1) < NEAR else 0.0
    return edge(cut if z0 < NEAR else 0.0), edge(cut if z1 < NEAR else 1.0)


def draw_cut_out(canvas: Canvas, camera: Camera, shader: Shader, item: CutOut) -> None:
    """Paint a tree crown or bush."""
    right, depth = camera.view_point(item.at[0], item.at[2])
    up = item.at[1] - camera.y
    if depth < 1.2:
        return
    scale = camera.focal / depth
    left = round(camera.center_x + right * scale - item.width * scale / 2)
    top = round(camera.horizon - (up + item.height) * scale)
    wide, tall = max(1, round(item.width * scale)), max(1, round(item.height * scale))
    x0, x1 = max(0, left), min(camera.width, left + wide)
    y0, y1 = max(0, top), min(camera.height, top + tall)
    if x0 >= x1 or y0 >= y1:
        return
    height, width = item.texture.color.shape[:2]
    shrink = _halvings(width / wide, width), _halvings(height / tall, height)
    look = shader.look(item.texture, item.class_id, shrink, depth, 0.5)
    columns = (np.arange(x0 - left, x1 - left) * look.shape[1]) // wide
    rows = (np.arange(y0 - top, y1 - top) * look.shape[0]) // tall
    pixels = look.view(np.uint32)[..., 0]  # colour and slot in one go
    patch = pixels[rows[:, None], columns[None]][..., None].view(np.uint8)
    cv2.copyTo(patch, cv2.extractChannel(patch, 3), canvas[y0:y1, x0:x1])


def _plane(camera: Camera, panel: Panel, look: Look) -> Matrix:
    """The homography from pixels of a look to pixels of the screen."""
    height, width = look.shape[:2]
    (x0, z0), (x1, z1) = panel.start, panel.end
    ax, az, dy = (x1 - x0) / width, (z1 - z0) / width, (panel.low - panel.high) / height
    origin = x0 + ax * 0.5, panel.high + dy * 0.5, z0 + az * 0.5
    return camera.plane(origin, (ax, 0.0, az), (0.0, dy, 0.0))


def _halvings(ratio: float, length: int) -> int:
    count = 0
    while ratio > 1.5 and length >> (count + 1) >= 4:
        ratio, count = ratio / 2, count + 1
    return count


def _curve(light: Light, depth: float, facing: float) -> npt.NDArray[np.uint8]:
    power = light.power(np.asarray(depth), np.asarray(facing))
    veil = float(light.veil(depth))
    level = np.arange(256.0)[:, None] * power * (1.0 - veil) + np.array(light.fog) * veil
    return np.asarray(np.minimum(level, 255.0), np.uint8).reshape(256, 1, 3)


def _glow_curve(light: Light, depth: float) -> npt.NDArray[np.uint8]:
    level = np.arange(256.0)[:, None] * np.full(3, light.lamp * (1.0 - float(light.veil(depth))))
    return np.asarray(level, np.uint8).reshape(256, 1, 3)
