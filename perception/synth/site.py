"""A building site: places things at street coordinates and keeps what a cell consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.light import Light
from perception.synth.palette import TERRAIN, VEGETATION
from perception.synth.route import Route
from perception.synth.shapes import Model
from perception.synth.solids import Solid
from perception.synth.surfaces import CutOut, Panel, Texture

Patch = tuple[float, ...]  # layer, d0, d1, z0, z1, y at d0, y at d1, blue, green, red, class
Outline = Sequence[tuple[float, float]]  # street coordinates (d, z), 4 corners

GRASS = (62, 112, 96)


Thing = Solid | Panel | CutOut


@dataclass(slots=True)
class Draft:
    """What one stretch of street holds, while it is laid out."""

    index: int
    things: list[Thing] = field(default_factory=list)
    ground: list[Patch] = field(default_factory=list)
    shadows: list[Outline] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One stretch of street. ``boxes`` and ``heights`` belong to ``things``, row by row."""

    things: tuple[Thing, ...]
    boxes: Floats  # (N, 4) d0, d1, z0, z1
    heights: Floats  # (N,) metres
    ground: Floats  # (M, 11) rows of Patch
    shadows: Floats  # (K, 4, 2) outlines in street coordinates


def finished(draft: Draft) -> Cell:
    """The cell as it is drawn."""
    return Cell(
        tuple(draft.things),
        np.array([thing.box for thing in draft.things]).reshape(-1, 4),
        np.array([height_of(thing) for thing in draft.things]),
        np.array(draft.ground).reshape(-1, 11),
        np.array(draft.shadows).reshape(-1, 4, 2),
    )


def height_of(thing: Thing) -> float:
    """Metres from the lower to the upper edge."""
    if isinstance(thing, Solid):
        return thing.model.height * thing.scale
    return thing.high - thing.low if isinstance(thing, Panel) else thing.height


class Site:
    """One side of one cell. ``side`` is +1 right and -1 left; ``d`` counts outwards from the centre line."""

    def __init__(self, cell: Draft, route: Route, light: Light, dice: Dice, side: float) -> None:
        self.cell, self.route, self.light, self.dice, self.side = cell, route, light, dice, side
        self.section = route.section
        self.dark = light.ambient[1] < 0.45

    def solid(
        self,
        model: Model,
        d: float,
        z: float,
        palette: Floats,
        class_id: int,
        *,
        y: float = 0.0,
        track: int = -1,
        turn: str = "along",
        scale: float = 1.0,
        card: bool = False,
    ) -> None:
        """Stand a model at (d, z). ``turn``: along or against the street, or facing ``out`` of or ``in`` to it."""
        fx, fz = self.route.heading(z)
        heading = {"along": (fx, fz), "against": (-fx, -fz), "out": (fz * self.side, -fx * self.side),
                   "in": (-fz * self.side, fx * self.side)}[turn]  # fmt: skip
        wide, deep = model.half_width * scale, model.half_length * scale
        if turn in ("in", "out"):
            wide, deep = deep, wide
        d *= self.side
        self.cell.things.append(
            Solid(
                model,
                self.route.world(d, z, y),
                heading,
                palette,
                class_id,
                track,
                (d - wide, d + wide, z - deep, z + deep),
                scale,
                card,
            )
        )

    def panel(
        self,
        texture: Texture,
        start: tuple[float, float],
        end: tuple[float, float],
        low: float,
        high: float,
        class_id: int,
        *,
        holes: bool = False,
    ) -> None:
        """Stand a textured panel from ``start`` to ``end``, each (d, z)."""
        (d0, z0), (d1, z1) = ((d * self.side, z) for d, z in (start, end))
        x0, _, _ = self.route.world(d0, z0)
        x1, _, _ = self.route.world(d1, z1)
        sun = self.light.sun
        facing = -sun[2] if abs(d1 - d0) > abs(z1 - z0) else -sun[0] * self.side
        box = min(d0, d1) - 0.02, max(d0, d1) + 0.02, min(z0, z1), max(z0, z1)
        self.cell.things.append(Panel(texture, (x0, z0), (x1, z1), low, high, class_id, box, facing, holes))

    def plant(self, texture: Texture, d: float, z: float, low: float, width: float, height: float) -> None:
        """Stand a crown or bush whose picture is so large, in metres."""
        d *= self.side
        box = d - width * 0.35, d + width * 0.35, z - 0.3, z + 0.3
        self.cell.things.append(CutOut(texture, self.route.world(d, z, low), width, height, VEGETATION, box))
        if low > 0.5:
            self.shadow_of(abs(d), z, width * 0.4, width * 0.4, low + height * 0.6, low + height * 0.4)

    def patch(
        self,
        layer: int,
        d: tuple[float, float],
        z: tuple[float, float],
        color: Sequence[float],
        class_id: int,
        y: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Paint a rectangle of ground, cut into pieces short enough to follow the curve."""
        count = max(1, round((z[1] - z[0]) / 12.0))
        step = (z[1] - z[0]) / count
        d0, d1 = d[0] * self.side, d[1] * self.side
        for k in range(count):
            piece = z[0] + k * step, z[0] + (k + 1) * step
            self.cell.ground.append((float(layer), d0, d1, *piece, *y, *color, float(class_id)))

    def grass(self, d: tuple[float, float], z: tuple[float, float], layer: int = 4) -> None:
        """A lawn."""
        self.patch(layer, d, z, self.dice.around(GRASS, 14), TERRAIN, (0.12, 0.12))

    def shadow_of(self, d: float, z: float, wide: float, deep: float, high: float, low: float = 0.0) -> None:
        """The shadow of a box at (d, z), half sizes ``wide`` x ``deep``, between two heights."""
        sx, sy, sz = self.light.sun
        if self.light.shadow > 0.93 or sy < 0.15:
            return
        d *= self.side
        run = min(high / sy, 30.0)
        from_ = min(low / sy, 30.0)
        offsets = (-sx * from_, -sz * from_), (-sx * run, -sz * run)
        (ax, az), (bx, bz) = ((0.0, -deep), (0.0, deep)) if abs(sx) > abs(sz) else ((-wide, 0.0), (wide, 0.0))
        (ox, oz), (px, pz) = offsets
        self.cell.shadows.append(
            (
                (d + ax + ox, z + az + oz),
                (d + bx + ox, z + bz + oz),
                (d + bx + px, z + bz + pz),
                (d + ax + px, z + az + pz),
            )
        )
