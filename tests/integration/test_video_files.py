"""Video files: every frame, exact times, honest ends. Clips are encoded here; real ones come from ROADCAST_DATA."""

from __future__ import annotations

import os
import struct
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import HEIGHT, WIDTH, clip, steady

from perception.errors import SourceError
from perception.ledger import Ledger, LedgerEntry
from perception.sources import Source, open_source
from perception.sources.jump import Place, Seekable
from perception.types import Frame


def read(source: Source) -> tuple[list[Frame], LedgerEntry, SourceError | None]:
    """All frames of a source, each published; the ledger at the end, and the error if it ended with one."""
    ledger, frames, error = Ledger(), [], None
    try:
        for frame in source.frames(ledger):
            ledger.publish(frame.number)
            frames.append(frame)
    except SourceError as caught:
        error = caught
    entry = ledger.entry()
    assert entry.balanced
    assert entry.in_flight == 0
    assert entry.published == len(frames)
    return frames, entry, error


def media_ms(frames: list[Frame]) -> list[float | None]:
    return [None if frame.time.media_ns is None else frame.time.media_ns / 1e6 for frame in frames]


def damage(path: Path, start: float, count: int) -> Path:
    """A copy with ``count`` bytes, from this fraction of the file on, replaced by noise."""
    data = bytearray(path.read_bytes())
    first = int(len(data) * start)
    data[first : first + count] = np.random.default_rng(3).integers(0, 256, count, dtype=np.uint8).tobytes()
    copy = path.with_name(f"damaged{path.suffix}")
    copy.write_bytes(data)
    return copy


def cut(path: Path, share: float) -> Path:
    copy = path.with_name(f"cut{path.suffix}")
    copy.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return copy


def with_index_first(path: Path) -> Path:
    """The same clip with its index at the front, so that a cut copy still opens."""
    copy = path.with_name("faststart.mp4")
    with av.open(str(path)) as given, av.open(str(copy), "w", options={"movflags": "faststart"}) as written:
        stream = written.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
    return copy


def test_every_frame_with_its_own_time(tmp_path: Path) -> None:
    source = open_source(str(clip(tmp_path / "a.mp4", steady(60))), stream="rear")
    before_ns = time.monotonic_ns()
    frames, _, error = read(source)
    assert error is None
    assert (source.promised, source.live, source.fps) == (60, False, 25.0)
    assert [frame.number for frame in frames] == list(range(60))
    assert media_ms(frames) == steady(60)
    assert {frame.time.clock for frame in frames} == {"media"}
    assert {(frame.stream, frame.size) for frame in frames} == {("rear", (WIDTH, HEIGHT))}
    grabs = [frame.time.captured_mono_ns for frame in frames]
    assert grabs == sorted(grabs)
    assert before_ns <= grabs[0] <= grabs[-1] <= time.monotonic_ns()
    means = [frame.image[:8, :8].mean() for frame in frames[:10]]
    assert means == sorted(means)


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0, 40, 45, 300, 301, 777, 1000, 1003]
    frames, _, error = read(open_source(str(clip(tmp_path / "vfr.mp4", times))))
    assert error is None
    assert media_ms(frames) == times


def test_times_are_rounded_once_from_the_fraction(tmp_path: Path) -> None:
    path = tmp_path / "ntsc.mp4"
    with av.open(str(path), "w", options={"video_track_timescale": "30000"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(30):
            black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="bgr24")))
        container.mux(stream.encode(None))
    frames, _, _ = read(open_source(str(path)))
    assert [frame.time.media_ns for frame in frames] == [round(Fraction(1001 * k, 30000) * 10**9) for k in range(30)]


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = open_source(str(clip(tmp_path / "a.mp4", steady(10))))
    assert len(read(source)[0]) == len(read(source)[0]) == 10


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.ts", "libx264")])
def test_containers_that_promise_no_number(tmp_path: Path, name: str, codec: str) -> None:
    source = open_source(str(clip(tmp_path / name, steady(30), codec)))
    frames, _, error = read(source)
    assert source.promised is None
    assert len(frames) == 30
    assert error is None
    first = frames[0].time.media_ns
    assert first is not None
    assert [frame.time.media_ns - first for frame in frames] == [t * 1_000_000 for t in steady(30)]  # type: ignore[operator]


