"""The layout: what stands in each cell of the street, as a function of (seed, cell) alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from perception.synth import blocks
from perception.synth.chance import Dice
from perception.synth.light import Light
from perception.synth.pavement import pave
from perception.synth.roadside import furnish
from perception.synth.route import CELL, GROUP, Route
from perception.synth.site import Cell, Draft, Site, finished

Zone = Callable[[Site, float], None]
TOWN: tuple[Zone, ...] = (blocks.terrace, blocks.villas, blocks.park, blocks.yard)
SUBURB: tuple[Zone, ...] = (blocks.meadow, blocks.villas, blocks.park, blocks.yard, blocks.meadow)


class Plan:
    """All cells of one street; each is laid out when it is first seen and kept while it is near."""

    def __init__(self, seed: int, route: Route, light: Light) -> None:
        self._seed, self._route, self._light = seed, route, light
        self._cell = lru_cache(maxsize=9)(self._lay_out)

    def cells(self, start: float, end: float) -> list[Cell]:
        """The cells between two places along the street, nearest first."""
        return [self._cell(k) for k in range(int(start // CELL), int(end // CELL) + 1)]

    def _lay_out(self, index: int) -> Cell:
        cell = Draft(index)
        junction = index % GROUP == 2
        pave(Site(cell, self._route, self._light, Dice(self._seed, 20, index), 1.0), junction=junction)
        for side in (-1.0, 1.0):
            key = int(side) + 2
            site = Site(cell, self._route, self._light, Dice(self._seed, 21, index, key), side)
            if junction:
                blocks.junction(site, index * CELL)
            else:
                zones = SUBURB if self._route.section.suburb else TOWN
                order = Dice(self._seed, 22, index // GROUP, key).shuffled(zones)
                order[(index % GROUP) % len(order)](site, index * CELL)
            furnish(site, index * CELL, junction=junction)
        return finished(cell)
