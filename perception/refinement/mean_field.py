"""Mean field with a truncated window, fast enough for a node without a GPU.

Krähenbühl and Koltun 2011, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", algorithm 1,
with the window cut off as in Teichmann and Cipolla 2018, "Convolutional CRFs", section 3.2. What makes it fast:
neighbours are *keys*, every (tile / 2)-th pixel in either direction, and a pixel hears from the 36 keys of the 3x3
tiles around it, so that a message is a small matrix product, as attention within a window is. All rounds but
the last run at the keys alone; the last one gives every pixel its label, and leaves out tiles in which all are of
one opinion. ``training/graph_crf.py`` writes the same arithmetic as a graph, for whole frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from perception.refinement.settings import CrfSettings
from perception.types import VOID, Image, Segmentation

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.intp]
# (rows, columns) of pixels to the log probabilities of the K classes there, (K, ...).
Opinion = Callable[[Integers, Integers], Floats]

KEYS = 2  # in a tile, in either direction
SURELY = 0.999  # no answer is surer than this, for its logarithm must leave room for another class
LEAST = 1e-4  # probability of a class that a network rules out
_TOGETHER = 24  # tiles whose kernels fit a core's cache


def refine(segmentation: Segmentation, image: Image, settings: CrfSettings, *, classes: int) -> Segmentation:
    """Labels and confidence after mean field over the picture ``image``, (h, w, 3) u8 of the maps' size.

    The unary potentials are the segmentation's ``probabilities`` where it has them. Else they come from labels
    and confidence: what the label does not claim, the other classes share. Void takes no part and stays. Classes that
    are nowhere the most probable are left out. Where all keys and pixels around agree, label and confidence stay
    as they are.
    """
    present = np.flatnonzero(np.bincount(segmentation.labels.ravel(), minlength=VOID + 1)[:VOID])
    if len(present) < 2:
        return Segmentation(segmentation.labels, segmentation.confidence)
    field = _Field(segmentation, image, settings, present, classes)
    field.settle()
    return field.answer()


def opinion_of(segmentation: Segmentation, present: Integers, classes: int) -> Opinion:
    """The log probabilities of the classes ``present`` at any pixels; see ``refine``."""
    labels, confidence, probabilities = segmentation.labels, segmentation.confidence, segmentation.probabilities
    if probabilities is not None:
        return lambda rows, columns: np.log(
            np.maximum(probabilities[present[:, None], rows.ravel(), columns.ravel()], LEAST).astype(np.float32)
        ).reshape(len(present), *rows.shape)

    sure = np.minimum((np.arange(256, dtype=np.float32) + 0.5) / 256, SURELY)
    claimed = np.log(sure)
    others = np.log((1 - sure) / max(classes - 1, 1))

    def opinion(rows: Integers, columns: Integers) -> Floats:
        level = np.full(rows.shape, 230, np.uint8) if confidence is None else confidence[rows, columns]
        chosen = labels[rows, columns] == present.reshape(-1, *[1] * rows.ndim)
        return np.where(chosen, claimed[level], others[level])

    return opinion


class _Field:
    """One frame's mean field. Tiles are numbered row by row; T tiles, K classes, P = tile² pixels."""

    def __init__(
        self, segmentation: Segmentation, image: Image, settings: CrfSettings, present: Integers, classes: int
    ) -> None:
        self._maps, self._settings, self._present = segmentation, settings, present
        self._opinion = opinion_of(segmentation, present, classes)
        height, width = segmentation.labels.shape
        tile, apart = settings.tile, settings.tile // KEYS
        self._tiles = -(-height // tile), -(-width // tile)
        self._colours = (image.astype(np.float32) - 128) / settings.colour  # around 0, where f32 is finest
        rows = np.arange(self._tiles[0] * KEYS) * apart + apart // 2
        columns = np.arange(self._tiles[1] * KEYS) * apart + apart // 2
        # Keys beyond the edge stand on the last pixel and count for nothing.
        self._key_rows, self._key_columns = np.broadcast_arrays(
            np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)[None]
        )
        known = (segmentation.labels[self._key_rows, self._key_columns] != VOID).astype(np.float32)
        self._known = known * (rows < height)[:, None] * (columns < width)[None]
        self._unary = self._opinion(self._key_rows, self._key_columns)  # (K, keys down, keys across)
        colours = self._colours[self._key_rows, self._key_columns]
        self._window = _features(self._windows(np.moveaxis(colours, -1, 0)), last=True)  # (T, 36, 5)
        self._state = self._unary

    def settle(self) -> None:
        """All rounds but the last, at the keys."""
        own = _within(self._windows(np.moveaxis(self._colours[self._key_rows, self._key_columns], -1, 0)))
        kernel = self._kernel(self._window, own, _distances(self._settings.tile, self._settings.spread, keys=True))
        for _ in range(self._settings.rounds - 1):
            messages = _messages(self._beliefs(), kernel, self._settings)  # (T, K, 4)
            self._state = self._unary + self._untiled(messages)

    def answer(self) -> Segmentation:
        """The last round, at all pixels of the tiles that are not of one opinion."""
        labels = self._maps.labels.copy()
        confidence = None if self._maps.confidence is None else self._maps.confidence.copy()
        beliefs = self._beliefs()
        distances = _distances(self._settings.tile, self._settings.spread)
        undecided = self._undecided()
        for start in range(0, len(undecided), _TOGETHER):
            some = undecided[start : start + _TOGETHER]
            rows, columns, inside = self._pixels(some)  # (t, P)
            kernel = self._kernel(self._window[some], np.moveaxis(self._colours[rows, columns], -1, 1), distances)
            scores = self._opinion(rows, columns).swapaxes(0, 1)  # (t, K, P)
            scores = scores + _messages(beliefs[some], kernel, self._settings)
            inside &= labels[rows, columns] != VOID
            best = scores.argmax(axis=1)
            rows, columns = rows[inside], columns[inside]
            labels[rows, columns] = self._present[best[inside]]
            if confidence is not None:
                total = np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)
                confidence[rows, columns] = np.rint(255 / total[inside])
        return Segmentation(labels, confidence)

    def _kernel(self, window: Floats, colours: Floats, distances: Floats) -> Floats:
        """(t, 36, q): how alike each key of the window and each of q pixels, of ``colours`` (t, 3, q), are."""
        kernel = window @ _features(colours, last=False)
        kernel += distances
        return np.asarray(np.exp(kernel, out=kernel), np.float32)

    def _beliefs(self) -> Floats:
        """(T, K + 1, 36): Q at the keys of each tile's window, and 1 where there is a key at all."""
        exponentials = np.exp(self._state - self._state.max(axis=0))
        beliefs = exponentials * (self._known / exponentials.sum(axis=0))
        return self._windows(np.concatenate([beliefs, self._known[None]]))

    def _windows(self, grid: Floats) -> Floats:
        """(T, F, 36) of a grid of keys (F, keys down, keys across); zeros beyond the edge."""
        padded = np.pad(grid, ((0, 0), (KEYS, KEYS), (KEYS, KEYS)))
        views = np.lib.stride_tricks.sliding_window_view(padded, (3 * KEYS, 3 * KEYS), axis=(1, 2))
        views = views[:, ::KEYS, ::KEYS]  # (F, tiles down, tiles across, 6, 6)
        return np.ascontiguousarray(np.moveaxis(views, 0, 2), np.float32).reshape(-1, len(grid), (3 * KEYS) ** 2)

    def _untiled(self, messages: Floats) -> Floats:
        """(K, keys down, keys across) of (T, K, 4)."""
        down, across = self._tiles
        tiled = messages.reshape(down, across, -1, KEYS, KEYS)
        return tiled.transpose(2, 0, 3, 1, 4).reshape(-1, down * KEYS, across * KEYS)

    def _undecided(self) -> Integers:
        """Numbers of the tiles in and around which there is more than one label."""
        tile = self._settings.tile
        keys = np.where(self._known > 0, self._present[self._state.argmax(axis=0)], VOID)
        around = self._windows(keys[None].astype(np.float32))[:, 0]  # beyond the edge it is 0
        real = self._windows(self._known[None])[:, 0] > 0
        lowest = np.where(real, around, VOID).min(axis=1)
        highest = np.where(real, around, 0).max(axis=1)
        down, across = self._tiles
        height, width = self._maps.labels.shape
        padded = np.pad(self._maps.labels, ((0, down * tile - height), (0, across * tile - width)), mode="edge")
        tiles = padded.reshape(down, tile, across, tile)
        lowest = np.minimum(lowest, tiles.min(axis=(1, 3)).ravel())
        highest = np.maximum(highest, tiles.max(axis=(1, 3)).ravel())
        return np.flatnonzero(lowest != highest)

    def _pixels(self, tiles: Integers) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
        """Rows and columns (t, P) of the pixels of some tiles, held within the map, and whether they are in it."""
        height, width = self._maps.labels.shape
        tile = self._settings.tile
        y, x = np.divmod(np.arange(tile * tile), tile)
        rows = tiles[:, None] // self._tiles[1] * tile + y
        columns = tiles[:, None] % self._tiles[1] * tile + x
        inside = (rows < height) & (columns < width)
        return np.minimum(rows, height - 1), np.minimum(columns, width - 1), inside


