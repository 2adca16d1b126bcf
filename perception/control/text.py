"""Answers of a node for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def answer_text(command: str, found: Mapping[str, Any]) -> str:
    """What a node answered to this command, in words. Keys that a newer or older node lacks are left out."""
    streams: Mapping[str, Any] = found.get("streams") or {}
    if command == "status":
        return _status(found, streams)
    if command == "reload":
        return _reload(found, streams)
    if command == "seek":
        return "\n".join(f"{name} goes on at {entry.get('goes_to')}." for name, entry in streams.items())
    return "\n".join(f"{name} {_pace(entry)}." for name, entry in streams.items())


def _pace(entry: Mapping[str, Any]) -> str:
    if entry.get("ended"):
        return "has ended"
    return "is paused" if entry.get("paused") else "goes on"


def _status(found: Mapping[str, Any], streams: Mapping[str, Any]) -> str:
    latency, model = found.get("latency_ms") or {}, found.get("model") or {}
    rows = [
        ("state", f"{found.get('state')}, {found.get('doing')}"),
        ("rate", f"{found.get('fps')} fps, latency p50 {_ms(latency.get('p50'))} p99 {_ms(latency.get('p99'))}"),
        ("model", f"{model.get('id')} {model.get('precision')} {str(model.get('sha256'))[:8]}".strip()),
        ("engine", str(found.get("engine_reason"))),
        ("loading", found.get("loading") or ""),
        ("endpoint", f"{found.get('publish')}, policy {found.get('policy')}, {found.get('subscribers')} subscribers"),
        *((name, _stream(entry)) for name, entry in streams.items()),
        ("process", f"{found.get('pid')}, roadcast {found.get('version')}"),
    ]
    return "\n".join(f"{name:>10}  {text}" for name, text in rows if text)


def _stream(entry: Mapping[str, Any]) -> str:
    ledger = entry.get("ledger") or {}
    dropped = ledger.get("dropped") or {}
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    parts = [
        "paused" if entry.get("paused") else str(entry.get("state")),
        f"{entry.get('source')}",
        f"{entry.get('fps')} fps",
        f"captured {ledger.get('captured')}, published {ledger.get('published')}, dropped {reasons or 0}",
        f"away: {entry['away']}" if entry.get("away") else "",
    ]
    return ", ".join(part for part in parts if part)


def _reload(found: Mapping[str, Any], streams: Mapping[str, Any]) -> str:
    model = found.get("model") or {}
    said = f"{model.get('id')} ({str(model.get('sha256'))[:8]}) was loaded in {found.get('load_s')} s"
    if not found.get("effective"):
        return f"{said} and makes the frames from the next one on; none has come since."
    lines = [f"{said}. {found.get('engine_reason')}"]
    for name, entry in streams.items():
        seq = ", ".join(f"{kind} {number}" for kind, number in (entry.get("seq") or {}).items() if number)
        lines.append(f"{name}: from seq {seq or 0} on, after frame {entry.get('after_frame')}.")
    return "\n".join(lines)


def _ms(value: object) -> str:
    return "-" if value is None else f"{value} ms"
