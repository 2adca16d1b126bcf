"""The clip that is measured on: a video file as it is, or a street that was rendered to one beforehand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

from perception.cache import cache_folder
from perception.errors import ConfigError, SourceError
from perception.ledger import Ledger
from perception.sources import open_source
from perception.sources.address import redact, scheme_of
from perception.synth import Street, StreetOptions, format_uri, parse_uri
from perception.types import Image, Size
from perception.view.video import VideoWriter

STREET = StreetOptions(seed=2027)  # a street that no network was trained on
# Rendering costs more than encoding, so an endless street is rendered for this long and played there and back.
RENDERED_FRAMES = 150
LENGTHS = 600  # its files hold a multiple of this many frames: runs of different lengths share one

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file that was read once, so that it is whole, and in the system's cache."""

    path: Path
    name: str  # without the folders of this machine
    sha256: str
    size: Size
    frames: int  # that it holds, or as many as are needed


def prepare_clip(source: str | None, needed: int, show: Show) -> Clip:
    """Render or find the clip, and read its first ``needed`` frames.

    Args:
        source: a video file or a synth:// address; None for the street of the benchmarks.

    Raises:
        RequestError: there is no such source, or it is of a kind that cannot be measured on.
        SourceError: it cannot be read to where it is needed.
        OutputError: the rendered file cannot be written.
    """
    if source is None or scheme_of(source) == "synth":
        options = STREET if source is None else parse_uri(source)
        path, name = _rendered(options, needed, show), format_uri(options)
    else:
        path, name = _file(source), Path(source).name
    size, frames = _read(path, needed, show)
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return Clip(path, name, digest.hexdigest(), size, frames)


def _file(source: str) -> Path:
    with closing(open_source(source)) as opened:  # reports what does not exist
        live = opened.live
    path = Path(source.removeprefix("file://"))
    if live or not path.is_file():
        kind = "a camera's frames do not come twice" if live else "it is not one video file"
        raise ConfigError(f"Cannot measure on {redact(source)!r}: {kind}. Give a video file, or synth://street?seed=1.")
    return path


def _read(path: Path, needed: int, show: Show) -> tuple[Size, int]:
    """Size and number of the frames up to ``needed``. Raises SourceError where one is unreadable."""
    size, ledger, count = (0, 0), Ledger(), 0
    with closing(open_source(str(path))) as opened:
        for frame in islice(opened.frames(ledger), needed):
            size, count = frame.size, count + 1
            show(f"reading the clip: frame {count}")
    unreadable = ledger.entry().dropped.get("decode_error", 0)
    if unreadable:
        raise SourceError(f"{unreadable} of the first {count + unreadable} frames of {str(path)!r} cannot be read.")
    return size, count


def _rendered(options: StreetOptions, needed: int, show: Show) -> Path:
    """The street as an H.264 file in the cache; rendered once, then found again."""
    count = options.frames or -(-needed // LENGTHS) * LENGTHS
    identity = hashlib.sha256(format_uri(options).encode()).hexdigest()[:12]
    path = cache_folder("clips") / f"street-{identity}-{count}.mp4"
    if not path.exists():
        unfinished = path.with_stem(f"{path.stem}.{os.getpid()}")  # the writer keeps what it has when it is interrupted
        try:
            with VideoWriter(unfinished, fps=options.fps) as video:
                for number, image in enumerate(_street(options, count), 1):
                    video.write(image, 0)
                    show(f"rendering a street to {path}: frame {number} of {count}")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def _street(options: StreetOptions, count: int) -> Iterator[Image]:
    street = Street(options.seed, options.size, options.fps, options.weather)
    if options.frames is not None:
        return (street.render(number).image for number in range(count))
    there = [street.render(number).image for number in range(min(RENDERED_FRAMES, count))]
    return islice(cycle(chain(there, reversed(there))), count)
