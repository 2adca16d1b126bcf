"""The subscribers of ``launch/subscribers``, written from docs/protocol.md alone, against a node and the vectors."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgpack
import numpy as np
import pytest
import zmq
from tiny_model import write_model
from vectors.generate import FOLDER as VECTORS
from vectors.generate import unpack

from perception.client import Subscriber

HERE = Path(__file__).parents[2] / "launch" / "subscribers"
PATIENCE = "30"  # seconds; for a busy machine
FRAMES = 6
COMPILER = "g++ -std=c++17 -DMSGPACK_NO_BOOST subscriber.cpp -lzmq -lz -o"
HEADERS = ("zmq.h", "msgpack.hpp", "zlib.h")
Maps = dict[str, str]  # SHA-256 by FRAME.PART.DTYPE


def from_source(folder: Path) -> list[str]:
    """Compile the C++ one; skips where what it needs is not installed."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    for header in HEADERS:
        source = f"#define MSGPACK_NO_BOOST\n#include <{header}>\n"
        probe = subprocess.run(["g++", "-E", "-x", "c++", "-"], input=source, capture_output=True, text=True)
        if probe.returncode:
            pytest.skip(f"there is no {header}: apt-get install libzmq3-dev libmsgpack-cxx-dev zlib1g-dev")
    subprocess.run([*COMPILER.split(), str(folder / "subscriber")], cwd=HERE, check=True)
    return [str(folder / "subscriber")]


def node_js() -> list[str]:
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js")
    load = subprocess.run(["node", "-e", "require('zeromq'), require('@msgpack/msgpack')"], cwd=HERE)
    if load.returncode:
        pytest.skip("its packages are missing or do not run here: npm ci --ignore-scripts in launch/subscribers")
    return ["node", str(HERE / "subscriber.js")]


