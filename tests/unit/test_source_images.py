"""Image files: order, formats, damage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.errors import SourceError
from perception.ledger import Ledger
from perception.sources import Source, open_source
from perception.sources.images import natural_order, read_image
from perception.sources.jump import Place, Seekable
from perception.types import Frame

EXIF_ROTATED = bytes.fromhex("ffe1002245786966000049492a00080000000100120103000100000006000000000000000000")


def write(path: Path, value: int, width: int = 40, height: int = 30) -> Path:
    assert cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))
    return path


def publish_all(source: Source, ledger: Ledger, published: list[Frame]) -> None:
    for frame in source.frames(ledger):
        published.append(frame)
        ledger.publish(frame.number)


def values(frames: list[Frame]) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_frame2_comes_before_frame10(tmp_path: Path) -> None:
    for number in (10, 2, 1, 100):
        write(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    source, ledger = open_source(str(tmp_path), stream="rear"), Ledger()
    frames = list(source.frames(ledger))
    assert values(frames) == [1, 2, 10, 100]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert {(frame.stream, frame.time.clock, frame.time.media_ns) for frame in frames} == {("rear", "media", None)}
    assert (source.promised, source.live, source.fps) == (4, False, None)
    assert ledger.entry().captured == ledger.entry().in_flight == 4


@given(st.lists(st.text("ab01 9._-\u0663\u00b2", min_size=1, max_size=6), max_size=8))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    ordered = sorted((Path(name) for name in names), key=natural_order)
    assert sorted(ordered, key=natural_order) == ordered


def test_a_pattern_and_a_single_image(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.jpg", "b1.png", "a3.PNG"):
        write(tmp_path / name, int(name[1]))
    assert len(list(open_source(f"{tmp_path}/a*").frames(Ledger()))) == 3
    assert values(list(open_source(str(tmp_path / "b1.png")).frames(Ledger()))) == [1]


def test_a_pattern_goes_into_folders_where_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "day" / "one").mkdir(parents=True)
    write(tmp_path / "day" / "one" / "x.png", 3)
    assert values(list(open_source(f"{tmp_path}/**/*.png").frames(Ledger()))) == [3]


def test_bad_images_are_skipped_counted_and_named(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.png", number)
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "4.jpg").write_text("text")
    (tmp_path / "5.png").write_bytes(b"")
    ledger = Ledger()
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=r"3 of 6 images of .* could not be read, the first is .*1\.png") as caught:
        publish_all(open_source(str(tmp_path)), ledger, frames)
    assert caught.value.exit_code == 3
    assert values(frames) == [0, 2, 3]
    assert [frame.number for frame in frames] == [0, 2, 3]
    entry = ledger.entry()
    assert (entry.captured, entry.published, entry.dropped) == (6, 3, {"decode_error": 3})


def test_a_damaged_image_that_is_met_again_counts_once(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"nothing")
    write(tmp_path / "2.png", 2)
    source = open_source(str(tmp_path))
    assert isinstance(source, Seekable)
    frames = source.frames(Ledger())
    for _ in range(3):
        next(frames)
        source.seek(Place(frame=0))
    next(frames)
    with pytest.raises(SourceError, match="1 of 2 images"):
        next(frames)


def test_a_jpeg_that_was_cut_off_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", 90, 200, 200)
    path.write_bytes(path.read_bytes()[:-40])
    assert read_image(path) is None


def test_sizes_may_change(tmp_path: Path) -> None:
    write(tmp_path / "1.png", 1, 40, 30)
    write(tmp_path / "2.png", 2, 64, 48)
    assert [frame.size for frame in open_source(str(tmp_path)).frames(Ledger())] == [(40, 30), (64, 48)]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((4, 6), 100, np.uint8), 100),
        (np.full((4, 6), 40_000, np.uint16), 156),
        (np.full((4, 6, 3), 40_000, np.uint16), 156),
        (np.full((4, 6, 4), 100, np.uint8), 100),
    ],
)
def test_grey_deep_and_transparent_images_become_bgr(tmp_path: Path, pixels: np.ndarray, expected: int) -> None:
    path = tmp_path / "x.png"
    assert cv2.imwrite(str(path), pixels)
    image = read_image(path)
    assert image is not None
    assert image.shape == (4, 6, 3)
    assert np.all(image == expected)


def test_exif_rotation_is_honoured(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255  # left half white: after a quarter turn clockwise the upper half
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    path = tmp_path / "x.jpg"
    path.write_bytes(data[:2] + EXIF_ROTATED + data[2:])
    image = read_image(path)
    assert image is not None
    assert image.shape == (40, 20, 3)
    assert image[5, 10, 0] > 250
    assert image[35, 10, 0] < 5


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.png", number)
    source = open_source(str(tmp_path))
    frames = source.frames(Ledger())
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []
