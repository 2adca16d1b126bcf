"""Placed meshes: all polygons of a frame go to the screen in one batch of array arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.camera import NEAR, SUBPIXEL, Camera, clipped, to_fixed
from perception.synth.chance import Floats
from perception.synth.light import Light
from perception.synth.shapes import EMISSIVE, Mesh, Model

SWITCHED_ON = 205  # brightest channel from which on a lamp's colour means that it is lit
Canvas = npt.NDArray[np.uint8]  # (H, W, 4): blue, green, red, slot
Box = tuple[float, float, float, float]  # d0, d1, z0, z1 in street coordinates


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A model at a place. ``track`` names the object for ever; -1 is stuff."""

    model: Model
    at: tuple[float, float, float]  # world point of the model's origin
    heading: tuple[float, float]  # unit vector (x, z) the model's z axis points along
    palette: Floats  # (ROWS, 3) BGR
    class_id: int
    track: int
    box: Box
    scale: float = 1.0
    card: bool = False  # a flat figure that turns its face to the camera


@dataclass(frozen=True, slots=True)
class Glow:
    """A lamp on the screen."""

    x: float
    y: float
    radius: float
    color: tuple[float, float, float]
    slot: int


class Batch:
    """The polygons of a frame's solids, projected, shaded and sorted; drawn one solid at a time."""

    def __init__(self, camera: Camera, light: Light, solids: Sequence[Solid], slots: Sequence[int]) -> None:
        self._solids, self._slots = solids, slots
        self._camera, self._light = camera, light
        meshes = [solid.model.level(self._pixels(solid)) for solid in solids]
        self._meshes = meshes
        if solids:
            self._project(meshes)

    def draw(self, canvas: Canvas, index: int) -> None:
        """Paint solid ``index`` of the sequence given."""
        points, begin, end = self._points, self._begin, self._end
        for k in range(self._starts[index], self._starts[index + 1]):
            face = self._order[k]
            outline = self._cut[face] if face in self._cut else points[begin[face] : end[face]]
            cv2.fillConvexPoly(canvas, outline, self._colors[k], cv2.LINE_8, SUBPIXEL)

    def glows(self) -> list[Glow]:
        """Every lamp that shines towards the camera, nearest last."""
        found: list[tuple[float, Glow]] = []
        for solid, mesh, slot in zip(self._solids, self._meshes, self._slots):
            for (x, y, z), row, radius in mesh.lamps:
                fx, fz = solid.heading
                toward = (solid.at[0] - self._camera.x) * fx + (solid.at[2] - self._camera.z) * fz + z
                if toward * z > 0 or solid.palette[row].max() < SWITCHED_ON:  # it shines the other way, or not at all
                    continue
                world = np.array(
                    [solid.at[0] + x * fz + z * fx, solid.at[1] + y * solid.scale, solid.at[2] - x * fx + z * fz]
                )
                right, up, depth = self._camera.view(world[0], world[1], world[2])
                if depth > 1.5:
                    px, py = self._camera.project(right, up, depth)
                    b, g, r = (float(c) for c in solid.palette[row])
                    size = radius * self._camera.focal / float(depth)
                    found.append((-float(depth), Glow(float(px), float(py), size, (b, g, r), slot)))
        return [glow for _, glow in sorted(found, key=lambda item: item[0])]

    def _pixels(self, solid: Solid) -> float:
        depth = self._camera.depth_of(solid.at[0], solid.at[2]) - solid.model.half_length
        return solid.model.height * solid.scale * self._camera.focal / max(NEAR, depth)

    def _project(self, meshes: Sequence[Mesh]) -> None:
        faces = np.array([len(mesh.sizes) for mesh in meshes])
        owner = np.repeat(np.arange(len(meshes)), faces)
        sizes = np.concatenate([mesh.sizes for mesh in meshes])
        end = np.cumsum(sizes)
        begin = end - sizes
        at = np.array([solid.at for solid in self._solids])
        heading = np.array([self._facing(solid) for solid in self._solids])
        scale = np.array([solid.scale for solid in self._solids])

        def placed(local: Floats, who: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
            """World coordinates of local points (N, 3) of the solids ``who``."""
            size, fx, fz = scale[who], heading[who, 0], heading[who, 1]
            x, y, z = local[:, 0] * size, local[:, 1] * size, local[:, 2] * size
            return at[who, 0] + x * fz + z * fx, at[who, 1] + y, at[who, 2] - x * fx + z * fz

        camera = self._camera
        corners = placed(np.concatenate([m.corners for m in meshes]), np.repeat(owner, sizes))
        local = np.concatenate([m.normals for m in meshes])
        fx, fz = heading[owner, 0], heading[owner, 1]
        normals = local[:, 0] * fz + local[:, 2] * fx, local[:, 1], local[:, 2] * fz - local[:, 0] * fx
        eye = camera.x, camera.y, camera.z
        facing = sum(n * (c[begin] - e) for n, c, e in zip(normals, corners, eye))
        view = camera.view(*corners)
        far, near = np.maximum.reduceat(view[2], begin), np.minimum.reduceat(view[2], begin)
        part = camera.view(*placed(np.concatenate([m.centers for m in meshes]), owner))[2]
        seen = np.flatnonzero((far > NEAR) & (facing <= 0.0))
        order = seen[np.lexsort((seen, -part[seen], owner[seen]))]
        self._starts = np.searchsorted(owner[order], np.arange(len(meshes) + 1)).tolist()
        self._order, self._begin, self._end = order.tolist(), begin.tolist(), end.tolist()
        self._points = to_fixed(*camera.project(view[0], view[1], np.maximum(view[2], NEAR)))
        self._cut = self._clip(view, order[near[order] < NEAR].tolist())
        turned = normals[0][order], normals[1][order], normals[2][order]
        self._colors = self._shade(order, owner[order], turned, np.maximum(near[order], 0.0))

    def _facing(self, solid: Solid) -> tuple[float, float]:
        if not solid.card:
            return solid.heading
        dx, dz = solid.at[0] - self._camera.x, solid.at[2] - self._camera.z
        length = max(1e-6, (dx * dx + dz * dz) ** 0.5)
        return dx / length, dz / length

    def _clip(self, view: tuple[Floats, Floats, Floats], faces: list[int]) -> dict[int, npt.NDArray[np.int32]]:
        """Faces that reach behind the camera, cut at the near plane."""
        cut: dict[int, npt.NDArray[np.int32]] = {}
        for face in faces:
            corners = slice(self._begin[face], self._end[face])
            points = clipped(np.stack([axis[corners] for axis in view], axis=-1))
            cut[face] = to_fixed(*self._camera.project(points[:, 0], points[:, 1], points[:, 2]))
        return cut

    def _shade(
        self,
        order: npt.NDArray[np.int64],
        owner: npt.NDArray[np.int64],
        normals: tuple[Floats, Floats, Floats],
        depth: Floats,
    ) -> list[list[float]]:
        light = self._light
        materials = np.concatenate([m.materials for m in self._meshes])[order]
        palettes = np.stack([solid.palette for solid in self._solids])
        base = palettes[owner, materials]
        cosine = sum(n * s for n, s in zip(normals, light.sun))
        flat = (normals[0] == 0) & (normals[1] == 0) & (normals[2] == 0)
        power = light.power(depth, np.where(flat, 0.45, cosine))
        power *= (1.0 + 0.10 * normals[1])[:, None]  # the sky is brighter than the street
        lit = np.where((materials >= EMISSIVE)[:, None], base * light.lamp, base * power)
        veil = light.veil(depth)[:, None]
        colors = np.minimum(lit * (1.0 - veil) + np.array(light.fog) * veil, 255.0)
        slots = np.array(self._slots, np.float64)[owner]
        rows: list[list[float]] = np.concatenate((np.floor(colors), slots[:, None]), axis=1).tolist()
        return rows
