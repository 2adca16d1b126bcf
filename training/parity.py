"""Compare two models frame by frame: a file with the Keras model it came from, or one precision with another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from perception.errors import ConfigError
from perception.stages.prepare import prepare
from perception.types import Image, Size
from training.answers import Answer


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two models agree on the same frames."""

    frames: int
    label_agreement: float  # share of pixels with the same label
    worst_frame: float  # the same for the worst frame
    confidence_difference: float  # largest mean absolute difference of a frame, in 1/255; NaN where one gives none


def compare(one: Answer, other: Answer, images: Iterable[Image], network_size: Callable[[Size], Size]) -> Parity:
    """Labels and confidence of two models; ``network_size`` is the rule from a frame's (w, h) to the network's.

    Frames are brought to network size once, so that only the graphs are compared.

    Raises:
        ConfigError: there are no frames.
        ModelError: the labels differ in size.
    """
    agreements, differences = [], []
    for image in images:
        frame = prepare(image, network_size((image.shape[1], image.shape[0])))
        labels, confidence = other(frame, None)
        again, confidence_again = one(frame, (labels.shape[0], labels.shape[1]))
        agreements.append(float((labels == again).mean()))
        if confidence is None or confidence_again is None:
            differences.append(float("nan"))
        else:
            differences.append(255 * float(np.abs(confidence - confidence_again).mean()))
    if not agreements:
        raise ConfigError("There are no frames to compare on.")
    return Parity(len(agreements), float(np.mean(agreements)), min(agreements), max(differences))
