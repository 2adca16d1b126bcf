"""``roadcast record`` and ``replay`` with real sockets, processes and signals."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import command, environment, finished
from scenes import SPEC, make_scene

from perception.cli.main import main
from perception.client import Message, ReceivedScene, Subscriber
from perception.client.audit import Audit
from perception.client.joining import Joiner
from perception.ledger import Ledger
from perception.publisher import Policy, Publisher, StreamInfo
from perception.recording.reader import Recording
from perception.types import Scene

PATIENCE_S = 40.0
KINDS = ("labels", "objects", "image", "confidence")


@contextmanager
def started(*args: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Node:
    """A publisher of hand-made scenes for one or more streams."""

    def __init__(self, endpoint: str, streams: Sequence[str] = ("front",), policy: Policy = "wait") -> None:
        self.ledgers = {name: Ledger() for name in streams}
        infos = [StreamInfo(name=name, ledger=ledger) for name, ledger in self.ledgers.items()]
        self.publisher = Publisher(endpoint, infos, spec=SPEC, engine="recorded", policy=policy)

    def publish(self, scene: Scene) -> None:
        self.ledgers[scene.frame.stream].capture(scene.frame.number)
        self.publisher.publish(scene)


def in_background(*args: str) -> tuple[threading.Thread, list[int]]:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(list(args))))
    thread.start()
    return thread, codes


def record(path: Path, endpoint: str, scenes: Sequence[Scene], *args: str, streams: Sequence[str] = ("front",)) -> None:
    """Record these scenes from a node of this process."""
    flags = [flag for kind in KINDS for flag in ("--kind", kind)]
    thread, codes = in_background("record", endpoint, "-o", str(path), *flags, *args)
    node = Node(endpoint, streams)
    with node.publisher:
        node.publisher.wait_for_subscribers(1, PATIENCE_S)
        node.publisher.state = "running"
        for scene in scenes:
            node.publish(scene)
    thread.join(PATIENCE_S)
    assert codes == [0]


def replay(path: Path, endpoint: str, *args: str) -> tuple[list[Message], list[ReceivedScene]]:
    """What a subscriber gets of a replay; the replay must end well."""
    with Subscriber(endpoint, streams=None, kinds=None, timeout=PATIENCE_S, queue=4096) as subscriber:
        thread, codes = in_background("replay", str(path), "--publish", endpoint, "--wait-subscribers", "1", *args)
        messages = []
        while not subscriber.ended:
            messages.append(subscriber.receive())
    thread.join(PATIENCE_S)
    assert codes == [0]
    joiner = Joiner(KINDS)
    scenes = [scene for message in messages for scene in joiner.add(message)] + joiner.flush()
    return messages, scenes


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scene]]:
    folder = tmp_path_factory.mktemp("recording")
    scenes = [make_scene(k, overlapping=k == 3) for k in range(8)]
    record(folder / "drive.mcap", f"ipc://{folder}/node", scenes)
    return folder / "drive.mcap", scenes


def test_a_subscriber_of_a_replay_gets_what_was_published_bit_for_bit(
    recording: tuple[Path, list[Scene]], tmp_path: Path
) -> None:
    path, published = recording
    messages, scenes = replay(path, f"ipc://{tmp_path}/again", "-x", "max")
    assert [scene.number for scene in scenes] == list(range(8))
    for before, after in zip(published, scenes):
        assert before.segmentation is not None
        assert np.array_equal(after.labels, before.segmentation.labels)
        assert np.array_equal(after.confidence, before.segmentation.confidence)
        times = after.header.time
        assert (times.original_ns, times.clock) == (before.frame.time.captured_ns, "virtual")
        assert abs((times.captured_ns or 0) - time.time_ns()) < PATIENCE_S * 1e9
        assert after.header.flags == ("replay",)
    assert all(message.header.flags == ("replay",) for message in messages)
    with Recording(path) as recorded:
        frames = {(m.kind, m.frame): m for m in recorded.messages() if m.frame is not None}
    again = {(m.kind, m.frame): m for m in messages if m.frame is not None}
    assert frames.keys() == again.keys()
    assert len(again) == 8 * len(KINDS)
    assert all([*map(bytes, again[key].payloads)] == [*map(bytes, frames[key].payloads)] for key in frames)


def test_an_audit_of_a_replay_finds_nothing(recording: tuple[Path, list[Scene]], tmp_path: Path) -> None:
    # Only with wait is nothing lost where the machine is busy, and an audit tells of every loss.
    messages, scenes = replay(recording[0], f"ipc://{tmp_path}/again", "--policy", "wait")
    audit = Audit()
    for message in messages:
        audit.message(message)
    for scene in scenes:
        audit.scene(scene)
    assert audit.finish() == []


def test_each_round_of_a_loop_is_a_session(recording: tuple[Path, list[Scene]], tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/again"
    arguments = ("replay", recording[0], "--publish", endpoint, "--loop", "-x", "max", "--policy", "wait")
    with started(*arguments) as process, Subscriber(endpoint, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
        scenes = [scene for scene, _ in zip(subscriber.scenes(), range(40))]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert len({scene.header.session for scene in scenes}) >= 4
    assert subscriber.tally.lost == 0
    assert (process.returncode, "Traceback" in err) == (0, False)
    assert "frames in" in out


def test_chaos_loses_messages_and_a_subscriber_sees_it(recording: tuple[Path, list[Scene]], tmp_path: Path) -> None:
    chaos = ("--chaos", "drop=30%,jitter=2ms,seed=3", "-x", "max")
    first, _ = replay(recording[0], f"ipc://{tmp_path}/a", *chaos)
    second, _ = replay(recording[0], f"ipc://{tmp_path}/b", *chaos)
    got = [[(m.kind, m.header.seq) for m in messages if m.frame is not None] for messages in (first, second)]
    assert got[0] == got[1]
    assert 10 < len(got[0]) < 31
    assert max(seq for _, seq in got[0]) == 7


def test_gaps_restarts_and_several_streams_are_recorded_as_they_were(tmp_path: Path) -> None:
    path, endpoint = tmp_path / "a.mcap", f"ipc://{tmp_path}/node"
    flags = ("--stream", "left", "--stream", "right", "--kind", "labels", "--follow", "--json")
    with started("record", endpoint, "-o", path, *flags) as recorder:
        sessions = []
        for run in range(2):
            node = Node(endpoint, ("left", "right"), policy="drop_oldest")
            with node.publisher:
                node.publisher.wait_for_subscribers(1, PATIENCE_S)
                sessions.append(node.publisher.session)
                node.publish(make_scene(0, stream="left"))
                node.publish(make_scene(0, stream="right"))
                node.publisher._outlet.skip("left", "labels", 4)
                node.publish(make_scene(1 + run, stream="left"))
        deadline = time.monotonic() + PATIENCE_S
        while _frames(path) < 6 and time.monotonic() < deadline:
            time.sleep(0.1)
        recorder.send_signal(signal.SIGINT)
        out, _ = recorder.communicate(timeout=PATIENCE_S)
    assert recorder.returncode == 0
    report = json.loads(out)
    assert (report["restarts"], report["lost"]) == (2, 8)  # of two streams; four in each run
    with Recording(path) as recorded:
        assert recorded.closed
        labels = [m for m in recorded.messages() if m.kind == "labels"]
    numbers = [(m.stream, m.header.seq, m.frame, sessions.index(m.header.session)) for m in labels]
    assert numbers == [
        (stream, seq, frame, run)
        for run in range(2)
        for stream, seq, frame in (("left", 0, 0), ("right", 0, 0), ("left", 5, 1 + run))
    ]
    messages, _ = _until_quiet(path, f"ipc://{tmp_path}/again")
    assert [(m.stream, m.header.seq, m.frame) for m in messages if m.kind == "labels"] == [n[:3] for n in numbers]
    gaps = [m.body["detail"] for m in messages if m.kind == "event" and m.body["name"] == "recording_gap"]
    assert gaps == [{"kind": "labels", "messages": 4}] * 2
    assert len({m.header.session for m in messages if m.stream == "left"}) == 2


def _frames(path: Path) -> int:
    with Recording(path) as recorded:
        return sum(m.kind == "labels" for m in recorded.messages())


def _until_quiet(path: Path, endpoint: str) -> tuple[list[Message], int]:
    """Everything of a replay in which streams end and begin again."""
    with Subscriber(endpoint, streams=None, kinds=None, timeout=1.0, until_end=False) as subscriber:
        thread, codes = in_background(
            "replay", str(path), "--publish", endpoint, "--wait-subscribers", "1", "-x", "max"
        )
        messages = []
        ends = 0
        while ends < 4:
            messages.append(subscriber.receive(PATIENCE_S))
            ends += messages[-1].kind == "event" and messages[-1].body["name"] == "end_of_stream"
    thread.join(PATIENCE_S)
    return messages, codes[0]


def test_a_killed_recorder_leaves_a_file_that_can_be_replayed_and_repaired(tmp_path: Path) -> None:
    path, endpoint = tmp_path / "a.mcap", f"ipc://{tmp_path}/node"
    stop = threading.Event()

    def publish() -> None:
        node = Node(endpoint)
        with node.publisher:
            node.publisher.wait_for_subscribers(1, PATIENCE_S)
            number = 0
            while not stop.wait(0.01):
                node.publish(make_scene(number))
                number += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        with started("record", endpoint, "-o", path) as recorder:
            deadline = time.monotonic() + PATIENCE_S
            while (not path.exists() or path.stat().st_size < 100_000) and time.monotonic() < deadline:
                time.sleep(0.05)
            recorder.kill()
            recorder.wait(PATIENCE_S)
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    with Recording(path) as recorded:
        assert not recorded.closed
        frames = [m.frame for m in recorded.messages() if m.kind == "labels"]
    assert frames
    assert frames == list(range(frames[0] or 0, (frames[0] or 0) + len(frames)))
    again = finished("replay", path, "--publish", f"ipc://{tmp_path}/again", "-x", "max")
    assert again.returncode == 0
    assert "was cut off" in again.stderr
    assert finished("record", "--repair", path).returncode == 0
    with Recording(path) as recorded:
        assert recorded.closed
        assert [m.frame for m in recorded.messages() if m.kind == "labels"] == frames


def test_a_recording_of_nothing_names_no_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mcap"
    assert main(["record", f"ipc://{tmp_path}/nowhere", "-o", str(path), "--timeout", "0.3"]) == 3
    assert capsys.readouterr().out == f"Nothing was recorded: no {path} was left.\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["record", "-o", "a.mcap"], 2, "Nothing to record"),
        (["record", "ipc://nowhere"], 2, "-o FILE.mcap"),
        (["record", "ipc://nowhere", "-o", "a.mp4"], 2, "must end in .mcap"),
        (["record", "ipc://nowhere", "-o", "a.mcap", "--timeout", "0.3"], 3, "Nothing of stream 'front' arrived"),
        (["record", "ipc://nowhere", "-o", "a.mcap", "--model", "x.onnx"], 2, "--model is for a source"),
        (["record", "nowhere.mp4", "-o", "a.mcap"], 2, "There is no 'nowhere.mp4'"),
        (["record", "ipc://nowhere", "-o", "a.mcap", "--kind", "dreams"], 2, "There is no kind 'dreams'"),
        (["record", "--repair", "nowhere.mcap"], 2, "no recording"),
        (["replay", "nowhere.mcap"], 2, "no recording"),
        (["replay", __file__], 3, "is not an MCAP recording"),
        (["replay", __file__, "-x", "0"], 3, "is not an MCAP recording"),
        (["replay", "a.mcap", "--verify", "--chaos", ""], 2, "publishes nothing"),
        (["replay", "a.mcap", "--chaos", ""], 2, "--chaos ''"),
        (["replay", "a.mcap", "--size", "64x64"], 2, "--size is for --verify"),
        (["replay", "a.mcap", "--tolerance", "1%"], 2, "--tolerance is for --verify"),
        (["replay", "a.mcap", "--verify", "--loop"], 2, "publishes nothing"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("roadcast: error: ")]
    assert len(error) == 1
    assert says in error[0]
    assert list(tmp_path.iterdir()) == []
