"""The ground of a cell: carriageway, kerbs, pavements, markings, tram rails and crossings."""

from __future__ import annotations

from perception.synth.palette import ROAD, SIDEWALK, TERRAIN
from perception.synth.route import CELL, TRAM
from perception.synth.site import GRASS, Site

PAINT = (222, 226, 226)
BASE, WALK, VERGE, KERB, LAWN, STREET, CROSS, MARKING = range(8)
KERB_HEIGHT = 0.12
SIDE_STREET = 10.0, 24.0  # metres into a junction's cell between which the side street lies


def pave(site: Site, *, junction: bool) -> None:
    """Lay the ground of both sides of a cell."""
    section, z0 = site.section, site.cell.index * CELL
    whole = (z0, z0 + CELL)
    tone = 14.0 * site.route.section.wear - 7.0 + site.dice.between(-2, 2)
    asphalt = (108 + tone, 106 + tone, 105 + tone)
    slabs = site.dice.around((150, 156, 160), 10)
    for side in (-1.0, 1.0):
        site.side = side
        site.patch(BASE, (section.front + 0.1, 90.0), whole, site.dice.around(GRASS, 10), TERRAIN)
        site.patch(WALK, (section.road, section.front + 0.2), whole, slabs, SIDEWALK, (KERB_HEIGHT, KERB_HEIGHT))
        gaps = [(z0, z0 + SIDE_STREET[0]), (z0 + SIDE_STREET[1], z0 + CELL)] if junction else [whole]
        for part in gaps:
            _kerb(site, part)
            if section.grass_verge and not junction:
                lawn = (section.road + 0.2, section.road + (2.6 if section.suburb else 1.3))
                site.patch(VERGE, lawn, part, site.dice.around(GRASS, 12), TERRAIN, (KERB_HEIGHT, KERB_HEIGHT))
        if junction:
            cross = (z0 + SIDE_STREET[0], z0 + SIDE_STREET[1])
            site.patch(CROSS, (section.road - 0.1, 80.0), cross, asphalt, ROAD)
    site.side = 1.0
    site.patch(STREET, (-section.road, section.road), whole, asphalt, ROAD)
    for _ in range(site.dice.whole(1, 3)):  # mended asphalt and manholes
        d, z = site.dice.between(-section.road, section.road - 1), z0 + site.dice.between(0, CELL - 5)
        dark = site.dice.between(0.80, 1.12)
        size = site.dice.choice(((0.7, 0.7), (1.2, 4.0), (2.5, 3.0)))
        site.patch(CROSS, (d, d + size[0]), (z, z + size[1]), [c * dark for c in asphalt], ROAD)
    _markings(site, z0, junction=junction)


def _kerb(site: Site, z: tuple[float, float]) -> None:
    road = site.section.road
    stone = (172, 176, 178)
    site.patch(KERB, (road, road + 0.16), z, stone, SIDEWALK, (KERB_HEIGHT, KERB_HEIGHT))
    site.patch(MARKING, (road, road), z, (136, 140, 142), SIDEWALK, (0.0, KERB_HEIGHT))


def _markings(site: Site, z0: float, *, junction: bool) -> None:
    section = site.section
    clear = (z0 + SIDE_STREET[0] - 5, z0 + SIDE_STREET[1] + 5) if junction else (z0 + 99, z0 + 99)
    lines = [section.edge - 0.06]
    if section.tram:
        for side in (-1.0, 1.0):
            for rail in (TRAM / 2 - 0.72, TRAM / 2 + 0.72):
                d = side * rail
                site.patch(MARKING, (d - 0.11, d + 0.11), (z0, z0 + CELL), (84, 84, 86), ROAD)
                site.patch(MARKING, (d - 0.03, d + 0.03), (z0, z0 + CELL), (176, 172, 168), ROAD)
        lines.append(TRAM)
    else:
        lines.append(0.0)
    for k in range(6):  # dashes
        start = z0 + 6.0 * k + 1.0
        if clear[0] < start + 3 and start < clear[1]:
            continue
        for d in lines:
            for side in (-1.0, 1.0) if d else (1.0,):
                site.patch(MARKING, (side * d - 0.07, side * d + 0.07), (start, start + 3.0), PAINT, ROAD)
    if junction:
        for z in (z0 + SIDE_STREET[0] - 4.0, z0 + SIDE_STREET[1] + 0.8):
            _zebra(site, z)
        for side, z in ((1.0, z0 + SIDE_STREET[0] - 5.4), (-1.0, z0 + SIDE_STREET[1] + 5.0)):
            inner = TRAM if section.tram else 0.1
            d0, d1 = sorted((side * inner, side * section.edge))
            site.patch(MARKING, (d0, d1), (z, z + 0.4), PAINT, ROAD)
    elif site.dice.chance(0.25):
        _zebra(site, z0 + CELL / 2)


def _zebra(site: Site, z: float) -> None:
    d = -site.section.road + 0.4
    while d < site.section.road - 0.5:
        site.patch(MARKING, (d, d + 0.5), (z, z + 3.2), PAINT, ROAD)
        d += 1.0
