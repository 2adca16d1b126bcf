"""Where boxes will be: a Kalman filter of constant velocity for each, all of them at once.

Kalman 1960, "A New Approach to Linear Filtering and Prediction Problems", with acceleration as continuous white
noise (Bar-Shalom, Li, Kirubarajan 2001, section 6.2.2), so that a step may be of any length. Centre x, centre y,
width and height are filtered each on its own: with one measured value apiece nothing needs to be inverted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Standard deviations of centre x, centre y, width, height, in widths and heights of the object itself; CAMERA_... in
# those of the frame: when the camera turns, things small and far move by many of their own widths.
BLUR = np.array([0.05, 0.05, 0.1, 0.1])  # of a measured value, at least half a pixel
JOLT = np.array([1.0, 1.0, 0.7, 0.7])  # of the acceleration, per second and root second
CAMERA_JOLT = np.array([0.1, 0.1, 0.0, 0.0])
PACE = np.array([1.0, 1.0, 0.5, 0.5])  # of a new object's velocity, per second
CAMERA_PACE = np.array([0.15, 0.05, 0.0, 0.0])
CALM_S = np.array([4.0, 4.0, 0.15, 0.15])  # in which the velocity of an object that is not seen falls to 1/e
NEARBY = 0.02  # of the frame; objects farther than this lend a new one little of their velocity


class Motions:
    """T boxes that move, in shares of the frame's width and height. Rows are appended, selected and measured."""

    def __init__(self) -> None:
        self.at: Floats = np.zeros((0, 4))  # centre x, centre y, width, height
        self.pace: Floats = np.zeros((0, 4))  # their change per second
        self._spread: Floats = np.zeros((3, 0, 4))  # variance of place, covariance, variance of pace

    def boxes(self) -> Floats:
        """(T, 4) x0 y0 x1 y1, as predicted or measured last."""
        half = self.at[:, 2:] / 2
        return np.concatenate([self.at[:, :2] - half, self.at[:, :2] + half], axis=1)

    def doubt(self) -> Floats:
        """(T, 2) standard deviation of the centre in x and y."""
        return np.sqrt(self._spread[0, :, :2])

    def append(self, boxes: Floats, rows: npt.NDArray[np.bool_]) -> None:
        """Begin with (N, 4) boxes x0 y0 x1 y1 seen just now; they move as those of the (T,) rows near them."""
        at = _centred(boxes)
        pace = np.zeros_like(at)
        if rows.any():
            away = np.abs(at[:, None, :2] - self.at[rows, :2]).sum(axis=-1)
            weight = 1 / (away + NEARBY) ** 2
            pace[:, :2] = weight @ self.pace[rows, :2] / weight.sum(axis=1, keepdims=True)
        scale = _scale(at)
        spread = np.stack([(BLUR * scale) ** 2, np.zeros_like(at), (PACE * scale + CAMERA_PACE) ** 2])
        self.at = np.concatenate([self.at, at])
        self.pace = np.concatenate([self.pace, pace])
        self._spread = np.concatenate([self._spread, spread], axis=1)

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        """Forget all boxes but those of these (T,) rows."""
        self.at, self.pace, self._spread = self.at[rows], self.pace[rows], self._spread[:, rows]

    def advance(self, seconds: float, unseen: npt.NDArray[np.bool_]) -> None:
        """Predict all boxes ``seconds`` ahead; those (T,) that are ``unseen`` come to rest by and by.

        What hides an object first cuts its box down, which looks like shrinking: the size calms down soon.
        """
        place, both, pace = self._spread
        noise = (JOLT * _scale(self.at) + CAMERA_JOLT) ** 2
        place += 2 * seconds * both + seconds**2 * pace + noise * seconds**3 / 3
        both += seconds * pace + noise * seconds**2 / 2
        pace += noise * seconds
        self.at = self.at + self.pace * seconds
        self.at[:, 2:] = np.maximum(self.at[:, 2:], 1e-9)
        self.pace = np.where(unseen[:, None], self.pace * np.exp(-seconds / CALM_S), self.pace)

    def measure(self, rows: npt.NDArray[np.intp], boxes: Floats, pixel: Floats) -> None:
        """Correct these (M,) rows by (M, 4) boxes that were seen; ``pixel`` (2,) is the width and height of one."""
        seen = _centred(boxes)
        blur = np.maximum(BLUR * _scale(seen), np.tile(pixel, 2) / 2) ** 2
        place, both, pace = self._spread[:, rows]
        gain, pace_gain = place / (place + blur), both / (place + blur)
        missed_by = seen - self.at[rows]
        self.at[rows] += gain * missed_by
        self.pace[rows] += pace_gain * missed_by
        self._spread[:, rows] = (1 - gain) * place, (1 - gain) * both, pace - pace_gain * both


def _centred(boxes: Floats) -> Floats:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def _scale(at: Floats) -> Floats:
    """(T, 4) what deviations are measured in."""
    return at[:, [2, 3, 2, 3]]
