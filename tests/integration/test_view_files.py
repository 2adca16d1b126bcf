"""Videos and contact sheets as files: what players find in them, and what happens when writing fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perception.errors import ConfigError, OutputError
from perception.files import save_png
from perception.types import Image
from perception.view.footer import legend_entry
from perception.view.layers import Style
from perception.view.picture import Picture
from perception.view.render import render
from perception.view.sheet import Sheet, draw_sheet
from perception.view.shots import Feed, Shot
from perception.view.text import text_height
from perception.view.video import VideoWriter

MS = 1_000_000
SKY = 10


def picture(number: int, width: int = 320, height: int = 180) -> Image:
    """A smooth picture with a bright square that moves."""
    x, y = np.meshgrid(np.linspace(40, 200, width), np.linspace(30, 180, height))
    image = np.dstack([x, y, 255 - x]).astype(np.uint8)
    left = 4 * number % (width - 20)
    image[20:40, left : left + 20] = (0, 255, 255)
    return image


def decoded(path: Path) -> tuple[list[Image], list[Fraction]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    images = [frame.to_ndarray(format="bgr24", src_colorspace="ITU709") for frame in frames]
    return images, [frame.pts * frame.time_base for frame in frames]


def psnr(a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def leftovers(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_video_decodes_back_with_its_frames_and_times(tmp_path: Path) -> None:
    times = [0, 40, 80, 200, 240, 280, 500]
    with VideoWriter(tmp_path / "out.mp4", nominal_fps=25) as writer:
        for number, time in enumerate(times):
            writer.write(picture(number), 10**12 + time * MS)
    images, stamps = decoded(tmp_path / "out.mp4")
    assert [float(stamp) for stamp in stamps] == pytest.approx([t / 1000 for t in times], abs=1e-4)
    assert all(psnr(image, picture(number)) > 32 for number, image in enumerate(images))
    assert writer.duration_s == pytest.approx(0.54)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == len(times)
        assert float(stream.duration * stream.time_base) == pytest.approx(0.54, abs=1e-3)
    assert leftovers(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("size", [(320, 180), (321, 181), (640, 400)])
def test_browsers_can_play_it(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, nominal_fps=30) as writer:
        for number in range(5):
            writer.write(picture(number, *size), number * 33 * MS)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    profile, level = data[data.index(b"avcC") + 5], data[data.index(b"avcC") + 7]
    assert profile in (77, 100)  # Main, High
    assert level <= 52
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert (context.width, context.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert container.streams.video[0].start_time == 0


def test_colours_survive_the_conversion(tmp_path: Path) -> None:
    colours = [(0, 0, 142), (35, 142, 107), (232, 35, 244), (180, 130, 70), (255, 255, 255), (0, 0, 0)]
    with VideoWriter(tmp_path / "out.mp4") as writer:
        for number, colour in enumerate(colours):
            writer.write(np.full((64, 64, 3), colour, np.uint8), number * 40 * MS)
    for image, colour in zip(decoded(tmp_path / "out.mp4")[0], colours):
        assert np.abs(image.reshape(-1, 3).mean(axis=0) - colour).max() <= 4


def test_a_fixed_rate_replaces_the_times(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=10) as writer:
        for number in range(4):
            writer.write(picture(number), number * 7 * MS)
    assert [float(t) for t in decoded(tmp_path / "out.mp4")[1]] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_frames_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4") as writer:
        writer.write(picture(0), 0)
        writer.write(picture(0, 200, 300), 40 * MS)
    images, _ = decoded(tmp_path / "out.mp4")
    assert images[1].shape == (180, 320, 3)
    assert images[1][:, :90].max() < 60
    assert images[1][:, 120:200].mean() > 60


def test_an_existing_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path) as writer:
        writer.write(picture(0), 0)
        assert path.read_bytes() == b"old"
    assert len(decoded(path)[0]) == 1


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4"):
        pass
    assert leftovers(tmp_path) == []


def test_an_error_elsewhere_keeps_what_was_written(tmp_path: Path) -> None:
    def broken() -> None:
        with VideoWriter(tmp_path / "out.mp4") as writer:
            writer.write(picture(0), 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert len(decoded(tmp_path / "out.mp4")[0]) == 1
    assert leftovers(tmp_path) == ["out.mp4"]


def test_an_interruption_before_the_first_frame_is_no_failure_of_the_source(tmp_path: Path) -> None:
    def shots() -> Iterator[Shot]:
        raise KeyboardInterrupt
        yield

    closed: list[bool] = []
    feed = Feed(shots(), "drive.mp4", lambda: closed.append(True))
    with pytest.raises(KeyboardInterrupt):
        render(feed, Style(), video=VideoWriter(tmp_path / "out.mp4"), sheet=Sheet(tmp_path / "out.png"))
    assert closed == [True]
    assert leftovers(tmp_path) == []


def test_a_sheet_that_cannot_be_written_does_not_hide_the_video(tmp_path: Path) -> None:
    shots = [Shot(Picture(picture(k)), "front", k, 10**8 * k, 10**8 * k, None, 0) for k in range(3)]
    feed = Feed(iter(shots), "drive.mp4", lambda: None)
    (tmp_path / "gone").mkdir()
    sheet = Sheet(tmp_path / "gone" / "out.png")
    (tmp_path / "gone").rmdir()  # while it runs
    report = render(feed, Style(), video=VideoWriter(tmp_path / "out.mp4"), sheet=sheet)
    assert [Path(file.path).name for file in report.files] == ["out.mp4"]
    assert report.exit_code == OutputError.exit_code
    assert "gone/out.png" in (report.error or "")
    assert len(decoded(tmp_path / "out.mp4")[0]) == 3


def test_names_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.mp4"):
        VideoWriter(tmp_path / "out.avi")
    with pytest.raises(ConfigError, match="no folder"):
        VideoWriter(tmp_path / "missing" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4")
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        Sheet(tmp_path / "out.jpg")
    with pytest.raises(ConfigError, match="at least 1"):
        Sheet(tmp_path / "out.png", count=0)


def test_a_folder_without_permission_is_one_clear_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc")  # where even root can create nothing
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"Cannot write '.*out\.mp4'"):
        VideoWriter(folder / "out.mp4")
    with pytest.raises(OutputError, match=r"Cannot write '.*out\.png'"):
        save_png(folder / "out.png", picture(0))


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from perception.errors import OutputError
from perception.view.video import VideoWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # the file system refuses to let the file grow further
noise = np.random.default_rng(1)
try:
    with VideoWriter(Path(sys.argv[1])) as writer:
        for number in range(int(sys.argv[2])):
            writer.write(noise.integers(0, 255, (180, 320, 3), np.uint8), number * 40_000_000)
except OutputError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("frames", ["3", "300"], ids=["found at the end", "found while writing"])
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path: Path, frames: str) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), frames], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Cannot write '")
    assert "Traceback" not in ended.stderr
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["out.mp4"]


ENDLESS = """
import sys, time
from pathlib import Path
import numpy as np
from perception.view.video import VideoWriter

