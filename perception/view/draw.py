"""A whole picture for people: the frame with its overlay, and the strip with figures and legend below it."""

from __future__ import annotations

import numpy as np

from perception.types import Image
from perception.view.footer import Footer, classes_in
from perception.view.layers import Style
from perception.view.meter import Stats
from perception.view.overlay import draw_overlay
from perception.view.picture import Picture


def draw(picture: Picture, style: Style, stats: Stats | None = None) -> Image:
    """Draw the layers of ``style``; returns a new (H', W', 3) u8 BGR image and leaves the picture as it is.

    H' and W' depend on the frame's size and the style alone, so all frames of a stream give one size: a
    small frame is enlarged by a whole number until text is legible, and the strip comes below it.
    """
    picture = picture.readable()
    height, width = picture.image.shape[:2]
    footer = Footer.below(picture.image, style)
    canvas = np.empty((height + footer.height, width, 3), np.uint8)
    canvas[:height] = picture.image
    draw_overlay(canvas[:height], picture, style)
    if footer.height:
        footer.draw(canvas[height:], classes_in(picture) if "legend" in style.layers else (), stats)
    return canvas
