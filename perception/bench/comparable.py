"""Whether two results may be compared at all, and what else differs between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.bench.result import VERSION

# What must be alike, and what it means where it is not.
ALIKE = {
    "machine.processor": "another processor",
    "machine.architecture": "another architecture",
    "machine.cores": "another number of cores",
    "machine.core_quota": "another limit on the cores",
    "machine.features": "other processor features",
    "machine.gpus": "other GPUs or GPU drivers",
    "clip.sha256": "another clip",
    "settings.rate": "another arrival rate",
    "settings.frames": "another number of frames",
    "settings.subscribed": "other kinds subscribed",
}
# What may be the very thing that is compared, but has to be known.
TOLD = (
    *(f"software.{key}" for key in ("system", "governor", "python", "roadcast", "commit", "packages")),
    *(f"settings.{key}" for key in ("engine", "mode", "slots", "threads", "device", "model", "network_size")),
    "machine.memory_gib",
)
_LONGEST = 60


def obstacles(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Why the two results cannot be compared, as parts of a sentence; nothing where they can."""
    found = [
        f"{name} has version {result.get('version')!r} of the schema, this roadcast compares {VERSION}"
        for name, result in (("A", before), ("B", after))
        if result.get("version") != VERSION
    ]
    for path, meaning in ALIKE.items():
        ours, theirs = _at(before, path), _at(after, path)
        if ours != theirs:
            found.append(f"{meaning} ({_brief(ours)} and {_brief(theirs)})")
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs and is no obstacle, as ``engine: openvino -> onnxruntime``."""
    found = []
    for path in TOLD:
        ours, theirs = _at(before, path), _at(after, path)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            changed = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
            found += [f"{key}: {_brief(ours.get(key))} -> {_brief(theirs.get(key))}" for key in changed]
        elif ours != theirs:
            found.append(f"{path.partition('.')[2]}: {_brief(ours)} -> {_brief(theirs)}")
    return found


def load_warnings(result: Mapping[str, Any]) -> list[str]:
    """What the result itself says about how quiet its machine was."""
    load = result.get("load")
    found = load.get("warnings") if isinstance(load, Mapping) else None
    return [str(warning) for warning in found] if isinstance(found, list) else []


def _at(result: Mapping[str, Any], path: str) -> Any:
    part, _, key = path.partition(".")
    return result[part].get(key)


def _brief(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return (text if len(text) <= _LONGEST else f"{text[:12]}...") or "none"
