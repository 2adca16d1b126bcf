"""On what a figure was measured: processor, cores, memory, versions, commit; and what else ran meanwhile."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import perception
from perception.metrics import cores

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "av",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "pyzmq",
    "msgpack",
)
# What decides how fast a network or a codec runs, as Linux spells it for x86 and ARM.
FEATURES = frozenset(
    {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8"}
    | {"asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"}
)
IDLE_PROBE_S = 1.0
BUSY_SHARE = 0.1  # of all cores; what others take beyond this is worth a warning
TOOL_PATIENCE_S = 10.0
_PROC, _SYS = Path("/proc"), Path("/sys")


def hardware() -> dict[str, object]:
    """What must be alike before two results may be compared."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": cores(),
        "core_quota": _quota(),
        "features": sorted(FEATURES & set((_cpuinfo("flags") or _cpuinfo("Features") or "").split())),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
    }


def software() -> dict[str, object]:
    """What may be the very thing that is compared."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "governor": _text(_SYS / "devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "python": platform.python_version(),
        "roadcast": perception.__version__,
        "commit": commit(Path(perception.__file__).parents[1]),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def commit(root: Path) -> str | None:
    """The git commit of a checkout, ``-dirty`` with changes; None where ``root`` is not the top of one."""
    if not (root / ".git").exists():
        return None
    return _output(["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])


@dataclass(frozen=True, slots=True)
class Load:
    """The machine's processor seconds up to one moment, and those of this process and its ended children."""

    busy_s: float
    total_s: float
    own_s: float

    @staticmethod
    def now() -> Load | None:
        """The counters as they stand; None where the system has none in /proc."""
        words = _text(_PROC / "stat").partition("\n")[0].split()
        if len(words) < 9 or words[0] != "cpu":
            return None
        user, nice, system, idle, waiting, interrupt, soft, stolen = (
            int(word) / os.sysconf("SC_CLK_TCK") for word in words[1:9]
        )
        busy = user + nice + system + interrupt + soft + stolen
        return Load(busy, busy + idle + waiting, sum(os.times()[:4]))

    def others_since(self, start: Load) -> float | None:
        """The share of all cores that went to other programs, or was withheld by a hypervisor, since ``start``."""
        total = self.total_s - start.total_s
        if total <= 0:
            return None
        return min(1.0, max(0.0, (self.busy_s - start.busy_s - (self.own_s - start.own_s)) / total))


def others_now(pause: Callable[[float], object] = time.sleep) -> float | None:
    """The share of the cores that others take just now, watched for a second."""
    start = Load.now()
    pause(IDLE_PROBE_S)
    end = Load.now()
    return end.others_since(start) if start and end else None


def _cpuinfo(field: str) -> str:
    for line in _text(_PROC / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _quota() -> float | None:
    """Cores that a container may use at most, where it is limited."""
    limit, _, period = _text(_SYS / "fs/cgroup/cpu.max").partition(" ")
    return round(int(limit) / int(period), 2) if limit.isdigit() and period.isdigit() else None


def _gpus() -> list[str]:
    """Name and driver of every NVIDIA GPU."""
    if shutil.which("nvidia-smi") is None:
        return []
    listed = _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    return listed.splitlines() if listed else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=TOOL_PATIENCE_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