with VideoWriter(Path(sys.argv[1])) as writer:
    for number in range(10**6):
        writer.write(np.full((180, 320, 3), number % 256, np.uint8), number * 40_000_000)
        if number == 20:
            print("writing", flush=True)
        time.sleep(0.002)
"""


def test_an_interrupted_video_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)
    images, stamps = decoded(path)
    assert len(images) > 20
    assert stamps[20] == Fraction(8, 10)
    assert leftovers(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize(("offered", "shown"), [(1, 1), (3, 3), (6, 6), (7, 6), (100, 6), (1000, 6)])
def test_a_sheet_shows_frames_evenly_spread(tmp_path: Path, offered: int, shown: int) -> None:
    sheet = Sheet(tmp_path / "out.png", count=6)
    for number in range(offered):
        sheet.add(Picture(np.zeros((9, 16, 3), np.uint8)), number, number / 10)
    numbers = [tile.frame for tile in sheet.chosen()]
    assert len(numbers) == shown
    assert numbers[0] == 0
    assert numbers[-1] >= 0.85 * (offered - 1)
    steps = np.diff(numbers)
    assert len(steps) == 0 or steps.max() <= 1.5 * steps.min() + 1
    assert sheet.save(Style()) is not None
    assert cv2.imread(str(tmp_path / "out.png")) is not None
    assert leftovers(tmp_path) == ["out.png"]


def test_an_empty_sheet_is_not_written(tmp_path: Path) -> None:
    assert Sheet(tmp_path / "out.png").save(Style()) is None
    assert leftovers(tmp_path) == []


def test_a_sheet_has_tiles_in_rows_and_one_legend(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "out.png", count=12)
    for number in range(12):
        labels = np.full((18, 32), SKY, np.uint8) if number == 11 else None
        sheet.add(Picture(np.full((360, 640, 3), 20 * number + 20, np.uint8), labels), number, None)
    drawn = draw_sheet(sheet.chosen(), Style(alpha=1.0))
    tops = [(8, 8 + column * 648) for column in range(3)]
    for number, (y, x) in enumerate(tops):
        assert (drawn[y : y + 360, x : x + 640] == 20 * number + 20).all()
    assert drawn.shape[1] == 3 * 648 + 8
    entry = legend_entry(Style().table, SKY, round(1.3 * text_height(640, 360)))
    windows = np.lib.stride_tricks.sliding_window_view(drawn[-60:, :, 1], entry.shape[:2])
    assert (windows == entry[..., 1]).all(axis=(2, 3)).sum() == 1


def test_a_sheet_takes_frames_of_several_sizes(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "out.png", count=2)
    sheet.add(Picture(picture(0, 1242, 375)), 0, 0.0)
    sheet.add(Picture(picture(0, 375, 1242)), 1, 0.1)
    written = sheet.save(Style())
    assert written is not None
    assert (cv2.imread(str(tmp_path / "out.png")) == written).all()
