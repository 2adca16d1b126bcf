"""The tracks of one camera."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.tracking.association import LastMasks, Rows, best_first, box_overlap
from perception.tracking.motion import Floats, Motions
from perception.types import IdMap

PATIENCE_S = 1.5  # a track that was not seen for longer has ended
MASK_WEIGHT = 0.5  # of the overlap of masks, beside 1 for that of boxes
LEAST = 0.15  # affinity of a track and an object of its class
LEAST_OF_OTHERS = 0.7  # and of an object of another class: networks change their mind
MOST_OBJECTS = 512  # of a frame that are tracked, the largest
MOST_TRACKS = 2 * MOST_OBJECTS  # that are looked for, those seen last
UNTRACKED = -1


class Tracker:
    """Gives objects the numbers of those that they go on from, frame by frame. No number is given twice."""

    def __init__(self) -> None:
        self._next = 1
        self._motions = Motions()
        self._masks = LastMasks()
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._class_ids: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._unseen_s: Floats = np.zeros(0)

    def __len__(self) -> int:
        return len(self._numbers)

    def forget(self) -> None:
        """End all tracks: what comes next does not go on from what was."""
        self._keep(np.zeros(len(self), bool))

    def follow(
        self,
        boxes: Floats,
        class_ids: npt.NDArray[np.uint8],
        *,
        seconds: float,
        pixel: tuple[float, float],
        ids: IdMap | None = None,
    ) -> npt.NDArray[np.int64]:
        """Go on by one frame.

        Args:
            boxes: (N, 4) x0 y0 x1 y1, in shares of the frame's width and height.
            class_ids: (N,).
            seconds: since the last frame, more than 0.
            pixel: width and height of a map pixel, in the unit of the boxes.
            ids: (h, w) object k has the value k + 1; None where masks overlap.

        Returns:
            (N,) the track of each object, from 1; -1 for all beyond the MOST_OBJECTS largest.
        """
        tracks = np.full(len(boxes), UNTRACKED, np.int64)
        followed = _largest(boxes)
        self._advance(seconds)
        affinity = self._affinity(boxes[followed], pixel)
        affinity += MASK_WEIGHT * self._masks.overlap(self._numbers, ids, followed)
        rows, columns = self._match(affinity, class_ids[followed])
        old = followed[columns]
        self._motions.measure(rows, boxes[old], np.array(pixel))
        self._unseen_s[rows], self._class_ids[rows] = 0, class_ids[old]
        tracks[old] = self._numbers[rows]
        new = followed[tracks[followed] == UNTRACKED]
        tracks[new] = self._begin(boxes[new], class_ids[new])
        self._masks.show(ids, tracks)
        return tracks

    def _advance(self, seconds: float) -> None:
        self._motions.advance(seconds, self._unseen_s > 0)
        self._unseen_s = self._unseen_s + seconds
        boxes = self._motions.boxes()
        alive = (self._unseen_s <= PATIENCE_S) & ((boxes[:, :2] < 1) & (boxes[:, 2:] > 0)).all(axis=1)
        if len(self) > MOST_TRACKS:
            alive &= np.argsort(np.argsort(self._unseen_s, kind="stable")) < MOST_TRACKS
        if not alive.all():
            self._keep(alive)

    def _affinity(self, boxes: Floats, pixel: tuple[float, float]) -> Floats:
        """(T, N) 0..1, by boxes."""
        margin = np.minimum(self._motions.doubt(), self._motions.at[:, 2:]) + np.array(pixel)
        return box_overlap(self._motions.boxes(), boxes, margin)

    def _match(self, affinity: Floats, class_ids: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
        same = self._class_ids[:, None] == class_ids
        rows, columns = best_first(np.where(same, affinity, 0), LEAST)
        if len(rows) == min(affinity.shape):  # nobody is left for another class
            return rows, columns
        affinity[rows], affinity[:, columns] = 0, 0
        more_rows, more_columns = best_first(affinity, LEAST_OF_OTHERS)
        return np.concatenate([rows, more_rows]), np.concatenate([columns, more_columns])

    def _begin(self, boxes: Floats, class_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        numbers = np.arange(self._next, self._next + len(boxes), dtype=np.int64)
        if not len(boxes):
            return numbers
        self._next += len(boxes)
        self._motions.append(boxes, self._unseen_s == 0)
        self._numbers = np.concatenate([self._numbers, numbers])
        self._class_ids = np.concatenate([self._class_ids, class_ids])
        self._unseen_s = np.concatenate([self._unseen_s, np.zeros(len(boxes))])
        return numbers

    def _keep(self, rows: npt.NDArray[np.bool_]) -> None:
        self._motions.keep(rows)
        self._numbers, self._class_ids, self._unseen_s = (
            self._numbers[rows],
            self._class_ids[rows],
            self._unseen_s[rows],
        )


def _largest(boxes: Floats) -> Rows:
    """Which of the (N, 4) boxes are followed, ascending."""
    if len(boxes) <= MOST_OBJECTS:
        return np.arange(len(boxes))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.sort(np.argsort(-areas, kind="stable")[:MOST_OBJECTS])
