"""The control socket of a whole node: models that change between two frames, pauses, jumps, and wrong requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from clips import clip, steady

import perception.node
from perception.classes import CITYSCAPES, ClassTable
from perception.cli.main import main
from perception.client import Message, Subscriber
from perception.client.audit import Audit
from perception.config import CameraConfig, NodeConfig
from perception.control.client import ask
from perception.control.socket import ControlSocket
from perception.engines.engine import Engine
from perception.engines.recorded import RecordedEngine
from perception.errors import ConfigError, ControlError, EndpointError, ModelError, RequestError, Timeout
from perception.run import run
from perception.summary import Summary
from perception.wire.curve import ServerKeys
from perception.wire.keys import generate

PATIENCE_S = 60.0
STREET = "synth://street?seed=1&size=64x64&fps=25"
OTHER_CLASSES = ClassTable(CITYSCAPES.rows[:15])  # without three vehicles


def engine_of(stride: int = 1, class_id: int = 13, classes: ClassTable = CITYSCAPES, *, sure: bool = True) -> Engine:
    """Everything is one object of this class, on a map of 1/stride of 64x64."""
    labels = np.full((1, 64 // stride, 64 // stride), class_id, np.uint8)
    outputs = {"labels": labels, "confidence": labels} if sure else {"labels": labels}
    return RecordedEngine(outputs, classes=classes)


class Shelf:
    """Engines by the name of their model file, in place of ``open_node_engine``; a gate can hold up what is loaded."""

    def __init__(self) -> None:
        self.made: list[RecordedEngine] = []
        self.gate = threading.Event()
        self.gate.set()

    def open(self, config: NodeConfig, **_options: object) -> Engine:
        name = "first" if config.model is None else Path(config.model).stem
        if name != "first":
            assert self.gate.wait(PATIENCE_S)
        if name == "missing":
            raise ModelError("There is no model file 'missing.onnx'.")
        if name == "odd":
            raise ZeroDivisionError
        kinds: dict[str, Callable[[], Engine]] = {
            "first": engine_of,
            "second": lambda: engine_of(stride=2, class_id=11, classes=OTHER_CLASSES),
            "third": lambda: engine_of(class_id=0, sure=False),
            "fallback": lambda: engine_of(class_id=12),
        }
        engine = kinds[name]()
        engine.fell_back = name == "fallback"
        assert isinstance(engine, RecordedEngine)
        self.made.append(engine)
        return engine


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf()
    monkeypatch.setattr(perception.node, "open_node_engine", made.open)
    return made


@dataclass
class Running:
    """A node that runs, with a reader that audits it."""

    control: str
    interrupt: threading.Event
    messages: list[Message] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    summary: Summary | None = None

    def ask(self, command: str, **args: object) -> dict[str, object]:
        return ask(self.control, command, args, timeout_s=PATIENCE_S)

    def of(self, kind: str, stream: str = "front") -> list[Message]:
        return [message for message in list(self.messages) if (message.kind, message.stream) == (kind, stream)]

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.01)

    def wait_for_frames(self, count: int, stream: str = "front") -> None:
        wanted = len(self.of("labels", stream)) + count
        self.wait_for(lambda: len(self.of("labels", stream)) >= wanted, f"{count} more frames")


@contextmanager
def running(folder: Path, **options: object) -> Iterator[Running]:
    """A node with a control socket, read by an audit; interrupted and judged at the end."""
    publish, control = f"ipc://{folder}/node", f"ipc://{folder}/control"
    # The reader audits in this process, and on a busy machine it may fall behind; the node shall wait for it.
    options = {"source": STREET, "control": control, "wait_subscribers": 1, "policy": "wait", **options}
    config = NodeConfig(publish=publish, **options)
    node = Running(config.control, threading.Event())

    def read() -> None:
        audit = Audit()
        with Subscriber(publish, streams=None, kinds=None, timeout=PATIENCE_S) as subscriber:
            while not subscriber.ended:
                message = subscriber.receive()
                audit.message(message)
                node.messages.append(message)
        node.findings = audit.finish()

    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(read)
        done = pool.submit(run, config, interrupt=node.interrupt)
        try:
            node.wait_for(lambda: done.done() or node.of("labels", config.cameras[0].stream), "the first frame")
            if not done.done():
                yield node
        finally:
            node.interrupt.set()
            node.summary = done.result(PATIENCE_S)
            reader.result(PATIENCE_S)
    assert node.findings == []
    assert node.summary is not None
    assert node.summary.frames.balanced
    assert not node.summary.frames.in_flight


def check_change(node: Running, stream: str = "front") -> None:
    """What ``model_changed`` says is what the headers say: no frame of another model on either side, none lost."""
    (event,) = [message for message in node.of("event", stream) if message.body["name"] == "model_changed"]
    detail = event.body["detail"]
    assert detail["from"] != detail["to"] or detail["from"]["id"] == "recorded"
    for kind in ("labels", "objects", "summary"):
        at, classes, found = detail["seq"][kind], set(), node.of(kind, stream)
        assert [message.header.seq for message in found] == list(range(found[0].header.seq, found[-1].header.seq + 1))
        for message in found:
            assert message.header.frame is not None
            assert (message.header.frame.number > detail["after_frame"]) == (message.header.seq >= at)
            classes.add((message.header.seq >= at, message.header.frame.classes))
        assert len(classes) == 2  # one table before, another from there on


def test_a_model_changes_between_two_frames(tmp_path: Path, shelf: Shelf) -> None:
    with running(tmp_path, pace="max") as node:
        node.wait_for_frames(5)
        answer = node.ask("reload", model="/second.onnx")
        node.wait_for_frames(5)
    assert answer["effective"]
    check_change(node)
    (event,) = [message for message in node.of("event") if message.body["name"] == "model_changed"]
    at = event.body["detail"]["seq"]["labels"]
    assert answer["streams"]["front"] == {"seq": event.body["detail"]["seq"], "after_frame": at - 1}
    for message in node.of("labels"):
        new = message.header.seq >= at
        assert message.header.frame is not None
        assert message.header.frame.size == ((32, 32) if new else (64, 64))
        assert set(np.unique(message.array("labels"))) == {11 if new else 13}
    tables = [len(message.body["classes"]) for message in node.of("meta")]
    assert sorted(set(tables), reverse=True) == [19, 15]
    # Whoever takes meta as it comes has the new table before the first frame that needs it.
    order = [(message.kind, message.header.seq) for message in node.messages]
    first_new_meta = next(m.header.seq for m in node.of("meta") if len(m.body["classes"]) == 15)
    assert (
        order.index(("meta", first_new_meta)) < order.index(("event", event.header.seq)) < order.index(("labels", at))
    )
    assert [engine.is_closed for engine in shelf.made] == [True, True]


def test_messages_of_an_engine_that_fell_back_are_flagged(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    with running(tmp_path, model="/fallback.onnx") as node:
        node.wait_for_frames(3)
        assert node.ask("reload", model="/second.onnx")["effective"]
        node.wait_for_frames(3)
    assert {message.header.flags for message in node.of("meta")} == {("degraded",), ()}
    for message in node.of("labels"):
        fell_back = 12 in message.array("labels")
        assert message.header.flags == (("degraded",) if fell_back else ())
    (change,) = [message for message in node.of("event") if message.body["name"] == "model_changed"]
    assert change.header.flags == ()


def test_all_streams_of_a_node_change_and_what_a_model_lacks_is_not_sent(tmp_path: Path, shelf: Shelf) -> None:
    cameras = tuple(CameraConfig(source=STREET, stream=name) for name in ("left", "right"))
    with running(tmp_path, source="", camera=cameras) as node:
        node.wait_for_frames(3, "right")
        assert node.ask("reload", model="/second.onnx")["effective"]
        node.wait_for_frames(3, "left")
        node.wait_for_frames(3, "right")
        for name in ("left", "right"):
            check_change(node, name)
        assert node.ask("reload", model="/third.onnx")["effective"]
        node.wait_for_frames(3, "left")
        node.wait_for_frames(3, "right")
    for name in ("left", "right"):
        changes = [m.body["detail"] for m in node.of("event", name) if m.body["name"] == "model_changed"]
        assert len(changes) == 2
        assert all(m.header.seq < changes[1]["seq"]["confidence"] for m in node.of("confidence", name))
    assert shelf.made[0].is_closed


@pytest.mark.parametrize(("model", "error"), [("/missing.onnx", RequestError), ("/odd.onnx", ControlError)])
def test_a_model_that_fails_to_load_leaves_the_old_one_running(
    tmp_path: Path, shelf: Shelf, model: str, error: type[Exception]
) -> None:
    with running(tmp_path) as node:
        with pytest.raises(error, match="goes on with 'recorded'"):
            node.ask("reload", model=model)
        node.wait_for_frames(3)
        assert not shelf.made[0].is_closed
        assert node.ask("reload")["effective"]  # the first model again
    assert {message.body["name"] for message in node.of("event")} == {"model_changed", "end_of_stream"}


def test_frames_go_on_while_a_model_loads_and_a_second_one_is_refused(tmp_path: Path, shelf: Shelf) -> None:
    with running(tmp_path) as node, ThreadPoolExecutor(1) as pool:
        shelf.gate.clear()
        answer = pool.submit(node.ask, "reload", model="/second.onnx")
        node.wait_for(lambda: node.ask("status")["loading"] == "/second.onnx", "loading")
        node.wait_for_frames(5)
        with pytest.raises(ControlError, match=r"loading /second\.onnx"):
            node.ask("reload", model="/third.onnx")
        shelf.gate.set()
        assert answer.result(PATIENCE_S)["effective"]
        assert node.ask("status")["loading"] is None


def test_the_end_of_a_node_ends_a_reload(tmp_path: Path, shelf: Shelf) -> None:
    with running(tmp_path) as node, ThreadPoolExecutor(1) as pool:
        shelf.gate.clear()
        answer = pool.submit(node.ask, "reload", model="/second.onnx")
        node.wait_for(lambda: node.ask("status")["loading"], "loading")
        node.interrupt.set()
        with pytest.raises(ControlError, match="ended before"):
            answer.result(PATIENCE_S)
        shelf.gate.set()
    node.wait_for(lambda: len(shelf.made) == 2 and shelf.made[1].is_closed, "the late model is freed")
    assert node.summary is not None
    assert node.summary.reason == "interrupted"


def test_a_paused_node_says_so_and_goes_on_where_it_was(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    with running(tmp_path) as node:
        assert node.ask("pause") == {"streams": {"front": {"paused": True}}}
        node.wait_for(lambda: node.of("status")[-1].body.get("paused"), "status says so")
        node.wait_for(lambda: node.ask("status")["streams"]["front"]["ledger"]["in_flight"] == 0, "nothing under way")
        before = node.ask("status")["streams"]["front"]
        time.sleep(0.3)
        after = node.ask("status")["streams"]["front"]
        assert after["ledger"] == before["ledger"]
        assert (after["paused"], after["state"]) == (True, "running")
        late = node.ask("reload", model="/second.onnx")
        assert (late["effective"], late["streams"]) == (False, {})
        count = len(node.of("labels"))
        node.ask("resume")
        node.wait_for_frames(3)
    check_change(node)
    assert [m.frame for m in node.of("labels")][count - 1 : count + 1] == [count - 1, count]
    assert "paused" not in node.of("status")[-1].body


def test_seeking_goes_on_exactly_there(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    film = str(clip(tmp_path / "drive.mp4", steady(200)))
    with running(tmp_path, source=film) as node:
        node.ask("pause")
        node.wait_for(lambda: node.ask("status")["streams"]["front"]["ledger"]["in_flight"] == 0, "nothing under way")
        count = node.ask("status")["streams"]["front"]["ledger"]["published"]
        assert node.ask("seek", frame=150) == {"streams": {"front": {"goes_to": "frame 150"}}}
        with pytest.raises(RequestError, match="behind its end"):
            node.ask("seek", seconds=8.0)
        node.ask("resume")
        node.wait_for(lambda: len(node.of("labels")) >= count + 2, "frames behind the jump")
    numbers = [message.frame for message in node.of("labels")]
    assert numbers == list(range(len(numbers)))
    assert node.of("labels")[count].header.time.media_ns == 150 * 40_000_000


def test_several_recordings_go_there_together_or_not_at_all(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    long, short = (str(clip(tmp_path / f"{count}.mp4", steady(count))) for count in (400, 200))
    cameras = (CameraConfig(source=long, stream="long"), CameraConfig(source=short, stream="short"))
    with running(tmp_path, source="", camera=cameras) as node:
        node.ask("pause")
        for name in ("long", "short"):
            node.wait_for(lambda n=name: node.ask("status")["streams"][n]["ledger"]["in_flight"] == 0, "all is still")
        counts = {name: node.ask("status")["streams"][name]["ledger"]["published"] for name in ("long", "short")}
        with pytest.raises(RequestError, match="behind its end"):
            node.ask("seek", frame=300)
        node.ask("resume")
        for name, count in counts.items():
            node.wait_for(lambda n=name, c=count: len(node.of("labels", n)) >= c + 2, "frames after the refusal")
        assert node.ask("seek", frame=300, stream="long") == {"streams": {"long": {"goes_to": "frame 300"}}}
        assert set(node.ask("seek", seconds=1.0)["streams"]) == {"long", "short"}
    for name, count in counts.items():  # the refused place moved nobody
        times = [message.header.time.media_ns for message in node.of("labels", name)[: count + 2]]
        assert times == [number * 40_000_000 for number in range(count + 2)]


def test_a_recording_beside_a_camera_is_moved_by_its_name(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    film = str(clip(tmp_path / "drive.mp4", steady(200)))
    cameras = (
        CameraConfig(source=film, stream="film"),
        CameraConfig(source="rtsp://127.0.0.1:9/live", stream="camera"),  # nobody is there
    )
    with running(tmp_path, source="", camera=cameras, policy="drop_oldest") as node:
        with pytest.raises(RequestError, match=r"camera cannot seek, so no stream was moved"):
            node.ask("seek", frame=150)
        node.wait_for_frames(2, "film")
        assert node.of("labels", "film")[-1].header.time.media_ns < 150 * 40_000_000
        assert node.ask("seek", frame=150, stream="film") == {"streams": {"film": {"goes_to": "frame 150"}}}
        with pytest.raises(RequestError, match="nothing to seek in"):
            node.ask("seek", frame=150, stream="camera")


def raw(endpoint: str, *parts: bytes, patience_s: float = PATIENCE_S) -> dict[str, object] | None:
    """The reply to bytes that may be anything."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send_multipart(parts)
        return msgpack.unpackb(socket.recv_multipart()[-1]) if socket.poll(int(patience_s * 1000)) else None


