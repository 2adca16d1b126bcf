"""Flicker: labels that change from one frame of a video to the next although the scene does not say so."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.types import VOID, Image, LabelMap

_ROUND_TRIP = 1.0  # pixels: flow there and back again that misses by more is an occlusion, or wrong


class FlickerTally:
    """Counts the flicker of a video, frame by frame, in two ways.

    ``of_truth``, for labelled videos: of the pixels whose true class is the same in both frames, the share
    whose predicted class is not. It needs no estimate of motion, and a perfect answer scores 0.

    ``of_flow``, for any video: the previous prediction is carried along by optical flow; of the pixels that the
    flow accounts for, the share whose class is another now (the complement of the pixel accuracy between
    the two, as the temporal consistency of Liu et al. 2020, "Efficient Semantic Video Segmentation with
    Per-frame Inference", is their mean IoU). A pixel counts if the flow there and back leads to where it
    started and stays in the frame. Dense inverse search (Kroeger et al. 2016) finds the flow.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: tuple[Image, LabelMap | None, LabelMap] | None = None
        self._still = np.zeros(2, np.int64)  # changed, all
        self._moved = np.zeros(2, np.int64)

    def restart(self) -> None:
        """The next frame does not follow from the last one: another drive begins."""
        self._before = None

    def add(self, image: Image, prediction: LabelMap, truth: LabelMap | None = None) -> None:
        """Count the step from the last frame to this one; a frame of another size starts anew."""
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        before, self._before = self._before, (grey, truth, prediction)
        if before is None or before[0].shape != grey.shape:
            return
        old_grey, old_truth, old_prediction = before
        if truth is not None and old_truth is not None:
            same = (truth == old_truth) & (truth != VOID)
            self._still += ((prediction != old_prediction) & same).sum(), same.sum()
        carried, known = self._carry(old_grey, grey, old_prediction)
        self._moved += ((prediction != carried) & known).sum(), known.sum()

    @property
    def of_truth(self) -> float:
        """Share within 0..1; NaN without two labelled frames in a row."""
        return float(self._still[0] / self._still[1]) if self._still[1] else float("nan")

    @property
    def of_flow(self) -> float:
        """Share within 0..1; NaN without two frames in a row."""
        return float(self._moved[0] / self._moved[1]) if self._moved[1] else float("nan")

    def _carry(self, old: Image, new: Image, labels: LabelMap) -> tuple[LabelMap, npt.NDArray[np.bool_]]:
        """The old labels where the new frame shows the same points, and which pixels have such a point."""
        back, forth = (self._flow.calc(a, b, np.zeros((*a.shape, 2), np.float32)) for a, b in ((new, old), (old, new)))
        rows, columns = np.indices(new.shape, np.float32)
        x, y = columns + back[..., 0], rows + back[..., 1]
        carried = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderValue=VOID)
        returned = cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderValue=(1e6, 1e6))
        known = np.linalg.norm(back + returned, axis=-1) <= _ROUND_TRIP
        return np.asarray(carried, np.uint8), known & (carried != VOID)
