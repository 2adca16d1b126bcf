"""What lines the street: terraces, villas, parks, walled yards and the corners of a junction."""

from __future__ import annotations

import numpy as np

from perception.synth import boundaries, facades, foliage, furniture, roofs
from perception.synth.chance import mix
from perception.synth.palette import BUILDING, FENCE, SIDEWALK, VEGETATION, WALL
from perception.synth.pavement import SIDE_STREET
from perception.synth.route import CELL
from perception.synth.site import Site

DEPTH = 11.0  # metres from the front of a house to its back


def terrace(site: Site, z0: float) -> None:
    """Houses of different height, wall to wall on the building line."""
    _row(site, z0, z0 + CELL)


def _row(site: Site, start: float, end: float, *, set_back: float = 0.0) -> None:
    z = start
    typical = site.dice.whole(2, 5)
    while z < end - 0.5:
        width = min(site.dice.between(7.0, 15.0), end - z)
        if end - z - width < 6.0:
            width = end - z
        floors = max(2, typical + site.dice.whole(-1, 1))
        house(site, z, z + width, site.section.front + set_back, floors, shops=site.dice.chance(0.55))
        z += width


def house(site: Site, z0: float, z1: float, d: float, floors: int, *, shops: bool = False) -> None:
    """One house between two places, its front ``d`` metres from the centre line."""
    dice = site.dice
    key = mix(int(dice.unit() * 2**30)) >> 34
    lit = round(100 * site.light.lit_windows)
    width_dm = round((z1 - z0) * 10)
    front = facades.facade(key, width_dm, floors, shops, lit)
    high = facades.house_height(floors)
    side = facades.blank_side(key, round(DEPTH * 10), floors)
    site.panel(side, (d, z0), (d + DEPTH, z0), 0.0, high, BUILDING)
    site.panel(front, (d, z0), (d, z1), 0.1, high, BUILDING)
    rise = 0 if dice.chance(0.3) else dice.whole(22, 42)
    model = roofs.roof(width_dm, round(DEPTH * 10), rise, dice.whole(0, 2))
    color = front.color[int(0.6 * 22), 5].astype(np.float64)
    site.solid(model, d + DEPTH / 2, (z0 + z1) / 2, roofs.tiles(dice, color), BUILDING, y=high)
    site.shadow_of(d, (z0 + z1) / 2, DEPTH / 2, (z1 - z0) / 2, high)


def villas(site: Site, z0: float) -> None:
    """Two detached houses behind gardens, with a low wall, a fence or a hedge."""
    dice, front = site.dice, site.section.front
    garden = dice.between(3.5, 6.0)
    site.grass((front, front + garden + DEPTH), (z0, z0 + CELL))
    kind = dice.choice(("wall", "fence", "fence", "hedge"))
    for k in range(2):
        start = z0 + 2.0 + k * CELL / 2
        house(site, start, start + dice.between(9.5, 13.0), front + garden, dice.whole(2, 3))
        for a, b in ((0.0, 8.0), (9.6, 18.0)):
            _border(site, kind, z0 + k * CELL / 2 + a, z0 + k * CELL / 2 + b, front)
        site.patch(5, (front, front + garden), (z0 + k * CELL / 2 + 8.0, z0 + k * CELL / 2 + 9.6), (140, 146, 150),
                   SIDEWALK, (0.12, 0.12))  # fmt: skip
        for _ in range(dice.whole(1, 3)):
            _bush(site, front + dice.between(1.0, garden), z0 + k * CELL / 2 + dice.between(0.5, 17.0))
    if dice.chance(0.7):
        tree(site, front + garden * 0.5, z0 + CELL / 2 + dice.between(-2, 0), small=True)


def park(site: Site, z0: float) -> None:
    """Lawn and trees behind railings."""
    dice, front = site.dice, site.section.front
    site.grass((front - dice.choice((0.0, 0.0, 1.5)), front + 45.0), (z0, z0 + CELL))
    _border(site, dice.choice(("fence", "fence", "wall", "hedge")), z0, z0 + CELL, front)
    for _ in range(dice.whole(5, 8)):
        tree(site, front + dice.between(2.5, 22.0), z0 + dice.between(1.0, CELL - 1.0))
    for _ in range(dice.whole(2, 6)):
        _bush(site, front + dice.between(1.0, 14.0), z0 + dice.between(1.0, CELL - 1.0))