def test_wrong_requests_are_answered_and_harm_nothing(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    def packed(**changed: object) -> bytes:
        return msgpack.packb({"version": [1, 0], "id": 7, "command": "status", "args": {}, **changed})

    with running(tmp_path) as node:
        for request, code, answered in (
            ((b"\xc1",), "malformed", 0),
            ((b"",), "malformed", 0),
            ((b"x", b"y", b"z"), "malformed", 0),
            ((bytes(5000),), "too_large", 0),
            ((packed(version=[2, 0]),), "version", 0),
            ((packed(version="one"),), "malformed", 0),
            ((packed(command="dance"),), "unknown", 7),
            ((packed(command="pause", args={"stream": "rear"}),), "impossible", 7),
            ((packed(command="pause", args={"stream": 3}),), "malformed", 7),
            ((packed(command="seek"),), "malformed", 7),
            ((packed(command="seek", args={"seconds": float("nan")}),), "malformed", 7),
            ((packed(command="seek", args={"frame": -1}),), "malformed", 7),
            ((packed(command="reload", args={"model": "x" * 3000}),), "malformed", 7),
        ):
            reply = raw(node.control, *request)
            assert reply is not None
            assert (reply["ok"], reply["error"]["code"], reply["id"]) == (False, code, answered), request
        assert raw(node.control, bytes(100_000), patience_s=0.3) is None  # libzmq ends such a connection
        reply = raw(node.control, b"", packed(version=[1, 9], more={"later": True}))  # as a REQ socket frames it
        assert reply is not None
        assert reply["ok"]
        assert reply["result"]["streams"]["front"]["state"] == "running"
        node.wait_for_frames(2)


def test_a_node_under_a_rate_neither_pauses_nor_seeks(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    with running(tmp_path, rate=20.0) as node:
        for command, args in (("pause", {}), ("seek", {"frame": 1})):
            with pytest.raises(RequestError, match="--rate"):
                node.ask(command, **args)


def test_a_node_without_a_control_socket_has_none(tmp_path: Path, shelf: Shelf) -> None:  # noqa: ARG001
    with running(tmp_path, control="none"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["node"]
        with pytest.raises(EndpointError, match="no control socket"):
            ask(f"ipc://{tmp_path}/control", "status")


def test_where_nobody_says_a_private_folder_holds_the_socket(
    tmp_path: Path,
    shelf: Shelf,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert main(["ctl", "status"]) == 3
    assert "No node with a control socket was found" in capsys.readouterr().err
    with running(tmp_path, control="auto"):
        (found,) = (tmp_path / "run" / "roadcast").iterdir()
        assert found.stat().st_mode & 0o777 == 0o660
        assert found.parent.stat().st_mode & 0o777 == 0o700
        assert main(["ctl", "status"]) == 0
        assert "front  running, synth://street" in capsys.readouterr().out
        assert main(["ctl", "pause", "--json"]) == 0
        assert capsys.readouterr().out == '{"streams": {"front": {"paused": true}}}\n'
        assert main(["ctl", "seek", "1:02.5"]) == 0
        assert capsys.readouterr().out == "front goes on at 62.5 s.\n"
        assert main(["ctl", "reload", "/missing.onnx"]) == 2
        assert main(["ctl", "seek", "1:x"]) == 2
        assert main(["ctl", "seek"]) == 2
        assert main(["ctl", "pause", "--stream", "rear"]) == 2
        capsys.readouterr()
        assert main(["ctl", "resume"]) == 0
        assert capsys.readouterr().out == "front goes on.\n"
    assert not found.exists()


def test_nobody_there_is_a_sentence_in_time() -> None:
    with pytest.raises(Timeout, match="did not answer to 'status' within"):
        ask("tcp://127.0.0.1:9", "status", timeout_s=0.2)


def test_a_node_with_keys_asks_for_them_at_its_control_socket_too(
    tmp_path: Path, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("node", "friend", "stranger"):
        generate(name, tmp_path)
    secret, allow = f"{tmp_path}/node.key_secret", f"{tmp_path}/friend.key"
    # Beyond loopback a node needs keys, or --insecure, for control as for the stream; nothing is loaded before that.
    with pytest.raises(ConfigError, match=r"The control socket: .*other machines"):
        run(NodeConfig(source=STREET, publish=f"ipc://{tmp_path}/node", control="tcp://0.0.0.0:*"))
    assert not shelf.made
    with closing(ControlSocket("tcp://0.0.0.0:*", keys=ServerKeys.load(secret, allow))) as control:
        port = control.endpoint.rpartition(":")[2]
        at = ["ctl", "status", "--control", f"tcp://127.0.0.1:{port}", "--curve-server", f"{tmp_path}/node.key"]
        end = threading.Event()

        def serve() -> None:
            while not end.is_set():
                for asked in control.receive():
                    control.answer(asked, {"pid": 1})
                time.sleep(0.01)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(serve)
            try:
                assert main([*at, "--curve-secret", f"{tmp_path}/friend.key_secret", "--json"]) == 0
                assert capsys.readouterr().out == '{"pid": 1}\n'
                assert main([*at, "--curve-secret", f"{tmp_path}/stranger.key_secret", "--timeout", "2"]) == 3
                assert "refuses this client's key" in capsys.readouterr().err
                assert main([*at[:4], "--timeout", "0.5"]) == 3
            finally:
                end.set()
