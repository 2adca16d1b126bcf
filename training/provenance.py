"""Where a run comes from: versions, commit, machine and command, noted at every start of it."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from perception import __version__

_PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "opencv-python-headless", "onnx", "onnxruntime")


def note_of_start(first_epoch: int) -> dict[str, Any]:
    """What is known about this process, in plain values."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "first_epoch": first_epoch + 1,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "backend": keras.backend.backend(),
        "versions": {"roadcast": __version__, "python": platform.python_version()} | _versions(),
        "machine": {"system": platform.platform(terse=True), "cpu": _cpu(), "cores": os.cpu_count()},
    }


def _versions() -> dict[str, str]:
    installed = {dist.metadata["Name"].lower() for dist in metadata.distributions() if dist.metadata["Name"]}
    return {name: metadata.version(name) for name in _PACKAGES if name in installed}


def _commit() -> str | None:
    """The commit of the sources, with a ``+`` where they were changed since; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
