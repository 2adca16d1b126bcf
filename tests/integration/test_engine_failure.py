"""A camera's node whose engine fails while it runs: it ends with 3, or begins anew."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from mjpeg_server import Camera, camera_server
from onnx import TensorProto, helper, numpy_helper

from perception.client import Subscriber
from perception.errors import Timeout

GENEROUS_S = 60.0
BRIGHTEST = 40  # the network fails on anything brighter, and the camera's pictures get brighter one by one


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Labels are all 0; an index that depends on the brightest pixel leaves its table where it exceeds 40."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["values"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["zero"]),
        helper.make_node("Mul", ["values", "zero"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["map"], axes=[3], keepdims=0),
        helper.make_node("Cast", ["map"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "fails",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", "h", "w"])],
        [numpy_helper.from_array(np.zeros(BRIGHTEST + 1, np.float32), "table")],
    )
    path = tmp_path / "fails.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(proto, {"roadcast.id": "fails", "roadcast.pixels": str(64 * 32)})
    path.write_bytes(proto.SerializeToString())
    return path


def script(camera: Camera) -> None:
    camera.begin()
    camera.stream(100_000)


def command(url: str, model: Path, endpoint: str, *more: str) -> list[str]:
    node = [sys.executable, "-m", "perception", "run", url, "--model", str(model), "--engine", "onnxruntime"]
    return [*node, "--publish", endpoint, *more]


def test_by_default_the_node_ends_with_3(model, tmp_path):
    endpoint = f"ipc://{tmp_path}/node"
    with camera_server(script) as (url, _), Subscriber(endpoint, kinds=["labels"], timeout=GENEROUS_S):
        done = subprocess.run(
            command(url, model, endpoint), capture_output=True, text=True, timeout=GENEROUS_S, check=False
        )
    assert done.returncode == 3, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("roadcast: error:")]
    assert len(errors) == 1
    assert "'onnxruntime' failed on a batch" in errors[0]
    assert "starting again" not in done.stderr


def test_with_restart_it_begins_anew_until_it_is_told_to_end(model, tmp_path):
    endpoint, log = f"ipc://{tmp_path}/node", tmp_path / "stderr"
    with (
        camera_server(script) as (url, _),
        log.open("w") as stderr,
        subprocess.Popen(
            command(url, model, endpoint, "--on-engine-failure", "restart"), stderr=stderr, stdout=subprocess.DEVNULL
        ) as node,
    ):
        try:
            deadline = time.monotonic() + GENEROUS_S
            while log.read_text().count("starting again") < 2 and time.monotonic() < deadline:
                with Subscriber(endpoint, kinds=["labels"], timeout=1.0) as subscriber, suppress(Timeout):
                    deque(subscriber.scenes(), maxlen=0)  # a failed node ends its stream
            node.terminate()
            node.wait(GENEROUS_S)
        finally:
            node.kill()
    said = log.read_text()
    assert re.findall(r"starting again in (\d+) s", said)[:2] == ["1", "2"], said
    assert "Traceback" not in said
    assert node.returncode in (0, 3)  # ended while it ran, or in the pause after a failure


def test_a_file_is_not_begun_anew(model, tmp_path):
    line = command("synth://street", model, f"ipc://{tmp_path}/node", "--on-engine-failure", "restart")
    done = subprocess.run(line, capture_output=True, text=True, timeout=GENEROUS_S, check=False)
    assert done.returncode == 2
    assert "is for cameras" in done.stderr
