"""Requests and replies of the control socket, as docs/control.md has them: msgpack maps, small, with a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgpack

from perception.errors import ControlError, RequestError, WireError
from perception.wire.fields import INT_MAX, Fields

VERSION = (1, 0)  # a larger first number means that the other side cannot be understood
MAX_REQUEST_BYTES = 4096
MAX_REPLY_BYTES = 1024 * 1024
LONGEST_TEXT = 2048  # characters of an argument, such as a path

Code = Literal["malformed", "too_large", "version", "unknown", "impossible", "busy", "failed", "ended"]
CODES: tuple[Code, ...] = get_args(Code)
# What lies with who asked, and not with the node.
_OF_THE_REQUEST = frozenset({"malformed", "too_large", "version", "unknown", "impossible"})


class Refusal(ControlError):
    """Why a request is not carried out: a code for programs, a sentence for people."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a node. ``id`` comes back with the reply."""

    command: str
    args: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0

    @property
    def fields(self) -> Fields:
        """The arguments, to be read with checks."""
        return Fields(dict(self.args), f"arguments of {self.command}")


def pack_request(request: Request) -> bytes:
    """A request as bytes. Raises RequestError where it is larger than a node takes."""
    packed = _pack({"version": VERSION, "id": request.id, "command": request.command, "args": dict(request.args)})
    if len(packed) > MAX_REQUEST_BYTES:
        raise RequestError(f"The request has {len(packed)} bytes, {MAX_REQUEST_BYTES} are allowed. Shorten the path.")
    return packed


def unpack_request(packed: bytes) -> Request:
    """The request in these bytes, whoever they are from. Raises Refusal."""
    if len(packed) > MAX_REQUEST_BYTES:
        raise Refusal("too_large", f"The request has {len(packed)} bytes, {MAX_REQUEST_BYTES} are allowed.")
    try:
        fields = Fields(_unpack(packed), "request")
        _check_version(fields)
        number = fields.integer("id") if fields.has("id") else 0
        args = fields.plain("args") if fields.has("args") else {}
        return Request(fields.text("command", 32), args, number)
    except WireError as error:
        raise Refusal("malformed", str(error)) from error


def pack_result(request_id: int, result: Mapping[str, object]) -> bytes:
    """The reply to a request that was carried out."""
    return _pack({"version": VERSION, "id": request_id, "ok": True, "result": result})


def pack_refusal(request_id: int, refusal: Refusal) -> bytes:
    """The reply to one that was not."""
    error = {"code": refusal.code, "message": str(refusal)}
    return _pack({"version": VERSION, "id": request_id, "ok": False, "error": error})


def unpack_reply(packed: bytes, request_id: int) -> dict[str, Any] | None:
    """The result in a reply; None for the reply to another request.

    Raises:
        WireError: these bytes are no reply.
        RequestError: the node did not carry it out, for it cannot be done as asked.
        ControlError: the node could not carry it out.
    """
    fields = Fields(_unpack(packed), "reply")
    try:
        _check_version(fields)
    except Refusal as refusal:
        raise WireError(str(refusal)) from refusal
    ok = fields.boolean("ok")
    if ok and fields.integer("id") != request_id:
        return None
    if ok:
        return fields.plain("result")
    error = fields.submap("error")
    code, message = error.text("code", 32), error.text("message", 4 * LONGEST_TEXT)
    if fields.integer("id") not in (request_id, 0):  # 0: the node could not read which request it was
        return None
    raise (RequestError if code in _OF_THE_REQUEST else ControlError)(message)


def _check_version(fields: Fields) -> None:
    major, minor = fields.integers("version", 2, 0, INT_MAX)
    if major != VERSION[0]:
        raise Refusal(
            "version", f"This is version {major}.{minor} of the control messages; this side knows {VERSION[0]}.x."
        )


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _unpack(packed: bytes) -> object:
    try:
        return msgpack.unpackb(packed, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(f"This is no msgpack map: {str(error)[:200] or type(error).__name__}.") from error
