"""How a node fares, for who asks over the control socket: plain values, and the same for people."""

from __future__ import annotations

import os
from dataclasses import asdict

from perception import __version__
from perception.metrics import rounded
from perception.node import Node
from perception.sources.address import redact
from perception.summary import Status, StreamStatus


def report(node: Node, status: Status, loading: str | None) -> dict[str, object]:
    """The reply to ``status``; ``loading`` is the model that is being loaded."""
    spec, engine = node.engine.spec, node.engine
    return {
        "version": __version__,
        "pid": os.getpid(),
        "state": status.state,
        "doing": redact(status.doing),
        "publish": status.publish,
        "policy": node.policy,
        "pace": node.config.pace,
        "subscribers": status.subscribers,
        "computes": status.computes,
        "fps": round(status.fps, 2),
        "latency_ms": rounded(asdict(status.latency_ms), 2),
        "model": {"id": spec.id, "sha256": spec.sha256[:16], "precision": spec.precision, "engine": engine.name},
        "engine_reason": engine.reason,
        "loading": loading,
        "streams": {stream.stream: _stream(node, stream) for stream in status.streams},
    }


def _stream(node: Node, stream: StreamStatus) -> dict[str, object]:
    return {
        "source": node.streams[stream.stream].source.uri,
        "state": stream.state,
        "paused": stream.paused,
        "fps": round(stream.fps, 2),
        "ledger": {**asdict(stream.ledger), "dropped": dict(stream.ledger.dropped)},
        "absences": stream.absences,
        "away": None if stream.away is None else redact(stream.away),
    }
