"""The clip that is measured on: files as they are, streets rendered once, and what is refused."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perception.bench.bench import _counted
from perception.bench.clip import Clip, prepare_clip
from perception.cache import cache_folder
from perception.errors import ConfigError, SourceError, SourceNotFound
from perception.view.video import VideoWriter

STREET = "synth://street?size=64x64&seed=3"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def film(path: Path, frames: int) -> Path:
    with VideoWriter(path, fps=25) as writer:
        for number in range(frames):
            writer.write(np.full((48, 64, 3), 8 * number, np.uint8), 0)
    return path


def quiet(text: str) -> None:
    assert text


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = film(tmp_path / "drive.mp4", 12)
    whole, part = prepare_clip(str(path), 50, quiet), prepare_clip(f"file://{path}", 5, quiet)
    assert (whole.path, whole.name, whole.size, whole.frames) == (path, "drive.mp4", (64, 48), 12)
    assert (part.frames, part.sha256) == (5, whole.sha256)


def test_a_street_is_rendered_to_a_file_once(cache: Path) -> None:
    said: list[str] = []
    first = prepare_clip(f"{STREET}&frames=6", 20, said.append)
    assert "rendering a street" in said[0]
    assert first.path.parent == cache / "clips"
    assert (first.frames, first.size, first.name) == (6, (64, 64), f"{STREET}&frames=6".replace(
        "size=64x64&seed=3", "seed=3&size=64x64&fps=30&weather=day"))  # fmt: skip
    said.clear()
    assert prepare_clip(f"{STREET}&frames=6", 20, said.append) == first
    assert not any("rendering" in text for text in said)
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


def test_an_endless_street_is_as_long_as_it_must_be_and_serves_shorter_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.bench.clip.RENDERED_FRAMES", 3)
    monkeypatch.setattr("perception.bench.clip.LENGTHS", 8)
    clip = prepare_clip(STREET, 7, quiet)
    assert clip.frames == 7
    assert prepare_clip(STREET, 8, quiet).path == clip.path
    assert prepare_clip(STREET, 9, quiet).path != clip.path
    with av.open(str(clip.path)) as container:
        images = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    assert len(images) == 8
    apart = [abs(image - images[0]).mean() for image in images]  # there and back: 0 1 2 2 1 0 0 1
    assert max(apart[5], apart[6]) < min(apart[1], apart[4], apart[7])
    assert max(apart[1], apart[4], apart[7]) < min(apart[2], apart[3])


def test_an_interrupted_rendering_leaves_nothing(cache: Path) -> None:
    def interrupt(text: str) -> None:
        if "frame 4" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_clip(f"{STREET}&frames=6", 6, interrupt)
    assert list((cache / "clips").iterdir()) == []


def test_what_cannot_be_measured_on_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"not one video file.*Give a video file, or synth"):
        prepare_clip(str(tmp_path / "images"), 5, quiet)
    with pytest.raises(ConfigError, match=r"'rtsp://\*\*\*@10.0.0.7/s': a camera's frames do not come twice"):
        prepare_clip("rtsp://me:secret@10.0.0.7/s", 5, quiet)
    with pytest.raises(SourceNotFound, match="There is no"):
        prepare_clip(str(tmp_path / "none.mp4"), 5, quiet)
    with pytest.raises(ConfigError, match="no option 'colour'"):
        prepare_clip("synth://street?colour=red", 5, quiet)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(SourceError, match="Cannot read"):
        prepare_clip(str(tmp_path / "text.mp4"), 5, quiet)


def test_a_broken_file_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    whole = film(tmp_path / "drive.mp4", 30).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(SourceError):
        prepare_clip(str(tmp_path / "cut.mp4"), 30, quiet)


def clip(frames: int) -> Clip:
    return Clip(Path("drive.mp4"), "drive.mp4", "", (64, 48), frames)


def test_a_short_clip_is_used_whole_or_refused() -> None:
    assert _counted(clip(310), None) == 300
    assert _counted(clip(75), None) == 65
    assert _counted(clip(75), 50) == 50
    with pytest.raises(ConfigError, match=r"holds 75 frames, 80 are needed .* or give --frames 65\."):
        _counted(clip(75), 70)
    with pytest.raises(ConfigError, match=r"holds 12 frames, 40 are needed .*Take a longer one\."):
        _counted(clip(12), None)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCAST_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("clips") == tmp_path / "xdg" / "roadcast" / "clips"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("clips") == tmp_path / "home" / ".cache" / "roadcast" / "clips"
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"Cannot create the folder.*ROADCAST_CACHE"):
        cache_folder("clips")
