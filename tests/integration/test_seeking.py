"""Going on at another place of a recording: exactly there, with numbers that go on counting."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import clip, steady

from perception.errors import RequestError, SourceError
from perception.ledger import Ledger
from perception.sources import Source, open_source
from perception.sources.jump import Place, Seekable

FRAMES = 40


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("seeking")
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((16, 32, 3), number, np.uint8))
    return {
        "video": str(clip(folder / "drive.mp4", steady(FRAMES))),
        "matroska": str(clip(folder / "drive.mkv", steady(FRAMES))),
        "transport": str(clip(folder / "drive.ts", steady(FRAMES))),  # without an index
        "images": str(folder),
        "rendered": f"synth://street?seed=1&size=64x64&fps=25&frames={FRAMES}",
    }


def opened(uri: str, pace: str = "max") -> Seekable:
    source: Source = open_source(uri, pace=pace)
    assert isinstance(source, Seekable)
    return source


@pytest.mark.parametrize("kind", ["video", "matroska", "transport", "images", "rendered"])
@pytest.mark.parametrize("to", [0, 3, 17, 38])
def test_the_next_frame_is_the_one_asked_for(sources: dict[str, str], kind: str, to: int) -> None:
    plain = list(opened(sources[kind]).frames(Ledger()))
    assert len(plain) == FRAMES
    source, ledger = opened(sources[kind]), Ledger()
    numbers, images = [], []
    for frame in source.frames(ledger):
        numbers.append(frame.number)
        images.append(frame.image)
        if frame.number == 9:
            source.seek(Place(frame=to))
    assert numbers == list(range(10 + FRAMES - to))
    assert ledger.entry().captured == len(numbers)
    for got, wanted in zip(images[10:], plain[to:], strict=True):
        assert (got == wanted.image).all()


@pytest.mark.parametrize("kind", ["video", "matroska", "transport", "rendered"])
def test_a_time_means_the_first_frame_from_then_on(sources: dict[str, str], kind: str) -> None:
    times = [frame.time.media_ns for frame in opened(sources[kind]).frames(Ledger())]
    for wanted_ns, index in ((times[20], 20), (times[20] + 1_000_000, 21), (0, 0)):
        source = opened(sources[kind])
        source.seek(Place(media_ns=wanted_ns))
        first = next(iter(source.frames(Ledger())))
        assert (first.number, first.time.media_ns) == (0, times[index])


def test_a_jump_is_not_paced(sources: dict[str, str]) -> None:
    source = opened(sources["video"], pace="real")
    frames = source.frames(Ledger())
    first = next(frames)
    source.seek(Place(frame=39))
    last = next(frames)
    assert last.time.captured_mono_ns - first.time.captured_mono_ns < 1_400_000_000  # 1.56 s lie between the two
    assert next(frames, None) is None


@pytest.mark.parametrize("kind", ["video", "images", "rendered"])
def test_a_place_behind_the_end_is_refused_and_changes_nothing(sources: dict[str, str], kind: str) -> None:
    source = opened(sources[kind])
    with pytest.raises(RequestError, match="behind its end"):
        source.seek(Place(frame=FRAMES))
    if kind != "images":
        with pytest.raises(RequestError, match="behind its end"):
            source.seek(Place(media_ns=10**12))
    assert len(list(source.frames(Ledger()))) == FRAMES


def test_images_at_full_pace_have_no_times(sources: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="by the number"):
        opened(sources["images"]).seek(Place(media_ns=0))


def test_times_of_some_frames_only_are_no_times_to_seek_by(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not say the time of every frame"):
        opened(str(clip(tmp_path / "drive.mpg", steady(FRAMES), codec="mpeg4"))).seek(Place(frame=3))


def test_a_video_that_breaks_off_before_the_place_is_an_error_of_the_source(
    sources: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "drive.mkv"
    path.write_bytes(Path(sources["matroska"]).read_bytes())
    source = opened(str(path))
    frames = source.frames(Ledger())
    next(frames)
    source.seek(Place(frame=30))
    # A container that promises what it cannot do: the disk fails when it is read again.
    monkeypatch.setattr("perception.sources.video._time_of", lambda *_: raised(av.InvalidDataError(1, "broken")))
    with pytest.raises(SourceError, match="cannot go to frame 30"):
        next(frames)


def raised(error: Exception) -> None:
    raise error
