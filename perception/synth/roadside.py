"""What stands on the pavement and at the kerb: lamps, signs, signals, street trees, parked vehicles and cycles."""

from __future__ import annotations

from perception.synth import bodywork, cars, figures, furniture, vehicles
from perception.synth.blocks import tree
from perception.synth.palette import (
    BICYCLE,
    CAR,
    MOTORCYCLE,
    PERSON,
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    TRUCK,
)  # fmt: skip
from perception.synth.pavement import SIDE_STREET
from perception.synth.route import CELL, PARKING
from perception.synth.site import Site

STATIC_TRACKS = 1 << 40  # tracks of things that stand are numbered from here
SLOTS = 64  # numbers kept for one side of one cell


def furnish(site: Site, z0: float, *, junction: bool) -> None:
    """Put everything that stands on this side of the cell."""
    index = site.cell.index
    tracks = _tracks(site, index)
    if not junction:
        _parked(site, z0, tracks)
        if site.section.avenue:
            for k in range(3):
                if site.dice.chance(0.85):
                    tree(site, site.section.road + 0.75, z0 + 4 + k * 12.0 + site.dice.between(-1, 1))
    else:
        _signals(site, z0)
    _lamps(site, z0, index)
    _signs(site, z0, junction=junction)
    _cycles(site, z0, tracks)
    _idlers(site, z0, tracks)


def _tracks(site: Site, index: int) -> list[int]:
    base = STATIC_TRACKS + (index * 2 + int(site.side > 0)) * SLOTS
    return list(range(base, base + SLOTS))


def _parked(site: Site, z0: float, tracks: list[int]) -> None:
    dice, section = site.dice, site.section
    if section.road - section.edge < PARKING - 0.5 or dice.chance(0.25):
        return
    d = section.road - 1.08
    z, busy = z0 + 2.9, dice.between(0.25, 0.85)
    while z < z0 + CELL - 3.2:
        if dice.chance(busy):
            turn = "along" if (site.side > 0) != dice.chance(0.08) else "against"
            kind, model, class_id = "car", cars.car(dice.whole(0, 19)), CAR
            if dice.chance(0.06) and z < z0 + CELL - 9:
                kind, model, class_id = "truck", vehicles.truck(dice.whole(0, 7)), TRUCK
                z += 2.0
            site.solid(model, d + dice.between(-0.12, 0.08), z, bodywork.paint(dice, kind, dark=False), class_id,
                       track=tracks.pop(0), turn=turn)  # fmt: skip
            if kind == "truck":
                z += 2.2
        z += dice.between(5.3, 6.4)


def _signals(site: Site, z0: float) -> None:
    dice, section = site.dice, site.section
    palette = furniture.metal(dice, dark=site.dark)
    state = dice.choice((0, 0, 1, 2, 2, 2, 3))
    toward = site.side > 0  # the right-hand mast shows its face to us
    z = z0 + SIDE_STREET[0] - 4.6 if toward else z0 + SIDE_STREET[1] + 4.6
    turn = "along" if toward else "against"
    d = section.road + 0.45
    reach = dice.choice((0, 0, 36))
    site.solid(furniture.signal_post(reach), d, z, palette, POLE, turn=turn)
    site.solid(furniture.signal_head(state), d, z - 0.2, furniture.housing(dice), TRAFFIC_LIGHT, y=2.35, turn=turn)
    if reach:
        site.solid(furniture.signal_head(state), d - reach / 10 + 0.2, z - 0.2, furniture.housing(dice), TRAFFIC_LIGHT,
                   y=4.7, turn=turn)  # fmt: skip
    # A repeater across the junction, for those who wait at the line.
    z = z0 + SIDE_STREET[1] + 0.6 if toward else z0 + SIDE_STREET[0] - 0.6
    site.solid(furniture.signal_post(0), d, z, palette, POLE, turn=turn)
    site.solid(furniture.signal_head(state), d, z - 0.2, furniture.housing(dice), TRAFFIC_LIGHT, y=2.3, turn=turn)


def _lamps(site: Site, z0: float, index: int) -> None:
    if (index + (site.side > 0)) % 2:
        return
    palette = furniture.metal(site.dice, dark=site.dark)
    turn = "along" if site.side > 0 else "against"  # the arm reaches over the road
    site.solid(furniture.lamp_post(70, 14), site.section.road + 0.5, z0 + 5.0, palette, POLE, turn=turn)


def _signs(site: Site, z0: float, *, junction: bool) -> None:
    dice = site.dice
    for k in range(1 + (junction or dice.chance(0.6))):
        z = z0 + (8.0, 29.0)[k] + dice.between(-3, 2)
        d = site.section.road + dice.between(0.35, 0.6)
        turn = "along" if (site.side > 0) != dice.chance(0.2) else "against"
        ahead = -0.09 if turn == "along" else 0.09
        site.solid(furniture.post(26, 8), d, z, furniture.metal(dice, dark=False), POLE, card=True)
        shape = dice.choice((0, 0, 1, 1, 2, 2, 3, 4))
        lift = 2.9 if shape == 4 else 2.25
        site.solid(furniture.sign(shape), d, z + ahead, furniture.signage(dice, shape), TRAFFIC_SIGN, y=lift, turn=turn)
        if shape != 4 and dice.chance(0.3):
            site.solid(furniture.sign(2), d, z + ahead, furniture.signage(dice, 2), TRAFFIC_SIGN, y=1.55, turn=turn)
    if dice.chance(0.3):  # bollards
        start = z0 + dice.between(3, 20)
        for k in range(dice.whole(3, 6)):
            site.solid(furniture.post(9, 14), site.section.road + 0.35, start + 1.6 * k,
                       furniture.metal(dice, dark=False), POLE, card=True)  # fmt: skip


def _cycles(site: Site, z0: float, tracks: list[int]) -> None:
    dice = site.dice
    if dice.chance(0.55):
        z, turn = z0 + dice.between(3, 28), dice.choice(("in", "along", "out"))
        for k in range(dice.whole(1, 5)):
            step = 0.75 if turn != "along" else 2.0
            site.solid(figures.bicycle(dice.whole(0, 3)), site.section.front - 1.1, z + k * step, figures.clothes(dice),
                       BICYCLE, track=tracks.pop(0), turn=turn)  # fmt: skip
    if dice.chance(0.3):
        z = z0 + dice.between(3, 30)
        for k in range(dice.whole(1, 2)):
            turn = dice.choice(("in", "along"))
            site.solid(figures.motorcycle(dice.whole(0, 3)), site.section.road + 0.9, z + 1.2 * k,
                       figures.clothes(dice), MOTORCYCLE, track=tracks.pop(0), turn=turn)  # fmt: skip


def _idlers(site: Site, z0: float, tracks: list[int]) -> None:
    dice = site.dice
    for _ in range(dice.choice((0, 0, 1, 2, 3))):
        z = z0 + dice.between(1, CELL - 1)
        d = site.section.front - dice.between(0.4, 1.2)
        for k in range(dice.whole(1, 2)):
            site.solid(figures.walker(-1, dice.chance(0.5), dice.whole(0, 3)), d - 0.1 * k, z + 0.7 * k,
                       figures.clothes(dice), PERSON, track=tracks.pop(0), scale=dice.between(0.86, 1.08),
                       card=True)  # fmt: skip