def test_a_raw_stream_has_no_times(tmp_path: Path) -> None:
    path = tmp_path / "a.h264"
    path.write_bytes(b"")
    with av.open(str(clip(tmp_path / "a.mp4", steady(20), "libx264"))) as given, path.open("wb") as raw:
        to_raw = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", given.streams.video[0])
        for packet in given.demux(video=0):
            for converted in to_raw.filter(packet if packet.size else None):
                raw.write(bytes(converted))
    source = open_source(str(path))
    frames, _, error = read(source)
    assert source.promised is None
    assert (len(frames), error) == (20, None)
    assert media_ms(frames) == [None] * 20


def test_avi_and_motion_jpeg(tmp_path: Path) -> None:
    source = open_source(str(clip(tmp_path / "a.avi", steady(12), "mjpeg")))
    frames, _, error = read(source)
    assert (len(frames), error, source.promised) == (12, None, None)  # of its 480 moments 12 bring a new picture


def test_a_steady_avi_promises_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for _ in range(100):
            black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="bgr24")))
        container.mux(stream.encode(None))
    source = open_source(str(path))
    frames, _, error = read(source)
    assert (len(frames), error, source.promised) == (100, None, 100)
    frames, _, error = read(open_source(str(cut(path, 0.5))))
    assert 10 < len(frames) < 90
    assert "truncated" in str(error) or "corrupt" in str(error)


QUARTER_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}  # clockwise, as phones write them


@pytest.mark.parametrize("turn", sorted(QUARTER_TURNS))
def test_rotation_metadata_is_honoured(tmp_path: Path, turn: int) -> None:
    path = clip(tmp_path / "a.mp4", steady(3))
    upright = read(open_source(str(path)))[0][0].image
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # after version, times, track, duration, layer, volume
    a, b, c, d = (value << 16 for value in QUARTER_TURNS[turn])
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    turned = read(open_source(str(path)))[0][0].image
    assert np.array_equal(turned, np.rot90(upright, -turn // 90))


def test_frames_that_an_edit_list_hides_are_not_promised(tmp_path: Path) -> None:
    """A clip cut without encoding keeps the frames from the last key frame on, and hides them."""
    whole, path = clip(tmp_path / "a.mp4", steady(48)), tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as given, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= int(0.2 / packet.time_base)
                packet.dts -= int(0.2 / packet.time_base)
                packet.stream = stream
                written.mux(packet)
    source = open_source(str(path))
    frames, entry, error = read(source)
    assert error is None
    assert source.promised == len(frames) == entry.captured == 43
    assert media_ms(frames)[0] == 0


def test_noise_in_the_middle_costs_only_what_it_hits(tmp_path: Path) -> None:
    path = damage(clip(tmp_path / "a.mp4", steady(100), "libx264", (320, 192)), 0.5, 700)
    frames, entry, error = read(open_source(str(path)))
    assert error is not None
    assert error.exit_code == 3
    assert f"promised 100 frames, {len(frames)} could be read: corrupt at " in str(error)
    assert 50 < len(frames) < 100
    assert entry.dropped == {"decode_error": 100 - len(frames)}
    assert frames[-1].time.media_ns == 99 * 40_000_000
    lost = sorted(set(range(100)) - {frame.number for frame in frames})
    assert sorted(set(steady(100)) - set(media_ms(frames))) == [number * 40 for number in lost]


def test_a_jump_away_from_noise_does_not_mend_it(tmp_path: Path) -> None:
    path = damage(clip(tmp_path / "a.mp4", steady(100), "libx264", (320, 192)), 0.5, 700)
    source, ledger = open_source(str(path)), Ledger()
    assert isinstance(source, Seekable)
    frames = source.frames(ledger)
    while next(frames).time.media_ns != 85 * 40_000_000:
        pass
    source.seek(Place(frame=97))
    assert [next(frames).time.media_ns for _ in range(3)] == [number * 40_000_000 for number in (97, 98, 99)]
    with pytest.raises(SourceError, match="corrupt at"):
        next(frames)


def test_a_copy_that_was_cut_off_without_its_index(tmp_path: Path) -> None:
    path = cut(clip(tmp_path / "a.mp4", steady(50)), 0.6)
    with pytest.raises(SourceError, match="cut off") as caught:
        open_source(str(path))
    assert caught.value.exit_code == 3


def test_a_copy_that_was_cut_off_behind_its_index(tmp_path: Path) -> None:
    path = cut(with_index_first(clip(tmp_path / "a.mp4", steady(100))), 0.6)
    frames, entry, error = read(open_source(str(path)))
    assert 20 < len(frames) < 99
    assert f"promised 100 frames, {len(frames)} could be read" in str(error)
    assert entry.dropped.get("decode_error", 0) <= 1


def test_a_cut_off_matroska_file_is_noticed_by_its_length(tmp_path: Path) -> None:
    path = cut(clip(tmp_path / "a.mkv", steady(100)), 0.5)
    frames, _, error = read(open_source(str(path)))
    assert 10 < len(frames) < 90
    assert "truncated" in str(error)
    assert "promised 4.0" in str(error) or "promised 3.9" in str(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"this is a letter, not a video\n" * 50, "not a video"),
        (bytes(5000), "not a video"),
    ],
)
def test_files_that_are_no_video(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        open_source(str(path))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_text_file_is_not_drawn_as_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n" * 100)
    with pytest.raises(SourceError):
        open_source(str(path))


def test_a_file_with_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="holds no video, only audio"):
        open_source(str(path))