@pytest.fixture(scope="module", params=["python", "node", "c++"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if request.param == "python":
        return [sys.executable, "-u", str(HERE / "subscriber.py")]
    return node_js() if request.param == "node" else from_source(tmp_path_factory.mktemp("c++"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise between blue and green, and red rectangles: every pixel another run, or long ones, and some objects."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(5)
    for number in range(FRAMES):
        picture = np.zeros((128, 256, 3), np.uint8)
        picture[: 20 * number, :, :2] = random.integers(0, 255, (20 * number, 256, 2))
        picture[20 * number :, :, 1] = 200
        for x in (16, 100 + 8 * number):
            picture[30:90, x : x + 40] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    return folder


@contextmanager
def node(endpoint: str, pictures: Path, model: Path, *, readers: int) -> Iterator[subprocess.Popen[str]]:
    flags = f"--policy wait --pace max --engine onnxruntime --size 256x128 --wait-subscribers {readers}".split()
    command = [sys.executable, "-m", "perception", "run", f"{pictures}/*.png", "--model", str(model), *flags]
    child = subprocess.Popen(
        [*command, "--publish", endpoint], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def saved(folder: Path) -> Maps:
    """Without the session, which differs from run to run."""
    return {path.name.partition("-")[2]: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read_with_our_client(endpoint: str, maps: Maps, lines: list[str]) -> None:
    with Subscriber(endpoint, timeout=float(PATIENCE)) as subscriber:
        for scene in subscriber.scenes():
            for name, array in (("labels.u1", scene.labels), ("ids.u2", scene.ids)):
                maps[f"{scene.number:06}.{name}"] = hashlib.sha256(array.tobytes()).hexdigest()
            shares = np.bincount(scene.labels.reshape(-1), minlength=256) / scene.labels.size
            lines.append(f"{subscriber.classes.name(int(shares.argmax()))} {100 * shares.max():.1f} %")


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_live_node_is_read_bit_for_bit(program, transport, pictures, model, tmp_path):
    """``tcp`` brings rle+zlib, ``ipc`` rle. Both readers are subscribed before the first frame."""
    endpoint = f"ipc://{tmp_path}/node.ipc" if transport == "ipc" else f"tcp://127.0.0.1:{free_port()}"
    ours: Maps = {}
    most: list[str] = []
    reader = threading.Thread(target=read_with_our_client, args=(endpoint, ours, most))
    (tmp_path / "maps").mkdir()
    with node(endpoint, pictures, model, readers=2):
        reader.start()
        done = subprocess.run(
            [*program, endpoint, "--save", str(tmp_path / "maps"), "--timeout", PATIENCE],
            capture_output=True,
            text=True,
        )
        reader.join(float(PATIENCE))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(ours) == 2 * FRAMES
    assert saved(tmp_path / "maps") == ours
    lines = done.stdout.splitlines()
    shown = [line for line in lines if line.startswith("labels frame ")]
    assert [re.match(r"labels frame (\d+)  seq (\d+)  [\d.]+ ms  [\d.]+ fps  ", line).groups() for line in shown] == [
        (str(k), str(k)) for k in range(FRAMES)
    ]
    assert all(expected in line for expected, line in zip(most, shown))
    assert sum("2 car" in line for line in lines if line.startswith("objects frame ")) == FRAMES
    assert lines[-1] == f"{FRAMES} frames, 0 lost, 0 dropped, 0 restarts"


def test_ctrl_c_ends_it_with_a_summary(program, pictures, model, tmp_path):
    endpoint = f"ipc://{tmp_path}/node.ipc"
    with node(endpoint, pictures, model, readers=2):  # it waits for a second reader, so nothing but status comes
        reader = subprocess.Popen([*program, endpoint, "--timeout", PATIENCE], stdout=subprocess.PIPE, text=True)
        with Subscriber(endpoint, kinds=["labels"], timeout=float(PATIENCE), until_end=False) as ours:
            next(iter(ours))
            assert "frame 0" in next(line for line in reader.stdout if line.startswith("labels"))
        reader.send_signal(signal.SIGINT)
        rest = reader.communicate(timeout=float(PATIENCE))[0]
    assert reader.returncode == 0
    assert re.search(r"\d+ frames, 0 lost, 0 dropped, 0 restarts\n$", rest)


def free_port() -> int:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        return socket.bind_to_random_port("tcp://127.0.0.1")


def vector(name: str, **changes: object) -> list[bytes]:
    """A stored message, with other values under some keys of its header."""
    topic, header, *payloads = unpack((VECTORS / f"{name}.bin").read_bytes())
    if changes:
        header = msgpack.packb(msgpack.unpackb(header, strict_map_key=False) | changes)
    return [topic, header, *payloads]


END = "event_end_of_stream"
GOOD = sorted(path.stem for pattern in ("labels_*.bin", "objects_*.bin") for path in VECTORS.glob(pattern))
BAD = sorted({path.stem for path in VECTORS.glob("bad_*.bin")} - {"bad_topic"})  # nobody subscribes to that one


def show(program: list[str], messages: list[list[bytes]], folder: Path) -> subprocess.CompletedProcess[str]:
    """Publish these messages to it alone, once it has subscribed to all that it subscribes to."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        endpoint = f"ipc://{folder}/vectors.ipc"
        socket.bind(endpoint)
        command = [*program, endpoint, "--save", str(folder), "--timeout", PATIENCE]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(5):
            assert socket.poll(int(PATIENCE) * 1000)
            socket.recv()
        for message in messages:
            socket.send_multipart(message)
        out, err = child.communicate(timeout=float(PATIENCE))
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def test_every_codec_of_the_vectors_is_read_as_described(program, tmp_path):
    messages = [vector("meta")] + [vector(name, frame=k) for k, name in enumerate(GOOD)] + [vector(END)]
    done = show(program, messages, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    expected = {}
    for k, name in enumerate(GOOD):
        described = json.loads((VECTORS / f"{name}.json").read_text())
        for part in described["header"]["parts"]:
            file = f"{k:06}.{part['name'].replace('/', '-')}.{part['dtype']}"
            expected[file] = described["parts"][part["name"]]["sha256"]
    (tmp_path / "vectors.ipc").unlink(missing_ok=True)
    assert saved(tmp_path) == expected


@pytest.mark.parametrize("name", BAD)
def test_what_breaks_the_protocol_is_one_sentence(program, name, tmp_path):
    done = show(program, [vector(name)], tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "breaks the protocol" in done.stderr
    if name == "bad_major_version":
        assert "1.x" in done.stderr


def test_losses_drops_and_restarts_are_told_apart(program, tmp_path):
    numbers = [(0, 0), (1, 1), (4, 4), (5, 8)]  # seq, frame: two messages lost, then three frames dropped
    messages = [vector("labels_rle", seq=seq, frame=frame) for seq, frame in numbers]
    messages += [vector("labels_rle", seq=0, frame=0, session=bytes(16)), vector(END, session=bytes(16))]
    done = show(program, messages, tmp_path)
    assert done.returncode == 0
    told = [line for line in done.stdout.splitlines() if not line.startswith(("labels", "event"))]
    assert told == [
        "2 lost before labels 4",
        "3 dropped before labels 5",
        "the node restarted: session 00000000",
        "5 frames, 2 lost, 3 dropped, 1 restarts",
    ]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["tcp://nowhere"], 2, "tcp://nowhere"),
        ([], 2, "endpoint"),
        (["ipc:///nobody/is/here", "--timeout", "0.2"], 3, "ipc:///nobody/is/here"),
    ],
)
def test_what_cannot_be_done_is_said(program, words, code, named):
    done = subprocess.run([*program, *words], capture_output=True, text=True)
    assert done.returncode == code
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_no_address_of_a_registry_is_kept():
    for path in (HERE / "package.json", HERE / "package-lock.json"):
        assert "://" not in path.read_text()


def test_the_python_one_is_short_and_alone():
    source = (HERE / "subscriber.py").read_text()
    assert len(source.splitlines()) < 150
    assert not re.search(r"^\s*(import|from) (perception|training)", source, re.MULTILINE)
