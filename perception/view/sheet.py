"""A contact sheet: frames evenly spread over a run, small, with captions and one legend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.classes import ClassTable
from perception.errors import ConfigError
from perception.files import check_folder, save_png
from perception.types import Image
from perception.view.footer import Footer, classes_in, clock
from perception.view.layers import Layer, Style
from perception.view.overlay import draw_overlay
from perception.view.picture import Picture
from perception.view.text import PLATE, paste, plate, text_height
from perception.view.video import fitted

_TILE_PIXELS = 640 * 360  # area of a tile
_SHAPE = 4 / 3  # width to height of the sheet that is aimed at
_GAP = 8  # pixels between tiles
_CAPTION = 1.3  # captions are larger than the names in the tiles: a sheet is looked at shrunk


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One picture of a sheet, already at the size of its tile."""

    picture: Picture
    frame: int
    time_s: float | None


class Sheet:
    """Collects pictures of a run whose length need not be known, and keeps ``count`` that are evenly spread.

    At most 4 ``count`` pictures of tile size are held: where there are more, every second one goes and
    the step between kept frames doubles.

    Raises:
        ConfigError: the file is not called .png, its folder does not exist, or ``count`` is not positive.
    """

    def __init__(self, path: Path, *, count: int = 12) -> None:
        if path.suffix.lower() != ".png":
            raise ConfigError(f"Cannot write a contact sheet to {str(path)!r}: the name must end in .png.")
        if count < 1:
            raise ConfigError(f"A contact sheet needs at least 1 tile, got {count}.")
        check_folder(path)
        self.path = path
        self._count = count
        self._tiles: list[Tile] = []
        self._step = 1
        self._seen = 0

    def add(self, picture: Picture, frame: int, time_s: float | None) -> None:
        """Offer the next picture of the run."""
        if self._seen % self._step == 0:
            if len(self._tiles) == 4 * self._count:
                self._tiles = self._tiles[::2]
                self._step *= 2
            self._tiles.append(Tile(_tile_picture(picture), frame, time_s))
        self._seen += 1

    def chosen(self) -> list[Tile]:
        """The tiles that the sheet shows, first and last of those held among them."""
        count = min(self._count, len(self._tiles))
        places = np.linspace(0, len(self._tiles) - 1, count).round().astype(int)
        return [self._tiles[place] for place in places]

    def save(self, style: Style) -> Image | None:
        """Draw and write the sheet; returns it, or None where there was no picture and nothing is written.

        Raises:
            OutputError: the file cannot be written; an existing one stays as it was.
        """
        tiles = self.chosen()
        if not tiles:
            return None
        image = draw_sheet(tiles, style)
        save_png(self.path, image)
        return image


def draw_sheet(tiles: list[Tile], style: Style) -> Image:
    """Lay the tiles out in rows, with captions, and the legend of all their classes below."""
    height, width = tiles[0].picture.image.shape[:2]
    text = round(_CAPTION * text_height(width, height))
    caption = plate("Ag", text).shape[0]
    columns = min(len(tiles), max(1, round((_SHAPE * len(tiles) * (height + caption) / width) ** 0.5)))
    rows = -(-len(tiles) // columns)
    total = columns * (width + _GAP) + _GAP
    footer = _legend(tiles, style, total, text)
    body = rows * (height + caption + _GAP) + _GAP
    sheet = np.full((body + footer.height, total, 3), PLATE, np.uint8)
    for place, tile in enumerate(tiles):
        x = _GAP + place % columns * (width + _GAP)
        y = _GAP + place // columns * (height + caption + _GAP)
        canvas = _drawn(tile.picture, style)
        if canvas.shape[:2] != (height, width):  # a folder may hold images of several sizes
            canvas = fitted(canvas, (width, height))
        sheet[y : y + height, x : x + width] = canvas
        time = "" if tile.time_s is None else f"  {clock(tile.time_s)}"
        paste(sheet, plate(f"frame {tile.frame}{time}", text), x, y + height)
    if footer.height:
        footer.draw(sheet[body:], {row.id for row in footer.style.table.rows}, None)
    return sheet


def _legend(tiles: list[Tile], style: Style, width: int, text: int) -> Footer:
    """The legend of the classes on all tiles: nothing moves on a sheet, so no place is kept for others."""
    present = set().union(*(classes_in(tile.picture) for tile in tiles))
    table = ClassTable(tuple(row for row in style.table.rows if row.id in present))
    layers: frozenset[Layer] = frozenset({"legend"}) if len(table) else frozenset()
    return Footer(width, text, Style(table, style.layers & layers))


def _tile_picture(picture: Picture) -> Picture:
    height, width = picture.image.shape[:2]
    scaled = picture.scaled((_TILE_PIXELS / (width * height)) ** 0.5)
    if scaled is picture:  # a source may use its buffer again
        return Picture(
            picture.image.copy(), picture.labels, picture.labels_to_image, picture.objects, picture.objects_to_image
        )
    return scaled


def _drawn(picture: Picture, style: Style) -> Image:
    canvas = picture.image.copy()
    draw_overlay(canvas, picture, style)
    return canvas
