"""What lies below the frame: a line of figures and the legend, so that they hide nothing of the footage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from perception.classes import ClassTable
from perception.types import VOID, Image, LabelMap
from perception.view.layers import Style
from perception.view.meter import Stats
from perception.view.picture import Picture
from perception.view.text import FAINT, INK, PLATE, paste, plate, plate_margin, text_height

ALARM = (80, 120, 255)  # BGR: frames were dropped
_ABSENT = 0.25  # how much of its brightness an entry keeps whose class is not in the picture
_MANY_CLASSES = 32  # beyond this a legend with a place for every class would outgrow the frame


@dataclass(frozen=True, slots=True)
class Footer:
    """Draws the strip below frames of one width. Its height is fixed, so that a video keeps its size.

    Every class keeps its place in the legend, dimmed where it is absent: nothing jumps from frame to frame, and
    no gap looks like a fault.
    """

    width: int
    text: int  # height of capital letters, pixels
    style: Style

    @staticmethod
    def below(image: Image, style: Style) -> Footer:
        """The footer that fits under this frame."""
        return Footer(image.shape[1], text_height(image.shape[1], image.shape[0]), style)

    @property
    def height(self) -> int:
        """Pixels; 0 where neither stats nor legend are drawn."""
        lines = ("stats" in self.style.layers) + ("legend" in self.style.layers) * self._legend_lines()
        return lines * self._line() + 2 * self._margin() if lines else 0

    def draw(self, strip: Image, present: Collection[int], stats: Stats | None) -> None:
        """Fill ``strip`` (height, width, 3) with the figures and the legend of the classes present."""
        strip[:] = PLATE
        y = self._margin()
        if "stats" in self.style.layers:
            if stats is not None:
                self._draw_stats(strip, stats, y)
            y += self._line()
        if "legend" in self.style.layers:
            self._draw_legend(strip, present, y)

    def _draw_stats(self, strip: Image, stats: Stats, y: int) -> None:
        x = self._margin() - plate_margin(self.text)
        for value, unit, colour in stat_words(stats):
            for word, ink in ((value, colour), (unit, FAINT)):
                if not word:
                    continue
                patch = plate(word, self.text, None, ink)
                if x + patch.shape[1] > strip.shape[1]:
                    return  # a narrow strip shows the first figures whole rather than all of them cut
                paste(strip, patch, x, y)
                x += patch.shape[1] - plate_margin(self.text)
            x += self.text

    def _draw_legend(self, strip: Image, present: Collection[int], y: int) -> None:
        rows = self.style.table.rows
        shown = [row.id for row in rows if row.id in present]
        places = [row.id for row in rows] if len(rows) <= _MANY_CLASSES else shown
        columns, cell = _grid(self.style.table, self.text, self.width - 2 * self._margin())
        for place, class_id in enumerate(places[: columns * self._legend_lines()]):
            x = self._margin() + place % columns * cell
            entry = legend_entry(self.style.table, class_id, self.text, present=class_id in present)
            paste(strip, entry, x, y + place // columns * self._line())

    def _legend_lines(self) -> int:
        columns, _ = _grid(self.style.table, self.text, self.width - 2 * self._margin())
        return -(-min(len(self.style.table), _MANY_CLASSES) // columns)

    def _line(self) -> int:
        return int(plate("Ag", self.text).shape[0]) + self.text // 4

    def _margin(self) -> int:
        return self.text // 2


def stat_words(stats: Stats) -> list[tuple[str, str, tuple[int, int, int]]]:
    """The figures as (value, unit, colour), the most important first."""
    words = [(stats.stream, f"frame {stats.frame}", INK)]
    if stats.fps is not None:
        words.append((f"{stats.fps:.1f}", "fps", INK))
    if stats.p50_ms is not None and stats.p99_ms is not None:
        words.append((f"{stats.p50_ms:.0f} / {stats.p99_ms:.0f} ms", "latency p50 / p99", INK))
    words.append((str(stats.dropped), "dropped", ALARM if stats.dropped else INK))
    if stats.time_s is not None:
        words.append((clock(stats.time_s), "", INK))
    return words


def clock(seconds: float) -> str:
    """``1:05.25``: minutes, seconds and hundredths."""
    hundredths = round(abs(seconds) * 100)
    sign = "-" if seconds < 0 and hundredths else ""
    return f"{sign}{hundredths // 6000}:{hundredths % 6000 / 100:05.2f}"


@lru_cache(maxsize=1024)
def legend_entry(table: ClassTable, class_id: int, text: int, *, present: bool = True) -> Image:
    """A swatch of the class colour and its name, dimmed unless ``present``; (h, w, 3) u8 BGR."""
    name = plate(table.name(class_id), text)
    side = round(text * 1.3)
    entry = np.full((name.shape[0], side + name.shape[1], 3), PLATE, np.uint8)
    top = (entry.shape[0] - side) // 2
    entry[top : top + side, :side] = FAINT  # a thin frame: some class colours are nearly black
    entry[top + 1 : top + side - 1, 1 : side - 1] = table.palette_bgr()[class_id]
    entry[:, side:] = name
    return entry if present else np.rint(_ABSENT * entry + (1 - _ABSENT) * np.array(PLATE)).astype(np.uint8)


@lru_cache(maxsize=64)
def _grid(table: ClassTable, text: int, width: int) -> tuple[int, int]:
    """How many legend entries fit side by side, and the width of one, pixels."""
    widest = max((legend_entry(table, row.id, text).shape[1] for row in table.rows), default=width)
    count = max(1, min(len(table), _MANY_CLASSES))
    lines = -(-count // max(1, width // widest))
    columns = -(-count // lines)  # lines of equal length: no last line with a single entry
    return columns, width // columns


def classes_present(labels: LabelMap | None, objects: Sequence[int] = ()) -> set[int]:
    """Ids of the classes in the map and among the objects, without void."""
    if labels is None:
        return set(objects)
    counted = cv2.calcHist([labels], [0], None, [256], [0, 256])  # ten times faster than np.bincount
    return (set(np.flatnonzero(counted).tolist()) | set(objects)) - {VOID}


def classes_in(picture: Picture) -> set[int]:
    """Ids of the classes that a picture shows."""
    return classes_present(picture.labels, () if picture.objects is None else picture.objects.class_ids.tolist())
