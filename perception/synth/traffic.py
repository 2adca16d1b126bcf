"""Everything that moves, as endless streams: where road user k of a stream is at time t needs no history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from perception.synth import bodywork, cars, figures, vehicles
from perception.synth.camera import Camera
from perception.synth.chance import Dice, Floats, Wander, mix
from perception.synth.palette import BICYCLE, BUS, CAR, MOTORCYCLE, PERSON, RIDER, TRAIN, TRUCK
from perception.synth.route import CELL, GROUP, TRAM, Route
from perception.synth.shapes import Model
from perception.synth.solids import Solid

STEP_RATE = 0.9  # double steps a second
SECTION = 9.4  # metres from one section of a tram to the next


@dataclass(frozen=True, slots=True)
class Stream:
    """Road users that follow one line. ``users`` lists kinds as often as they are met."""

    number: int
    d: float
    speed: float  # metres a second along the street; the sign is the direction
    spacing: float
    missing: float  # share of places in the stream that are empty
    users: tuple[str, ...]
    with_eye: bool = False  # keeps its distance to the camera instead of a speed of its own


class Traffic:
    """The streams of one street."""

    def __init__(self, seed: int, route: Route, *, dark: bool) -> None:
        self._seed, self._route, self._dark = seed, route, dark
        self._streams = _streams(seed, route)
        self._drift = {s.number: Wander(mix(seed, 61, s.number), 5.0, 2.5) for s in self._streams}
        self._road_user = lru_cache(maxsize=1024)(self._make)
        self._place = lru_cache(maxsize=4096)(self._roll)
        self._crosser = lru_cache(maxsize=64)(self._make_crosser)

    def solids(self, t: float, camera: Camera, start: float, end: float) -> list[Solid]:
        """Whatever moves between two places along the street at time ``t``."""
        found: list[Solid] = []
        for stream in self._streams:
            for k, z in self._places(stream, t, start, end):
                found.extend(self._stand(stream, k, z, t, camera))
        found.extend(self._crossing(t, start, end))
        return found

    def _places(self, stream: Stream, t: float, start: float, end: float) -> Iterator[tuple[int, float]]:
        base = self._route.driven(t) if stream.with_eye else stream.speed * t + self._drift[stream.number].value(t)
        first, last = int((start - base) // stream.spacing) - 1, int((end - base) // stream.spacing) + 1
        for k in range(max(first, 1) if stream.with_eye else first, last + 1):
            here, shift = self._place(stream, k)
            z = base + (k + shift) * stream.spacing
            if stream.with_eye:
                z += self._drift[stream.number].value(t + 37.0 * k)
            if here and start <= z <= end:
                yield k, z

    def _roll(self, stream: Stream, k: int) -> tuple[bool, float]:
        """Whether place k of a stream is taken, and how far it is from its middle, in spacings."""
        dice = Dice(self._seed, 60, stream.number, k)
        return dice.chance(1 - stream.missing), dice.between(-0.22, 0.22)

    def _make(self, number: int, k: int, users: tuple[str, ...]) -> tuple[str, Model | None, Floats, float, int]:
        dice = Dice(self._seed, 62, number, k)
        kind = dice.choice(users)
        if kind in ("person", "bicycle", "motorcycle"):
            return kind, None, figures.clothes(dice), dice.between(0.84, 1.08), dice.whole(0, 255)
        model = {"car": cars.car, "truck": vehicles.truck, "bus": vehicles.bus, "tram": vehicles.tram}[kind]
        style = dice.whole(0, 19) if kind == "car" else dice.whole(0, 7)
        chosen = model(style) if kind != "tram" else vehicles.tram(0)
        return kind, chosen, bodywork.paint(dice, kind, dark=self._dark), 1.0, style

    def _stand(self, stream: Stream, k: int, z: float, t: float, camera: Camera) -> Iterator[Solid]:
        kind, model, palette, size, style = self._road_user(stream.number, k, stream.users)
        track = 2 * ((stream.number << 28) + k + (1 << 27))
        if kind == "person":
            dx, dz = stream.d + self._route.center(z) - camera.x, z - camera.z
            sideways = abs(dx) > 0.75 * abs(dz)
            phase = int((t * STEP_RATE + style / 7.0) * figures.PHASES) % figures.PHASES
            sway = (style % 16) / 16 - 0.5
            body = figures.walker(phase, sideways, style % 4)
            yield self._solid(body, stream.d + sway, z, stream.speed, palette, PERSON, track, size, card=True)
        elif kind in ("bicycle", "motorcycle"):
            motor = kind == "motorcycle"
            machine = figures.motorcycle(style % 4) if motor else figures.bicycle(style % 4)
            phase = 0 if motor else int((t * 1.2 + style / 9.0) * figures.PHASES) % figures.PHASES
            body = figures.rider(phase, motor, stream.speed < 0)
            label = MOTORCYCLE if motor else BICYCLE
            yield self._solid(machine, stream.d, z, stream.speed, palette, label, track + 1)
            # The rider sits a hand's breadth towards the camera, so that the machine does not hide the body.
            yield self._solid(body, stream.d, z - 0.2, stream.speed, palette, RIDER, track, min(size, 1.0), card=True)
        elif kind == "tram":
            way = 1.0 if stream.speed > 0 else -1.0
            for end in (-1, 0, 1):
                yield self._solid(vehicles.tram(end), stream.d, z + way * end * SECTION, way, palette, TRAIN, track)
        elif model is not None:
            label = {"car": CAR, "truck": TRUCK, "bus": BUS}[kind]
            yield self._solid(model, stream.d, z, stream.speed, palette, label, track)

    def _solid(
        self,
        model: Model,
        d: float,
        z: float,
        way: float,
        palette: Floats,
        class_id: int,
        track: int,
        scale: float = 1.0,
        *,
        card: bool = False,
    ) -> Solid:
        fx, fz = self._route.heading(z)
        heading = (fx, fz) if way > 0 else (-fx, -fz)
        wide, deep = (model.half_width * scale, model.half_length) if not card else (0.25, 0.1)
        box = d - wide, d + wide, z - deep, z + deep
        return Solid(model, self._route.world(d, z), heading, palette, class_id, track, box, scale, card)

    def _crossing(self, t: float, start: float, end: float) -> Iterator[Solid]:
        """People who cross the far half of the road before a junction, to and fro."""
        road = self._route.section.road + 1.2
        for index in range(int(start // CELL), int(end // CELL) + 1):
            if index % GROUP != 2:
                continue
            for k in range(3):
                pace, place, head_start, build, scale, palette = self._crosser(index, k)
                z = index * CELL + place
                run = (t * pace + head_start) % (2 * road)
                d = -run if run < road else run - 2 * road
                phase = int((t * STEP_RATE + k / 3) * figures.PHASES) % figures.PHASES
                body = figures.walker(phase, True, build)
                track = 2 * ((1 << 36) + index * 8 + k)
                if start <= z <= end:
                    yield self._solid(body, d, z, 1.0, palette, PERSON, track, scale, card=True)

    def _make_crosser(self, index: int, k: int) -> tuple[float, float, float, int, float, Floats]:
        dice = Dice(self._seed, 63, index, k)
        pace, place = dice.between(0.9, 1.5), dice.choice((6.4, 7.6, 26.0))
        return pace, place, dice.between(0, 40), dice.whole(0, 3), dice.between(0.84, 1.08), figures.clothes(dice)


def _streams(seed: int, route: Route) -> list[Stream]:
    section, dice = route.section, Dice(seed, 64)
    mixed = ("car",) * 13 + ("truck", "truck", "bus", "bus", "motorcycle", "motorcycle")
    lanes: list[tuple[float, float, float, float, tuple[str, ...], bool]] = [
        (section.lane, 1.0, 26.0, 0.3, mixed, True),
        (-section.lane, -dice.between(7.0, 11.0), 24.0, 0.35, mixed, False),
        (
            section.edge - 0.45,
            dice.between(3.8, 5.5),
            22.0,
            0.35,
            ("bicycle", "bicycle", "bicycle", "motorcycle"),
            False,
        ),
        (-section.edge + 0.45, -dice.between(3.8, 5.5), 22.0, 0.35, ("bicycle",), False),
    ]
    if section.tram:
        headway = dice.between(90.0, 170.0)
        lanes.append((TRAM / 2, dice.between(5.0, 7.0), headway, 0.25, ("tram",), False))
        lanes.append((-TRAM / 2, -dice.between(7.0, 9.0), headway, 0.25, ("tram",), False))
    crowd = dice.between(0.35, 0.8)
    for side in (-1.0, 1.0):
        for way, off in ((1.0, 2.9), (-1.0, 1.9)):
            d = side * (section.front - off)
            lanes.append((d, way * dice.between(1.1, 1.5), 6.0, 1 - crowd * 0.6, ("person",), False))
    return [
        Stream(number, d, speed, spacing, missing, users, with_eye)
        for number, (d, speed, spacing, missing, users, with_eye) in enumerate(lanes)
    ]