def meadow(site: Site, z0: float) -> None:
    """Grass from the kerb on, a few trees, bushes, and now and then a fence."""
    dice, road = site.dice, site.section.road
    site.grass((road + 0.2, site.section.front + 60.0), (z0, z0 + CELL))
    if dice.chance(0.4):
        _border(site, "fence", z0, z0 + CELL, site.section.front + dice.between(0.0, 4.0))
    for _ in range(dice.whole(1, 4)):
        tree(site, site.section.front + dice.between(6.0, 40.0), z0 + dice.between(1.0, CELL - 1.0))
    for _ in range(dice.whole(1, 7)):
        _bush(site, site.section.front + dice.between(4.0, 30.0), z0 + dice.between(1.0, CELL - 1.0))


def yard(site: Site, z0: float) -> None:
    """A long wall with a lower building and trees behind it."""
    dice, front = site.dice, site.section.front
    site.grass((front, front + 30.0), (z0, z0 + CELL))
    high = dice.between(1.7, 3.0)
    for k in range(2):
        a = z0 + k * CELL / 2
        texture = boundaries.wall(mix(int(dice.unit() * 2**30)) >> 34, round(CELL * 5), round(high * 10))
        site.panel(texture, (front, a), (front, a + CELL / 2), 0.0, high, WALL)
    site.shadow_of(front, z0 + CELL / 2, 0.2, CELL / 2, high)
    if dice.chance(0.6):
        house(site, z0 + 6, z0 + dice.between(22, 32), front + dice.between(5, 9), dice.whole(2, 4))
    for _ in range(dice.whole(2, 5)):
        tree(site, front + dice.between(1.5, 4.0), z0 + dice.between(1.0, CELL - 1.0))


def junction(site: Site, z0: float) -> None:
    """Corner houses on either side of a side street, and houses along it."""
    dice, front = site.dice, site.section.front
    floors = dice.whole(2, 5)
    near, far = SIDE_STREET[0] - 3.0, SIDE_STREET[1] + 3.0
    house(site, z0, z0 + near, front, floors, shops=dice.chance(0.7))
    house(site, z0 + far, z0 + CELL, front, floors, shops=dice.chance(0.7))
    d = front + DEPTH
    while d < front + 55:
        wide = dice.between(10.0, 16.0)
        texture = facades.facade(mix(int(dice.unit() * 2**30)) >> 34, round(wide * 10), floors, False,
                                 round(100 * site.light.lit_windows))  # fmt: skip
        site.panel(texture, (d, z0 + far), (d + wide, z0 + far), 0.1, facades.house_height(floors), BUILDING)
        d += wide
    for z in (z0 + SIDE_STREET[0] - 3.0, z0 + SIDE_STREET[1]):
        site.patch(3, (front, front + 55.0), (z, z + 3.0), (150, 156, 160), SIDEWALK, (0.12, 0.12))


def tree(site: Site, d: float, z: float, *, small: bool = False) -> None:
    """A tree; which kind depends on the dice."""
    dice = site.dice
    kind = dice.choice(("round", "round", "round", "tall", "fir", "bare") if not small else ("round", "tall"))
    height = dice.between(3.0, 5.0) if small else dice.between(5.5, 11.0)
    stem = 0.35 if kind == "fir" else height * dice.between(0.28, 0.4)
    width = {"round": 0.85, "tall": 0.42, "fir": 0.5, "bare": 0.75, "bush": 1.0}[kind] * height
    thick = round(height * dice.between(2.6, 4.2))
    trunk_height = stem + (height * 0.25 if kind != "bare" else 0.4)
    site.solid(furniture.trunk(round(trunk_height * 10), thick), d, z, furniture.bark(dice), VEGETATION, card=True)
    texture = foliage.crown(dice.whole(0, foliage.VARIANTS - 1), kind)
    site.plant(texture, d, z, stem, width, height - stem * 0.6)


def _bush(site: Site, d: float, z: float) -> None:
    size = site.dice.between(0.9, 2.2)
    site.plant(foliage.crown(site.dice.whole(0, foliage.VARIANTS - 1), "bush"), d, z, 0.0, size * 1.4, size)


def _border(site: Site, kind: str, start: float, end: float, d: float) -> None:
    dice = site.dice
    key = mix(int(dice.unit() * 2**30)) >> 34
    length_dm = round((end - start) * 10)
    if kind == "wall":
        high = dice.between(0.7, 1.5)
        site.panel(boundaries.wall(key, length_dm, round(high * 10)), (d, start), (d, end), 0.0, high, WALL)
    elif kind == "fence":
        high = dice.between(1.0, 1.9)
        texture = boundaries.fence(key, length_dm, round(high * 10))
        site.panel(texture, (d, start), (d, end), 0.05, high, FENCE, holes=True)
    else:
        z = start + 0.7
        while z < end:
            site.plant(foliage.crown(key % foliage.VARIANTS, "bush"), d + 0.3, z, 0.0, 2.2, 1.5)
            z += 1.1
