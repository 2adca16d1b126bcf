"""Topics: ``<stream>/<kind>/``, and which kinds a subscription asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from perception.errors import ConfigError, WireError

VERSION = (1, 0)

FRAME_KINDS = ("labels", "confidence", "objects", "image", "summary")
CONTROL_KINDS = ("meta", "status", "event")
KINDS = FRAME_KINDS + CONTROL_KINDS

_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOPIC = re.compile(rb"([A-Za-z0-9_-]{1,64})/([a-z_]{1,32})/")


def check_stream(stream: str) -> str:
    """The stream id itself; ConfigError if it holds anything but letters, digits, ``_`` and ``-``."""
    if not _STREAM.fullmatch(stream):
        raise ConfigError(
            f"Stream name {stream!r} is not allowed: use 1 to 64 of A-Z a-z 0-9 _ -, for example 'front'."
        )
    return stream


def check_kind(kind: str) -> str:
    """The kind itself; ConfigError if the protocol has no such kind."""
    if kind not in KINDS:
        raise ConfigError(f"There is no kind {kind!r}. Choose from: {' '.join(KINDS)}.")
    return kind


def topic_of(stream: str, kind: str) -> bytes:
    """The first part of a message. The trailing slash keeps ``cam1/`` from matching ``cam10/``."""
    return f"{stream}/{kind}/".encode()


def parse_topic(topic: bytes) -> tuple[str, str]:
    """(stream, kind) of a topic; the kind may be one that this version does not know. Raises WireError."""
    found = _TOPIC.fullmatch(topic)
    if not found:
        raise WireError(f"{bytes(topic[:80])!r} is not a topic: expected <stream>/<kind>/.")
    return found[1].decode(), found[2].decode()


def wanted_kinds(stream: str, prefixes: Iterable[bytes]) -> frozenset[str]:
    """The kinds of a stream that at least one of these subscriptions matches."""
    asked = tuple(prefixes)
    return frozenset(kind for kind in KINDS if topic_of(stream, kind).startswith(asked))