def test_real_pace_takes_as_long_as_the_clip(tmp_path: Path) -> None:
    source = open_source(str(clip(tmp_path / "a.mp4", [0, 100, 150, 600])), pace="real")
    begun = time.monotonic()
    frames, _, error = read(source)
    took_s = time.monotonic() - begun
    assert (len(frames), error) == (4, None)
    assert took_s >= 0.59
    gaps = np.diff([frame.time.captured_mono_ns for frame in frames]) / 1e6
    assert gaps.sum() >= 590


@pytest.mark.parametrize("pace", ["real", "max"])
def test_closing_from_another_thread_ends_the_iteration(tmp_path: Path, pace: str) -> None:
    source = open_source(str(clip(tmp_path / "slow.mp4", steady(20, 4000))), pace=pace)  # type: ignore[arg-type]
    frames: list[Frame] = []
    ledger = Ledger()

    def consume() -> None:
        for frame in source.frames(ledger):
            ledger.publish(frame.number)
            frames.append(frame)

    thread = threading.Thread(target=consume)
    thread.start()
    time.sleep(0.2)
    source.close()
    source.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(frames) <= (1 if pace == "real" else 20)
    assert ledger.entry().balanced


REAL_CLIPS = {
    "highway_day_960x540.mp4": (221, (960, 540)),
    "highway_cars_1280x720.mp4": (38, (1280, 720)),
    "street_640x360.mp4": (296, (640, 360)),
    "h264_1920x1080.mp4": (171, (1920, 1080)),
    "hevc_vfr_portrait_1376x1840.mp4": (146, (1376, 1840)),
    "rotated_90.mov": (3, (320, 568)),
    "unordered_50x50.mov": (4, (50, 50)),
}


def real_clip(name: str) -> Path:
    folder = os.environ.get("ROADCAST_DATA")
    if folder is None:
        pytest.skip("real clips: set ROADCAST_DATA to the folder that holds clips/")
    return Path(folder) / "clips" / name


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(REAL_CLIPS))
def test_real_clips_give_what_their_container_holds(name: str) -> None:
    path = real_clip(name)
    with av.open(str(path)) as container:
        decoded = [picture.pts * picture.time_base for picture in container.decode(video=0)]
    source, ledger, times, sizes = open_source(str(path)), Ledger(), [], set()
    for frame in source.frames(ledger):
        ledger.publish(frame.number)
        times.append(frame.time.media_ns)
        sizes.add(frame.size)
    count, size = REAL_CLIPS[name]
    assert (len(times), source.promised, sizes) == (count, count, {size})
    assert times == [round(at * 10**9) for at in decoded]
    assert ledger.entry() == LedgerEntry(count, count, 0, {})


@pytest.mark.data
def test_a_real_clip_whose_times_run_backwards_keeps_them() -> None:
    frames = open_source(str(real_clip("hevc_vfr_portrait_1376x1840.mp4"))).frames(Ledger())
    times = [frame.time.media_ns for frame, _ in zip(frames, range(10))]
    assert times != sorted(times)  # type: ignore[type-var]


@pytest.mark.data
def test_a_real_corrupt_clip_gives_all_but_the_broken_frames() -> None:
    """A plain loop stops after 28 frames; but only the packet at 3.0 s is unreadable, and one picture smeared by it."""
    frames, entry, error = read(open_source(str(real_clip("corrupt_1280x720.mp4"))))
    assert len(frames) == 48
    assert sorted(set(range(50)) - {frame.number for frame in frames}) == [30, 32]
    assert (entry.captured, entry.dropped) == (50, {"decode_error": 2})
    assert "promised 50 frames, 48 could be read: corrupt at 3.000 s" in str(error)