def _messages(beliefs: Floats, kernel: Floats, settings: CrfSettings) -> Floats:
    """(t, K, q): the mean of the beliefs (t, K + 1, 36) that each pixel hears, weighed by the kernel (t, 36, q).

    A key stands for (tile / 2)² pixels, the pixel itself for one: that is what its own silence weighs. So a
    pixel that is like none of the keys, as those of a thin pole may be, keeps its opinion.
    """
    heard = beliefs @ kernel
    alone = (KEYS / settings.tile) ** 2
    return np.asarray(heard[:, :-1] * (settings.weight / (heard[:, -1:] + alone)), np.float32)


def _features(colours: Floats, *, last: bool) -> Floats:
    """Colours (t, 3, q) so extended that the product of two is minus half their squared distance.

    Keys come as (t, q, 5) with ``last``, pixels as (t, 5, q).
    """
    half = -0.5 * np.square(colours).sum(axis=1, keepdims=True)
    ones = np.ones_like(half)
    if last:
        return np.ascontiguousarray(np.concatenate([colours, half, ones], axis=1).swapaxes(1, 2))
    return np.concatenate([colours, ones, half], axis=1)


def _within(windows: Floats) -> Floats:
    """(T, F, 4): the keys of the tile itself, of those of its window (T, F, 36)."""
    side = 3 * KEYS
    square = windows.reshape(*windows.shape[:2], side, side)
    return np.ascontiguousarray(square[:, :, KEYS:-KEYS, KEYS:-KEYS]).reshape(*windows.shape[:2], KEYS**2)


@cache
def _distances(tile: int, spread: float, *, keys: bool = False) -> Floats:
    """(36, P), or (36, 4) between ``keys``: minus half the squared distance in units of ``spread``."""
    apart = tile // KEYS
    window = np.arange(-tile, 2 * tile, apart) + apart // 2
    own = np.arange(apart // 2, tile, apart) if keys else np.arange(tile)
    one_way = np.square(window[:, None] - own[None]) / np.float32(-2 * spread**2)  # (6, side)
    both = one_way[:, None, :, None] + one_way[None, :, None, :]  # (6, 6, side, side)
    return np.asarray(both.reshape(len(window) ** 2, -1), np.float32)
