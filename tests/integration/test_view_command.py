"""``roadcast view`` as users call it: on sources, on a running node, and with everything that can be wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from commands import command
from tiny_model import CAR, SKY, VEGETATION, write_model

from perception.classes import CITYSCAPES
from perception.types import Image
from perception.view.layers import LAYERS
from perception.view.video import VideoWriter

MS = 1_000_000
FRAMES = 24
SLOW_FRAMES = 300  # half a minute: nobody waits for its end


def street(number: int) -> Image:
    """Blue above, green below, and a red thing that moves: what the tiny model tells apart."""
    image = np.zeros((360, 640, 3), np.uint8)
    image[:180] = (200, 60, 60)
    image[180:] = (60, 180, 60)
    image[200:300, 40 + 10 * number : 160 + 10 * number] = (40, 40, 220)
    return image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx", scale=2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    with VideoWriter(path) as writer:
        for number in range(FRAMES):
            writer.write(street(number), (number * 40 + (number == 5) * 20) * MS)
    return path


@pytest.fixture(scope="module")
def slow_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "slow.mp4"
    with VideoWriter(path, fps=10) as writer:
        for _ in range(SLOW_FRAMES):
            writer.write(street(0), 0)
    return path


def view(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("view", *words), capture_output=True, text=True, timeout=90)


def frames_of(path: Path) -> tuple[list[Image], list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    images = [frame.to_ndarray(format="bgr24", src_colorspace="ITU709") for frame in frames]
    return images, [float(frame.pts * frame.time_base) for frame in frames]


def near(pixel: Image, colour: np.ndarray) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 14)


def check_colours(image: Image, number: int) -> None:
    """The frame as ``--layers labels --alpha 1`` shows it: the palette, where the tiny model saw the classes."""
    palette = CITYSCAPES.palette_bgr().astype(int)
    assert near(image[60, 320], palette[SKY])
    assert near(image[340, 320], palette[VEGETATION])
    assert near(image[250, 100 + 10 * number], palette[CAR])


def test_a_source_becomes_a_video_with_its_own_times_and_a_sheet(tmp_path: Path, clip: Path, model: Path) -> None:
    out, sheet = tmp_path / "out.mp4", tmp_path / "sheet.png"
    ended = view(
        clip, "-o", out, "--sheet", sheet, "--model", model, "--engine", "onnxruntime", "--tiles", 4,
        "--size", "320x160", "--json",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["frames"], report["dropped"], report["error"]) == (FRAMES, 0, None)
    video, picture = report["files"]
    assert (video["frames"], video["width"], video["bytes"]) == (FRAMES, 640, out.stat().st_size)
    assert video["duration_s"] == pytest.approx(FRAMES * 0.04)
    images, times = frames_of(out)
    assert len(images) == FRAMES
    assert times[:7] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.22, 0.24], abs=1e-3)
    assert picture["frames"] == 4
    assert cv2.imread(str(sheet)).shape[:2] == (picture["height"], picture["width"])


def test_layers_alpha_frames_and_rate_are_obeyed(tmp_path: Path, clip: Path, model: Path) -> None:
    out = tmp_path / "out.mp4"
    ended = view(
        clip, "-o", out, "--model", model, "--engine", "onnxruntime", "--layers", "labels", "--alpha", "1",
        "--fps", "10", "--frames", "5", "--size", "640x352",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "5 frames" in ended.stdout
    images, times = frames_of(out)
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for number, image in enumerate(images):
        assert image.shape == (360, 640, 3)
        check_colours(image, number)


def test_images_without_times_come_at_a_steady_rate(tmp_path: Path, model: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), street(number)[: 360 - 20 * number])
    out = tmp_path / "out.mp4"
    ended = view(tmp_path / "*.png", "-o", out, "--model", model, "--engine", "onnxruntime")
    assert ended.returncode == 0, ended.stderr
    assert frames_of(out)[1] == pytest.approx([0, 0.1, 0.2])


def test_what_can_be_read_of_a_broken_source_is_drawn(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), street(0))
    (folder / "1.png").write_bytes(b"not an image")
    cv2.imwrite(str(folder / "2.png"), street(2))
    out = tmp_path / "out.mp4"
    ended = view(folder, "-o", out, "--model", model, "--engine", "onnxruntime")
    assert ended.returncode == 3
    assert "1.png" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "1 dropped" in ended.stdout
    assert len(frames_of(out)[0]) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Nothing to write"),
        (["-o", "out.avi"], "must end in .mp4"),
        (["-o", "missing/out.mp4"], "no folder 'missing'"),
        (["--sheet", "out.jpg"], "must end in .png"),
        (["--sheet", "out.png", "--tiles", "0"], "--tiles must lie in 1..400, got 0"),
        (["-o", "out.mp4", "--tiles", "-1"], "--tiles must lie in 1..400, got -1"),
        (["-o", "out.mp4", "--layers", "labels,bxes"], f"the layers are {', '.join(LAYERS)}"),
        (["-o", "out.mp4", "--alpha", "2"], "--alpha must lie in 0..1, got 2.0"),
        (["-o", "out.mp4", "--alpha", "x"], "--alpha"),
        (["-o", "out.mp4", "--min-score", "1.5"], "--min-score must lie in 0..1, got 1.5"),
        (["-o", "out.mp4", "--fps", "0"], "--fps must lie in 0.01..1000, got 0.0"),
        (["-o", "out.mp4", "--fps", "1e-9"], "--fps must lie in 0.01..1000, got 1e-09"),
        (["-o", "out.mp4", "--fps", "nan"], "--fps must lie in 0.01..1000, got nan"),
        (["-o", "out.mp4", "--timeout", "1e9"], "--timeout must lie in 0.001..86400, got"),
        (["-o", "out.mp4", "--timeout", "3"], "--timeout is for the endpoint of a running node"),
        (["-o", "out.mp4", "--tiles", "3"], "--tiles is for a contact sheet: give --sheet as well."),
        (["--sheet", "out.png", "--fps", "3"], "--fps is for a video: give -o as well."),
        (["-o", "out.mp4", "--frames", "0"], "--frames"),
        (["-o", "out.mp4", "--engine", "steam"], "no engine 'steam'"),
        (["-o", "out.mp4", "--model", "missing.onnx"], "missing.onnx"),
    ],
)
def test_impossible_wishes_are_one_sentence_and_exit_2(
    tmp_path: Path, clip: Path, words: list[str], sentence: str
) -> None:
    ended = subprocess.run(command("view", clip, *words), capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_leaves_the_old_video(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    ended = view(tmp_path / "missing.mp4", "-o", out)
    assert ended.returncode == 2
    assert "There is no" in ended.stderr
    assert out.read_bytes() == b"old"


def test_a_source_is_not_replaced_by_its_own_video(tmp_path: Path) -> None:
    clip = tmp_path / "my.mp4"
    clip.write_bytes(b"precious")
    ended = view(clip, "-o", tmp_path / "." / "my.mp4")
    assert ended.returncode == 2
    assert "its own source" in ended.stderr
    assert clip.read_bytes() == b"precious"


@pytest.mark.parametrize("source", ["sign.png", "file://{}/sign.png", ".", "*.png"])
def test_an_image_is_not_replaced_by_a_sheet_of_itself(tmp_path: Path, source: str) -> None:
    image = tmp_path / "sign.png"
    cv2.imwrite(str(image), street(0))
    before = image.read_bytes()
    words = command("view", source.format(tmp_path), "--sheet", tmp_path / "sign.png", "--engine", "simulated://")
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 2
    assert "belongs to its own source" in ended.stderr
    assert image.read_bytes() == before


def test_no_source_at_all_is_not_the_folder_one_is_in(tmp_path: Path) -> None:
    (tmp_path / "sign.png").write_bytes(b"old")
    words = command("view", "", "--sheet", "sign.png")
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 2
    assert "SOURCE must be a file" in ended.stderr


@pytest.mark.parametrize("words", [["--alpha", "0.2"], ["--min-score", "0"], ["--tiles", "3"], ["--timeout", "1"]])
def test_what_is_for_files_is_refused_for_the_page(tmp_path: Path, words: list[str]) -> None:
    ended = view(f"ipc://{tmp_path}/nobody", *words)
    assert ended.returncode == 2
    assert f"{words[0]} is for a video or a contact sheet: give -o or --sheet as well." in ended.stderr


@contextmanager
def node(clip: Path, model: Path, endpoint: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    words = command(
        "run", clip, "--model", model, "--engine", "onnxruntime", "--size", "640x352", "--publish", endpoint,
        "--wait-subscribers", "1", *flags,
    )  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def test_a_running_node_is_drawn_until_its_stream_ends(tmp_path: Path, clip: Path, model: Path) -> None:
    endpoint, out = f"ipc://{tmp_path}/node", tmp_path / "out.mp4"
    with node(clip, model, endpoint, "--pace", "max"):
        ended = view(endpoint, "-o", out, "--layers", "labels", "--alpha", "1", "--timeout", "60", "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["frames"], report["dropped"], report["notes"]) == (FRAMES, 0, [])
    assert report["latency_p50_ms"] > 0
    images, times = frames_of(out)
    assert len(images) == FRAMES
    assert times[:7] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.22, 0.24], abs=1e-3)
    for number, image in enumerate(images):
        check_colours(image, number)


def test_a_running_node_is_drawn_with_its_objects(tmp_path: Path, clip: Path, model: Path) -> None:
    endpoint, out = f"ipc://{tmp_path}/node", tmp_path / "out.mp4"
    with node(clip, model, endpoint, "--pace", "max"):
        ended = view(endpoint, "-o", out, "--layers", "boxes", "--frames", "3", "--timeout", "60")
    assert ended.returncode == 0, ended.stderr
    for number, image in enumerate(frames_of(out)[0]):
        gone = np.abs(image.astype(int) - street(number)).max(axis=2) > 60
        ys, xs = np.nonzero(gone)
        assert abs(xs.min() - (40 + 10 * number)) <= 3
        assert abs(xs.max() - (159 + 10 * number)) <= 3
        assert abs(ys.min() - 200) <= 3
        assert abs(ys.max() - 299) <= 3


def test_an_endpoint_where_nobody_is_says_so_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = view(f"ipc://{tmp_path}/nobody", "-o", tmp_path / "out.mp4", "--timeout", "0.3")
    assert ended.returncode == 3
    assert "Nothing" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 30
    assert list(tmp_path.glob("*.mp4")) == []


def test_settings_of_a_source_are_refused_for_an_endpoint(tmp_path: Path) -> None:
    ended = view(f"ipc://{tmp_path}/node", "-o", tmp_path / "out.mp4", "--model", "x.onnx")
    assert ended.returncode == 2
    assert "--model is for a source" in ended.stderr


@contextmanager
def viewer(endpoint: str, out: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """A viewer that has drawn for half a second."""
    words = command("view", endpoint, "-o", out, *flags)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stderr is not None
            assert child.stderr.readline().startswith("drawing: ")
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def test_a_node_that_falls_silent_leaves_what_was_drawn(tmp_path: Path, slow_clip: Path, model: Path) -> None:
    endpoint, out = f"ipc://{tmp_path}/node", tmp_path / "out.mp4"
    with (
        node(slow_clip, model, endpoint, "--pace", "real") as publishing,
        viewer(endpoint, out, "--timeout", "3") as child,
    ):
        publishing.kill()
        said, complaint = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "Nothing new arrived" in complaint
    assert 1 <= len(frames_of(out)[0]) < SLOW_FRAMES
    assert str(out) in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_drawn(tmp_path: Path, slow_clip: Path, model: Path, number: signal.Signals) -> None:
    endpoint, out = f"ipc://{tmp_path}/node", tmp_path / "out.mp4"
    with node(slow_clip, model, endpoint, "--pace", "real"), viewer(endpoint, out, "--json") as child:
        child.send_signal(number)
        said, complaint = child.communicate(timeout=60)
    assert child.returncode == 0, complaint
    report = json.loads(said)
    assert report["interrupted"]
    assert 1 <= len(frames_of(out)[0]) == report["frames"] < SLOW_FRAMES
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["out.mp4"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "frames"), [("highway_cars_1280x720.mp4", 38), ("hevc_vfr_portrait_1376x1840.mp4", 146)]
)
def test_real_clips_keep_every_frame_and_time_advances(tmp_path: Path, model: Path, name: str, frames: int) -> None:
    if "ROADCAST_DATA" not in os.environ:
        pytest.skip("ROADCAST_DATA does not name a folder with real driving data")
    clip, out = Path(os.environ["ROADCAST_DATA"], "clips", name), tmp_path / "out.mp4"
    ended = view(clip, "-o", out, "--model", model, "--engine", "onnxruntime")
    assert ended.returncode == 0, ended.stderr
    with av.open(str(out)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None]
    assert len(times) == frames
    assert (np.diff(times) > 0).all()
    with av.open(str(clip)) as container:
        length = float(container.duration / av.time_base)
    assert times[-1] == pytest.approx(length, abs=0.2)
