"""Models that change between two frames of a running node."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from controlled import PATIENCE_S, STREET, Shelf, check_change, running

from perception.config import CameraConfig
from perception.errors import ControlError, RequestError


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


@pytest.mark.usefixtures("shelf")
def test_messages_of_an_engine_that_fell_back_are_flagged(tmp_path: Path) -> None:
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
