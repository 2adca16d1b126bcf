"""Requests and replies of the control socket: what is packed comes back, and nothing else gets through."""

from __future__ import annotations

import stat
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.control.message import (
    CODES,
    MAX_REQUEST_BYTES,
    Refusal,
    Request,
    pack_refusal,
    pack_request,
    pack_result,
    unpack_reply,
    unpack_request,
)
from perception.control.place import find_endpoint, own_endpoint, run_folder
from perception.errors import ConfigError, ControlError, EndpointError, RequestError, WireError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
IDS = st.integers(1, 2**53)


@given(st.text(max_size=32), st.dictionaries(st.text(max_size=5), PLAIN, max_size=3), IDS)
def test_a_request_comes_back_as_it_was(command: str, args: dict[str, object], number: int) -> None:
    request = Request(command, args, number)
    assert unpack_request(pack_request(request)) == request


@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=4), IDS)
def test_a_result_comes_back_to_who_asked(result: dict[str, object], number: int) -> None:
    packed = pack_result(number, result)
    assert unpack_reply(packed, number) == result
    assert unpack_reply(packed, number + 1) is None


@pytest.mark.parametrize("code", CODES)
def test_a_refusal_tells_whose_fault_it_is(code: str) -> None:
    wanted = ControlError if code in ("busy", "failed", "ended") else RequestError
    for answered in (5, 0):
        with pytest.raises(wanted, match="because"):
            unpack_reply(pack_refusal(answered, Refusal(code, "because")), 5)
    assert unpack_reply(pack_refusal(6, Refusal(code, "because")), 5) is None


def read(packed: bytes) -> tuple[str | None, Request | None]:
    try:
        return None, unpack_request(packed)
    except Refusal as refusal:
        return refusal.code, None


@settings(max_examples=300)
@given(st.binary(max_size=64) | PLAIN.map(msgpack.packb) | st.binary(min_size=4000, max_size=4200))
def test_what_is_no_request_is_refused(packed: bytes) -> None:
    code, request = read(packed)
    assert code in (None, "malformed", "too_large", "version")
    assert (request is None) == (code is not None)
    assert (code == "too_large") == (len(packed) > MAX_REQUEST_BYTES)


@settings(max_examples=300)
@given(st.data(), st.sampled_from([1, 7, 255]))
def test_a_request_with_one_wrong_byte_is_read_or_refused(data: st.DataObject, byte: int) -> None:
    packed = bytearray(pack_request(Request("seek", {"frame": 7, "stream": "front"}, 3)))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= byte
    assert read(bytes(packed))[0] in (None, "malformed", "version")


@given(st.binary(max_size=64) | PLAIN.map(msgpack.packb))
def test_what_is_no_reply_is_a_wire_error(packed: bytes) -> None:
    with pytest.raises(WireError):
        unpack_reply(packed, 1)


def test_a_request_that_no_node_takes_is_not_sent() -> None:
    with pytest.raises(RequestError, match="horten the path"):
        pack_request(Request("reload", {"model": "x" * MAX_REQUEST_BYTES}))


def test_the_run_folder_is_that_of_the_service_the_session_or_the_user(tmp_path: Path) -> None:
    assert run_folder({"RUNTIME_DIRECTORY": "/run/roadcast:/run/b", "XDG_RUNTIME_DIR": "/x"}) == Path("/run/roadcast")
    assert run_folder({"XDG_RUNTIME_DIR": "/x"}) == Path("/x/roadcast")
    assert run_folder({}).name.startswith("roadcast-")
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    first, second = own_endpoint("tcp://127.0.0.1:5600", environment), own_endpoint("tcp://127.0.0.1:5601", environment)
    assert first != second
    assert first == own_endpoint("tcp://127.0.0.1:5600", environment)
    assert stat.S_IMODE((tmp_path / "roadcast").stat().st_mode) == 0o700


def test_a_folder_of_others_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "roadcast").mkdir()
    (tmp_path / "roadcast").chmod(0o777)
    with pytest.raises(ConfigError, match="others could"):
        own_endpoint("tcp://127.0.0.1:5600", {"XDG_RUNTIME_DIR": str(tmp_path)})
    with pytest.raises(ConfigError, match="no place"):
        own_endpoint("tcp://127.0.0.1:5600", {"XDG_RUNTIME_DIR": "/proc"})


def test_what_a_killed_node_left_behind_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.control.place.SYSTEM_FOLDER", tmp_path / "none")
    (tmp_path / "roadcast").mkdir()
    (tmp_path / "roadcast" / "old.ctl").touch()
    with pytest.raises(EndpointError, match="No node"):
        find_endpoint({"XDG_RUNTIME_DIR": str(tmp_path)})
