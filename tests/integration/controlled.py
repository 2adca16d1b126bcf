"""A node with a control socket in this process, read by an audit, whose engines are made by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perception.classes import CITYSCAPES, ClassTable
from perception.client import Message, Subscriber
from perception.client.audit import Audit
from perception.config import NodeConfig
from perception.control.client import ask
from perception.engines.engine import Engine
from perception.engines.recorded import RecordedEngine
from perception.errors import ModelError
from perception.run import run
from perception.summary import Summary

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
