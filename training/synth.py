"""Frames of the synthetic street as a data set in the folder layout of Cityscapes.

    OUT/leftImg8bit/<split>/<city>/<city>_<seed>_<frame>_leftImg8bit.png
    OUT/gtFine/<split>/<city>/<city>_<seed>_<frame>_gtFine_{labelIds,labelTrainIds,instanceIds}.png
    OUT/gtFine/<split>/<city>/<city>_<seed>_<frame>_gtFine_polygons.json    the same for cityscapesscripts
    OUT/synth.json                                            what was asked for, split by split

The city is the weather (``synthday``, ...). Frames are taken far apart, spread over seeds and weathers.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perception.errors import ConfigError, RoadcastError
from perception.files import write_whole
from perception.synth.chance import mix
from perception.synth.options import StreetOptions, Weather
from perception.terminal import StatusLine
from perception.types import Size

CARD = "synth.json"
FPS = 30.0
LAST_FRAME = 18_000  # frames are drawn from the first ten minutes of a street
MAX_SEED = 999_999  # Cityscapes file names have six digits for it


@dataclass(frozen=True, slots=True)
class Order:
    """What one split is to consist of.

    Raises:
        ConfigError: a value that cannot be rendered or written.
    """

    split: str
    frames: int
    seeds: tuple[int, int]  # first and last, both included
    size: Size
    weathers: tuple[Weather, ...]

    def __post_init__(self) -> None:
        first, last = self.seeds
        if not 0 <= first <= last <= MAX_SEED:
            raise ConfigError(f"--seeds must be FIRST..LAST within 0..{MAX_SEED}, got {first}..{last}.")
        if not 1 <= self.frames <= LAST_FRAME:
            raise ConfigError(f"--frames must be within 1..{LAST_FRAME}, got {self.frames}.")
        for weather in self.weathers:
            StreetOptions(0, self.size, FPS, weather)


@dataclass(frozen=True, slots=True)
class Strip:
    """Frames of one street, rendered by one worker."""

    seed: int
    weather: Weather
    numbers: tuple[int, ...]


def render_split(out: Path, order: Order, *, workers: int = 1, overwrite: bool = False) -> dict[str, int]:
    """Render a split into ``out``; returns how many frames were ``rendered`` and ``kept``.

    Raises:
        ConfigError: ``out`` holds something else, or this split was made differently.
        RoadcastError: a file cannot be written.
    """
    try:
        _claim(out, order, overwrite=overwrite)
        strips = list(_missing(out, order))
        total, done = order.frames, order.frames - sum(len(strip.numbers) for strip in strips)
        kept = done
        line = StatusLine(sys.stderr)
        for count in _rendered(out, order, strips, workers):
            done += count
            line.show(f"{order.split}: {done}/{total} frames", key=order.split)
        line.clear()
    except OSError as error:
        raise RoadcastError(f"Cannot write {error.filename or out}: {error.strerror}.") from error
    return {"rendered": done - kept, "kept": kept}


def strips_of(order: Order) -> list[Strip]:
    """The order cut into streets: frame k belongs to seed k modulo their number, weathers take turns."""
    first, last = order.seeds
    streets = last - first + 1
    found: dict[tuple[int, Weather], list[int]] = {}
    taken: set[tuple[int, int]] = set()
    for k in range(order.frames):
        seed = first + k % streets
        weather = order.weathers[(k % streets + k // streets) % len(order.weathers)]
        number = mix(seed, k) % LAST_FRAME
        while (seed, number) in taken:
            number = (number + 1) % LAST_FRAME
        taken.add((seed, number))
        found.setdefault((seed, weather), []).append(number)
    return [Strip(seed, weather, tuple(numbers)) for (seed, weather), numbers in found.items()]


def _claim(out: Path, order: Order, *, overwrite: bool) -> None:
    """Make sure that ``out`` is ours and note the order in its card."""
    card = out / CARD
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file. Give a folder.")
    if out.is_dir() and any(out.iterdir()) and not card.is_file():
        raise ConfigError(f"{out} is not empty and was not written by this command. Give a new folder.")
    splits = _read_card(card) if card.is_file() else {}
    wanted = json.loads(json.dumps(asdict(order)))
    if splits.get(order.split, wanted) != wanted and not overwrite:
        made = ", ".join(f"{k} {v}" for k, v in splits[order.split].items() if v != wanted[k])
        raise ConfigError(
            f"{out} already holds a split {order.split!r} made with {made}. Ask for the same to resume it,"
            " add --overwrite to replace it, or give another folder."
        )
    out.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for tree in ("leftImg8bit", "gtFine"):  # images first: what has an image has its labels
            for path in (out / tree / order.split).glob("synth*/synth*_[0-9]*_[0-9]*_*.*"):
                path.unlink()
    write_whole(card, json.dumps({**splits, order.split: wanted}, indent=1) + "\n")


def _read_card(card: Path) -> dict[str, dict[str, Any]]:
    try:
        splits = json.loads(card.read_text())
    except ValueError:
        splits = None
    if not isinstance(splits, dict) or not all(isinstance(made, dict) for made in splits.values()):
        raise ConfigError(f"{card} is damaged: it should say how the splits were made. Give a new folder.")
    return splits


def _missing(out: Path, order: Order) -> Iterator[Strip]:
    for strip in strips_of(order):
        rest = tuple(n for n in strip.numbers if not _is_whole(out, order.split, strip, n))
        if rest:
            yield Strip(strip.seed, strip.weather, rest)


def _is_whole(out: Path, split: str, strip: Strip, number: int) -> bool:
    """Whether a frame is there; one written before there were polygons is rendered again."""
    return all(_path(out, split, strip, number, kind).is_file() for kind in ("leftImg8bit", "gtFine_polygons"))


def _rendered(out: Path, order: Order, strips: Sequence[Strip], workers: int) -> Iterator[int]:
    """Render all strips; yields the number of frames of each as it is finished."""
    if workers == 1 or len(strips) < 2:
        for strip in strips:
            yield render_strip(out, order.split, order.size, strip)
        return
    pool = ProcessPoolExecutor(min(workers, len(strips)), multiprocessing.get_context("spawn"), _one_thread)
    try:
        waiting: list[Future[int]] = [
            pool.submit(render_strip, out, order.split, order.size, strip) for strip in strips
        ]
        for future in as_completed(waiting):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def render_strip(out: Path, split: str, size: Size, strip: Strip) -> int:
    """Render and write the frames of one street; returns how many. The image is written last."""
    from perception.synth.palette import label_id_table
    from perception.synth.street import Street
    from training.polygons import polygons_json

    street = Street(strip.seed, size, FPS, strip.weather)
    for number in strip.numbers:
        frame = street.render(number)
        files: dict[str, str | bytes] = {"gtFine_polygons": polygons_json(frame.labels, frame.instances)}
        maps = {
            "gtFine_labelIds": label_id_table()[frame.labels],
            "gtFine_labelTrainIds": frame.labels,
            "gtFine_instanceIds": frame.instances.astype("uint16"),
            "leftImg8bit": frame.image,
        }
        for kind, content in (files | {kind: _png(pixels) for kind, pixels in maps.items()}).items():
            path = _path(out, split, strip, number, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
    return len(strip.numbers)


def _png(pixels: Any) -> bytes:
    import cv2

    _, data = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_COMPRESSION, 3))
    return data.tobytes()


def _path(out: Path, split: str, strip: Strip, number: int, kind: str) -> Path:
    city = f"synth{strip.weather}"
    tree = kind.partition("_")[0]
    suffix = "json" if kind == "gtFine_polygons" else "png"
    return out / tree / split / city / f"{city}_{strip.seed:06d}_{number:06d}_{kind}.{suffix}"
