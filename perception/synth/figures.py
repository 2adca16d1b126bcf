"""People and what they ride: flat figures that face the camera, and bicycles and motorcycles as thin solids."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.shapes import EMISSIVE, ROWS, Mesh, Model, Point, Sculptor, circle

SKIN, HAIR, TOP, SLEEVE, LEGS, SHOES, EXTRA, FRAME, TYRE, METAL = range(10)
LAMP_FRONT, LAMP_REAR = EMISSIVE, EMISSIVE + 1
PHASES = 12  # poses of one double step

SKINS = ((150, 180, 225), (130, 165, 215), (95, 130, 180), (60, 90, 140), (45, 62, 96))
CLOTHES = (
    (40, 38, 38), (60, 55, 52), (90, 60, 40), (130, 80, 50), (50, 50, 150), (150, 148, 150), (215, 215, 215),
    (60, 90, 60), (90, 120, 150), (40, 70, 110), (170, 120, 90), (60, 180, 220), (110, 60, 110),
)  # fmt: skip


@lru_cache(maxsize=256)
def walker(phase: int, sideways: bool, build: int) -> Model:
    """A person 1.75 m tall in one pose of walking; phase -1 stands. ``build`` 0..3 adds coat, bag or skirt."""
    levels = [(26.0, _walker(phase, sideways, build, fine=True)), (0.0, _walker(phase, sideways, build, fine=False))]
    return Model(tuple(levels), 1.75, 0.3, 0.3)


def _walker(phase: int, sideways: bool, build: int, *, fine: bool) -> Mesh:
    swing = 0.0 if phase < 0 else round(math.sin(2 * math.pi * phase / PHASES), 6)
    lift = 0.0 if phase < 0 else round(math.cos(2 * math.pi * phase / PHASES), 6)
    s = Sculptor()
    wide = 0.10 if sideways else 0.17
    hip = 0.90
    for side in (-1.0, 1.0):
        step = 0.30 * swing * side
        bent = max(0.0, lift * side) * 0.10 if phase >= 0 else 0.0
        x = 0.0 if sideways else side * 0.09
        foot_x = x + step if sideways else x * 0.9
        foot_y = 0.07 + bent + (0.0 if sideways else 0.10 * max(0.0, step))
        knee: Point = (x + step * 0.5 + (0.08 * bent * 10 if sideways else 0.0), 0.48 + bent * 0.4, 0.0)
        if fine:
            s.capsule((x * 0.9, hip, 0.0), 0.095, knee, 0.07, LEGS)
            s.capsule(knee, 0.068, (foot_x, foot_y, 0.0), 0.05, LEGS)
            toe = 0.15 if sideways else 0.01
            s.capsule((foot_x, foot_y - 0.02, 0.0), 0.05, (foot_x + toe, foot_y - 0.03, 0.0), 0.04, SHOES)
        else:
            s.capsule((x * 0.9, hip, 0.0), 0.09, (foot_x, foot_y, 0.0), 0.06, LEGS)
    if build == 1:  # a coat that hides the thighs
        s.face(((-wide * 1.05, 0.62, 0.0), (wide * 1.05, 0.62, 0.0), (wide, 1.0, 0.0), (-wide, 1.0, 0.0)), TOP, True)
    far, close = (-1.0, 1.0)
    if fine:
        _arm(s, far, swing, sideways, wide)
    s.capsule((0.0, hip + 0.06, 0.0), wide * 0.92, (0.0, 1.36, 0.0), wide * 0.98, TOP)
    if fine:
        if build == 2:  # a bag
            s.capsule((-wide * 0.9, 1.15, 0.0), 0.10, (-wide * 0.9, 0.95, 0.0), 0.11, EXTRA)
        _arm(s, close, swing, sideways, wide)
        s.capsule((0.0, 1.42, 0.0), 0.055, (0.0, 1.52, 0.0), 0.055, SKIN)
    s.capsule((0.0, 1.58, 0.0), 0.095, (0.015 if sideways else 0.0, 1.65, 0.0), 0.10, SKIN)
    if fine:
        s.capsule((-0.02 if sideways else 0.0, 1.655, 0.0), 0.10, (-0.02 if sideways else 0.0, 1.68, 0.0), 0.095, HAIR)
    return s.mesh()


def _arm(s: Sculptor, side: float, swing: float, sideways: bool, wide: float) -> None:
    back = -swing * side * 0.26
    shoulder = (0.0 if sideways else side * wide, 1.37, 0.0)
    hand = (back if sideways else side * (wide + 0.09), 0.86 + (0.05 if back > 0 else 0.0), 0.0)
    elbow = ((shoulder[0] + hand[0]) / 2 - (0.04 if sideways else -0.03 * side), 1.12, 0.0)
    s.capsule(shoulder, 0.058, elbow, 0.05, SLEEVE)
    s.capsule(elbow, 0.048, hand, 0.04, SLEEVE)
    s.capsule(hand, 0.04, (hand[0], hand[1] - 0.04, 0.0), 0.035, SKIN)


@lru_cache(maxsize=64)
def rider(phase: int, motor: bool, ahead: bool) -> Model:
    """Somebody on a bicycle or motorcycle, seen from behind or (``ahead``) from the front."""
    levels = ((30.0, _rider(phase, motor, ahead, fine=True)), (0.0, _rider(phase, motor, ahead, fine=False)))
    return Model(levels, 1.8, 0.36, 0.3)


def _rider(phase: int, motor: bool, ahead: bool, *, fine: bool) -> Mesh:
    turn = round(math.sin(2 * math.pi * phase / PHASES), 6)
    s = Sculptor()
    seat = 0.86 if motor else 0.98
    for side in (-1.0, 1.0):
        pedal = 0.28 if motor else 0.36 + 0.15 * turn * side
        knee_x = side * (0.27 if motor else 0.15)
        if not fine:
            s.capsule((side * 0.1, seat, 0.0), 0.10, (side * 0.16, pedal, 0.0), 0.07, LEGS)
            continue
        s.capsule((side * 0.1, seat, 0.0), 0.10, (knee_x, pedal + 0.36, 0.0), 0.08, LEGS)
        s.capsule((knee_x, pedal + 0.36, 0.0), 0.072, (side * 0.16, pedal, 0.0), 0.055, LEGS)
        s.capsule((side * 0.16, pedal, 0.0), 0.055, (side * 0.17, pedal - 0.03, 0.0), 0.05, SHOES)
    shoulder = seat + 0.50
    for side in (-1.0, 1.0):
        if not fine:
            s.capsule((side * 0.2, shoulder - 0.04, 0.0), 0.06, (side * 0.29, seat + 0.18, 0.0), 0.05, SLEEVE)
            continue
        s.capsule((side * 0.2, shoulder - 0.04, 0.0), 0.062, (side * 0.32, shoulder - 0.28, 0.0), 0.052, SLEEVE)
        s.capsule((side * 0.32, shoulder - 0.28, 0.0), 0.05, (side * 0.27, seat + 0.16, 0.0), 0.045, SLEEVE)
    s.capsule((0.0, seat + 0.02, 0.0), 0.165, (0.0, shoulder - 0.08, 0.0), 0.185, TOP)
    if not motor and fine:
        s.capsule((0.0, shoulder + 0.04, 0.0), 0.06, (0.0, shoulder + 0.12, 0.0), 0.06, SKIN)
    head = shoulder + 0.22
    s.capsule((0.0, head, 0.0), 0.10, (0.0, head + 0.06, 0.0), 0.10, SKIN if ahead and not motor else HAIR)
    s.capsule((0.0, head + 0.05, 0.0), 0.115 if motor else 0.10, (0.0, head + 0.09, 0.0), 0.11, EXTRA)
    if motor:
        s.capsule((0.0, head - 0.04, 0.0), 0.12, (0.0, head + 0.06, 0.0), 0.13, EXTRA)
        if ahead:
            s.capsule((-0.06, head + 0.02, 0.0), 0.05, (0.06, head + 0.02, 0.0), 0.05, HAIR)
    return s.mesh()


@lru_cache(maxsize=8)
def bicycle(style: int) -> Model:
    """A bicycle along its z axis; wheels are closed discs of spokes, as annotators outline them."""
    s = Sculptor()
    for z in (-0.53, 0.53):
        s.face([(0.0, 0.345 + 0.345 * a, z + 0.345 * b) for a, b in circle(6)], TYRE, sheet=True)
        s.face(((-0.03, 0.0, z), (0.03, 0.0, z), (0.03, 0.69, z), (-0.03, 0.69, z)), TYRE, sheet=True)
    s.face(((0.0, 0.3, -0.1), (0.0, 0.36, -0.1), (0.0, 0.86, 0.4), (0.0, 0.8, -0.25)), FRAME, sheet=True)
    s.face(((-0.28, 0.96, 0.33), (0.28, 0.96, 0.33), (0.28, 1.03, 0.33), (-0.28, 1.03, 0.33)), METAL, sheet=True)
    _bicycle_lamps(s)
    return Model(((24.0, _fine_bicycle(style)), (0.0, s.mesh())), 1.03, 0.3, 0.88)


def _bicycle_lamps(s: Sculptor) -> None:
    s.lamp((0.0, 0.66, -0.7), LAMP_REAR, 0.10)
    s.lamp((0.0, 0.85, 0.45), LAMP_FRONT, 0.13)


def _fine_bicycle(style: int) -> Mesh:
    s = Sculptor()
    s.around((0.0, 0.0, 0.0))
    radius = 0.345
    for z in (-0.53, 0.53):
        for x in (-0.02, 0.02):
            s.around((0.0, radius, z))
            s.disc((x, radius, z), radius, TYRE)
            s.disc((x * 1.2, radius, z), radius * 0.86, METAL)
            s.disc((x * 1.4, radius, z), radius * 0.12, TYRE)
        s.box((-0.024, 0.0, z - 0.05), (0.024, 2 * radius, z + 0.05), TYRE, skip="lrud")
    tubes = (((0.0, 0.30, -0.08), (0.0, 0.82, 0.40)), ((0.0, 0.30, -0.08), (0.0, 0.86, -0.22)),
             ((0.0, 0.78, -0.20), (0.0, 0.80, 0.38)), ((0.0, 0.345, -0.53), (0.0, 0.30, -0.08)),
             ((0.0, 0.345, -0.53), (0.0, 0.76, -0.20)), ((0.0, 0.345, 0.53), (0.0, 0.95, 0.36)))  # fmt: skip
    for (_, y0, z0), (_, y1, z1) in tubes:
        s.face(_tube(y0, z0, y1, z1, 0.022), FRAME, sheet=True)
    s.box((-0.03, 0.32, -0.3), (0.03, 0.9, -0.18), FRAME, skip="lrud")
    s.box((-0.06, 0.90, -0.34), (0.06, 0.97, -0.12), TYRE)
    s.box((-0.29, 0.98, 0.30), (0.29, 1.03, 0.35), METAL)
    if style % 2:
        s.box((-0.16, 0.66, -0.66), (0.16, 0.84, -0.42), EXTRA)
    s.face(((-0.04, 0.62, -0.7), (0.04, 0.62, -0.7), (0.04, 0.70, -0.7), (-0.04, 0.70, -0.7)), LAMP_REAR, True)
    _bicycle_lamps(s)
    return s.mesh()


def _tube(y0: float, z0: float, y1: float, z1: float, r: float) -> list[Point]:
    dy, dz = y1 - y0, z1 - z0
    length = (dy * dy + dz * dz) ** 0.5
    ny, nz = -dz / length * r, dy / length * r
    return [(0.0, y0 + ny, z0 + nz), (0.0, y1 + ny, z1 + nz), (0.0, y1 - ny, z1 - nz), (0.0, y0 - ny, z0 - nz)]


@lru_cache(maxsize=8)
def motorcycle(style: int) -> Model:
    """A motorcycle; every second one is a scooter with a wide front shield."""
    s = Sculptor()
    radius = 0.32 if style % 2 == 0 else 0.25
    for z in (-0.68, 0.68):
        s.around((0.0, radius, z))
        for x in (-0.07, 0.07):
            s.disc((x, radius, z), radius, TYRE)
            s.disc((x * 1.1, radius, z), radius * 0.55, METAL)
        s.box((-0.07, 0.0, z - 0.1), (0.07, 2 * radius, z + 0.1), TYRE, skip="lrud")
    s.box((-0.16, 0.26, -0.42), (0.16, 0.66, 0.42), METAL)
    s.extrude([(-0.82, 0.76, 0.13), (-0.86, 0.9, 0.12), (-0.1, 0.82, 0.16), (0.1, 0.64, 0.18), (-0.5, 0.6, 0.16)],
              (FRAME, TYRE, TYRE, FRAME, FRAME), FRAME)  # fmt: skip
    s.extrude([(-0.12, 0.66, 0.17), (0.0, 0.95, 0.15), (0.42, 1.0, 0.14), (0.56, 0.72, 0.16)],
              (FRAME, FRAME, FRAME, FRAME), FRAME)  # fmt: skip
    wide = 0.30 if style % 2 else 0.2
    s.around((0.0, 0.8, 0.0))
    s.face(((-wide, 0.35, 0.6), (wide, 0.35, 0.6), (wide * 0.8, 1.12, 0.5), (-wide * 0.8, 1.12, 0.5)), FRAME, True)
    s.box((-0.38, 1.03, 0.40), (0.38, 1.08, 0.46), TYRE)
    s.face(((-0.1, 0.82, 0.62), (0.1, 0.82, 0.62), (0.1, 0.98, 0.6), (-0.1, 0.98, 0.6)), LAMP_FRONT)
    s.face(((-0.1, 0.78, -0.88), (0.1, 0.78, -0.88), (0.1, 0.88, -0.88), (-0.1, 0.88, -0.88)), LAMP_REAR)
    s.face(((-0.09, 0.5, -0.9), (0.09, 0.5, -0.9), (0.09, 0.66, -0.9), (-0.09, 0.66, -0.9)), EXTRA, True)
    s.lamp((0.0, 0.9, 0.62), LAMP_FRONT, 0.3)
    s.lamp((0.0, 0.83, -0.9), LAMP_REAR, 0.2)
    return Model(((0.0, s.mesh()),), 1.1, 0.38, 1.0)


def clothes(dice: Dice) -> Floats:
    """(ROWS, 3) colours of one person, and of the machine under them."""
    palette = np.zeros((ROWS, 3))
    palette[SKIN] = dice.around(dice.choice(SKINS), 10)
    palette[HAIR] = dice.choice(((28, 30, 36), (40, 60, 90), (70, 110, 150), (150, 150, 150), (30, 28, 28)))
    palette[TOP] = dice.around(dice.choice(CLOTHES), 20)
    palette[SLEEVE] = palette[TOP] * 0.88
    palette[LEGS] = dice.around(dice.choice(((90, 62, 42), (48, 46, 46), (70, 72, 78), (110, 130, 140))), 16)
    palette[SHOES] = dice.choice(((30, 30, 32), (40, 50, 70), (200, 200, 200)))
    palette[EXTRA] = dice.around(dice.choice(CLOTHES), 20)
    palette[FRAME] = dice.around(dice.choice(((40, 40, 40), (60, 40, 150), (150, 80, 30), (70, 110, 50))), 18)
    palette[TYRE] = (30, 30, 30)
    palette[METAL] = (122, 122, 124)
    palette[LAMP_FRONT] = (225, 240, 250)
    palette[LAMP_REAR] = (30, 24, 225)
    return palette
