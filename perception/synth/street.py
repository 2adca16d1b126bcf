"""The street itself: lay out, look, order, paint, develop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.backdrop import Backdrop, paint_backdrop
from perception.synth.camera import NEAR, Camera
from perception.synth.ground import Relief, draw_ground, footprints
from perception.synth.light import light_of
from perception.synth.options import StreetOptions, Weather
from perception.synth.order import painters_order
from perception.synth.palette import CAR, FIRST_SLOT, MAX_OBJECTS, instance_table, train_table
from perception.synth.plan import Plan
from perception.synth.route import Route
from perception.synth.site import Cell, Thing, height_of
from perception.synth.solids import Batch, Box, Solid
from perception.synth.surfaces import CutOut, Panel, Shader, draw_cut_out, draw_panel
from perception.synth.traffic import Traffic
from perception.synth.weather import Lens
from perception.types import Image, LabelMap, Size

BEHIND, SIGHT = 26.0, 190.0  # metres behind and ahead of the camera that are laid out
SMALLEST = 2.5  # pixels; what is lower than this is not drawn


@dataclass(frozen=True, slots=True)
class SynthObject:
    """One countable object that has at least one pixel in the frame."""

    track: int  # the same in every frame of the street, never given to another object
    class_id: int  # train id
    instance_id: int  # its value in ``SynthFrame.instances``
    area: int  # pixels
    distance: float  # metres ahead of the camera to the middle of its nearest part


@dataclass(frozen=True, slots=True, eq=False)
class SynthFrame:
    """One rendered frame and the truth about it."""

    number: int
    image: Image  # (H, W, 3) u8 BGR
    labels: LabelMap  # (H, W) u8 train ids; there is no void
    instances: npt.NDArray[np.int32]  # (H, W) Cityscapes: labelId * 1000 + n for things, labelId for stuff
    objects: tuple[SynthObject, ...]  # nearest first


class Street:
    """A procedurally generated city street, seen from a moving camera.

    Frames are a function of the options and their number: any number can be rendered at any time.

    Raises:
        ConfigError: the options cannot be rendered.
    """

    def __init__(self, seed: int = 1, size: Size = (1280, 720), fps: float = 30.0, weather: Weather = "day") -> None:
        self.options = StreetOptions(seed, size, fps, weather)
        self._light = light_of(weather, seed)
        self._route = Route(self.options)
        self._plan = Plan(seed, self._route, self._light)
        self._traffic = Traffic(seed, self._route, dark=self._light.lamp >= 1.0)
        self._relief = Relief(self._light)
        self._shader = Shader(self._light)
        self._lens = Lens(self.options, self._light)
        self._backdrop: Backdrop = paint_backdrop(seed, self._light, self._route.camera(0.0))

    def render(self, number: int) -> SynthFrame:
        """Frame ``number``, counted from 0."""
        t = number / self.options.fps
        camera = self._route.camera(t)
        cells = self._plan.cells(camera.z - BEHIND, camera.z + SIGHT)
        moving = self._traffic.solids(t, camera, camera.z - BEHIND, camera.z + SIGHT)
        things, spans = self._visible(cells, moving, camera)
        slots, shown = _slots(things, camera)
        canvas = np.empty((camera.height, camera.width, 4), np.uint8)
        first = self._backdrop.draw(canvas, camera)
        draw_ground(canvas, camera, self._light, self._route, cells, first)
        self._shade_ground(canvas, camera, cells, things)
        batch = self._paint(canvas, camera, things, spans, slots)
        self._lens.reflect(canvas, camera.horizon)
        index = np.asarray(cv2.extractChannel(canvas, 3), np.uint8)
        image = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_BGRA2BGR), np.uint8)
        self._lens.shine(image, index, batch.glows())
        image = self._lens.develop(image, number)
        return _with_truth(number, image, index, shown)

    def _visible(
        self, cells: Sequence[Cell], moving: Sequence[Solid], camera: Camera
    ) -> tuple[list[Thing], list[tuple[float, float]]]:
        things: list[Thing] = [thing for cell in cells for thing in cell.things]
        things.extend(moving)
        boxes = np.concatenate([*(cell.boxes for cell in cells), np.array([s.box for s in moving]).reshape(-1, 4)])
        heights = np.concatenate([*(cell.heights for cell in cells), np.array([height_of(s) for s in moving])])
        d = boxes[:, [0, 1, 1, 0]]
        z = boxes[:, [2, 2, 3, 3]]
        x, z = self._route.corners(d, z)
        right, _, depth = camera.view(x, np.zeros_like(x), z)
        px = camera.center_x + right * camera.focal / np.maximum(depth, NEAR)
        cut = depth.min(axis=1) < NEAR
        margin = 0.35 * camera.focal / np.maximum(depth.min(axis=1), NEAR)
        left = px.min(axis=1) - margin
        right_ = px.max(axis=1) + margin
        tall = heights * camera.focal / np.maximum(depth.min(axis=1), NEAR)
        seen = (depth.max(axis=1) > NEAR) & (right_ > 0) & (left < camera.width) & (tall > SMALLEST)
        left = np.where(cut, np.minimum(left, -1e4 * (right.min(axis=1) < 0)), left)
        right_ = np.where(cut, np.maximum(right_, 1e4 * (right.max(axis=1) > 0)), right_)
        kept = np.flatnonzero(seen).tolist()
        return [things[k] for k in kept], [(float(left[k]), float(right_[k])) for k in kept]

    def _shade_ground(
        self, canvas: npt.NDArray[np.uint8], camera: Camera, cells: Sequence[Cell], things: Sequence[Thing]
    ) -> None:
        solids = [s for s in things if isinstance(s, Solid) and s.track >= 0]
        vehicles = [s for s in solids if s.class_id >= CAR]
        shadows, under = footprints(vehicles, self._light)
        cast = np.concatenate([cell.shadows for cell in cells])
        if len(cast):
            x, z = self._route.corners(cast[..., 0], cast[..., 1])
            shadows = np.concatenate((np.stack((x, z), axis=-1), shadows))
        people = footprints([s for s in solids if s.class_id < CAR], self._light)[0]
        self._relief.lay_over(canvas, camera, np.concatenate((shadows, people)), [under])

    def _paint(
        self,
        canvas: npt.NDArray[np.uint8],
        camera: Camera,
        things: Sequence[Thing],
        spans: Sequence[tuple[float, float]],
        slots: Sequence[int],
    ) -> Batch:
        boxes: list[Box] = [thing.box for thing in things]
        eye = camera.x - self._route.center(camera.z), camera.z
        solids = [(k, thing) for k, thing in enumerate(things) if isinstance(thing, Solid) and slots[k] >= 0]
        batch = Batch(camera, self._light, [solid for _, solid in solids], [slots[k] for k, _ in solids])
        place = {k: n for n, (k, _) in enumerate(solids)}
        for k in painters_order(boxes, spans, eye):
            thing = things[k]
            if isinstance(thing, Panel):
                draw_panel(canvas, camera, self._shader, thing)
            elif isinstance(thing, CutOut):
                draw_cut_out(canvas, camera, self._shader, thing)
            elif k in place:
                batch.draw(canvas, place[k])
        return batch


@dataclass(frozen=True, slots=True)
class _Shown:
    """The thing of one slot."""

    track: int
    class_id: int
    distance: float


def _slots(things: Sequence[Thing], camera: Camera) -> tuple[list[int], list[_Shown]]:
    """A slot per thing (-1: more objects than slots, not drawn), and what stands in each object slot."""
    nearest: dict[int, tuple[float, int]] = {}
    for thing in things:
        if isinstance(thing, Solid) and thing.track >= 0:
            depth = camera.depth_of(thing.at[0], thing.at[2])
            if thing.track not in nearest or depth < nearest[thing.track][0]:
                nearest[thing.track] = depth, thing.class_id
    chosen = sorted(nearest, key=lambda track: (nearest[track][0], track))[:MAX_OBJECTS]
    slot = {track: FIRST_SLOT + k for k, track in enumerate(chosen)}
    slots = [
        slot.get(thing.track, -1) if isinstance(thing, Solid) and thing.track >= 0 else thing.class_id
        for thing in things
    ]
    return slots, [_Shown(track, nearest[track][1], nearest[track][0]) for track in chosen]


def _with_truth(number: int, image: Image, index: npt.NDArray[np.uint8], shown: Sequence[_Shown]) -> SynthFrame:
    areas = cv2.calcHist([index], [0], None, [256], [0, 256]).reshape(256)
    counted: dict[int, int] = defaultdict(int)
    numbers: list[int] = []
    for k, thing in enumerate(shown):
        numbers.append(counted[thing.class_id])
        counted[thing.class_id] += bool(areas[FIRST_SLOT + k])
    classes = [thing.class_id for thing in shown]
    instances = instance_table(classes, numbers)
    objects = tuple(
        SynthObject(thing.track, thing.class_id, int(instances[slot]), int(areas[slot]), float(thing.distance))
        for slot, thing in enumerate(shown, FIRST_SLOT)
        if areas[slot]
    )
    labels = np.asarray(cv2.LUT(index, train_table(classes)), np.uint8)
    return SynthFrame(number, image, labels, np.asarray(cv2.LUT(index, instances), np.int32), objects)
