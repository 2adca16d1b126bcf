"""The control socket of a whole node: where it is, who may ask, and wrong requests."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
import zmq
from controlled import PATIENCE_S, STREET, Shelf, running

from perception.cli.main import main
from perception.config import NodeConfig
from perception.control.client import ask
from perception.control.socket import ControlSocket
from perception.errors import ConfigError, EndpointError, Timeout
from perception.run import run
from perception.wire.curve import ServerKeys
from perception.wire.keys import generate

pytestmark = pytest.mark.usefixtures("shelf")


def raw(endpoint: str, *parts: bytes, patience_s: float = PATIENCE_S) -> dict[str, object] | None:
    """The reply to bytes that may be anything."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send_multipart(parts)
        return msgpack.unpackb(socket.recv_multipart()[-1]) if socket.poll(int(patience_s * 1000)) else None


def test_wrong_requests_are_answered_and_harm_nothing(tmp_path: Path) -> None:
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


def test_a_node_without_a_control_socket_has_none(tmp_path: Path) -> None:
    with running(tmp_path, control="none"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["node"]
        with pytest.raises(EndpointError, match="no control socket"):
            ask(f"ipc://{tmp_path}/control", "status")


def test_where_nobody_says_a_private_folder_holds_the_socket(
    tmp_path: Path,
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
