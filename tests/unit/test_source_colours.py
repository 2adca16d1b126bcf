"""Colours: every matrix and range against the defining formula, and turning upright."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from perception.sources.picture import Converter, full_range, matrix

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # red, blue; BT.709 ...
UNTAGGED = 2


def coded(bgr: tuple[int, int, int], colorspace: int, full: bool) -> tuple[int, int, int]:
    """Y, Cb, Cr of one colour, as the standards define them."""
    blue, green, red = bgr
    red_weight, blue_weight = WEIGHTS[colorspace]
    luma = red_weight * red + blue_weight * blue + (1 - red_weight - blue_weight) * green
    cb, cr = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    if full:
        return round(luma), min(255, round(128 + cb)), min(255, round(128 + cr))
    return round(16 + luma * 219 / 255), round(128 + cb * 224 / 255), round(128 + cr * 224 / 255)


def picture(yuv: tuple[int, int, int], width: int, height: int) -> av.VideoFrame:
    rows = [np.full((height, width), yuv[0], np.uint8)]
    rows += [np.full((height // 4, width), value, np.uint8) for value in yuv[1:]]
    return av.VideoFrame.from_ndarray(np.concatenate(rows), format="yuv420p")


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("colorspace", sorted(WEIGHTS))
@pytest.mark.parametrize("bgr", [(0, 0, 255), (0, 200, 0), (230, 30, 10), (128, 128, 128), (255, 255, 255)])
def test_colours_come_back(bgr: tuple[int, int, int], colorspace: int, full: bool) -> None:
    frame = picture(coded(bgr, colorspace, full), 64, 48)
    frame.colorspace = colorspace
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    image = Converter().image(frame)
    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - np.array(bgr)).max() <= 4


def test_what_is_assumed_of_untagged_video() -> None:
    assert matrix(UNTAGGED, 1280, 720) == Colorspace.ITU709
    assert matrix(UNTAGGED, 640, 480) == Colorspace.ITU601
    assert matrix(UNTAGGED, 720, 576) == Colorspace.ITU601
    assert not full_range(picture((16, 128, 128), 64, 48))


def test_rgb_video_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    assert np.array_equal(Converter().image(frame), pixels[:, :, ::-1])


@pytest.mark.parametrize("width", [50, 62, 63, 1278])
def test_widths_that_need_padding(width: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, width, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
    assert np.array_equal(Converter().image(frame), pixels)


def test_an_image_outlives_the_pictures_after_it() -> None:
    convert = Converter()
    first = convert.image(picture((50, 128, 128), 64, 48))
    before = first.copy()
    for luma in range(60, 200, 10):
        convert.image(picture((luma, 128, 128), 64, 48))
    assert np.array_equal(first, before)
