"""Cameras, the cache folder, and the model that comes with the package."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path

from perception.cache import cache_folder
from perception.doctor.finding import Finding
from perception.engines.shipped import DEFAULT_MODEL
from perception.errors import ConfigError

LEAST_FREE_GB = 2.0  # a compiled FCN-8s alone is half a gigabyte
# Of Linux' videodev2.h: struct v4l2_capability, the request for it, and the flag of a device that captures.
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_QUERYCAP = 0x80685600
_CAPTURES, _HAS_DEVICE_FLAGS = 0x1, 0x80000000


def check_cameras(devices: Path = Path("/dev")) -> list[Finding]:
    """Every local camera; one finding that there is none."""
    paths = sorted(devices.glob("video*"), key=lambda path: (len(path.name), path.name))
    found = [finding for path in paths if (finding := _camera(path)) is not None]
    return found or [Finding("cameras", "absent", None, "no local camera; files and network streams need none")]


def _camera(path: Path) -> Finding | None:
    """What a video device is; None for one that gives no pictures, as a camera's channel of metadata."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except PermissionError:
        remedy = "Let this user read cameras: sudo usermod -aG video $USER, then log in again."
        return Finding(f"camera {path}", "broken", None, "this user may not open it", remedy)
    except OSError as error:
        remedy = "Plug it in again; `dmesg` says what the driver met."
        return Finding(f"camera {path}", "broken", None, f"it cannot be opened: {error.strerror}", remedy)
    try:
        answer = fcntl.ioctl(handle, _QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:
        return None
    finally:
        os.close(handle)
    driver, card, _, version, flags, device_flags = _CAPABILITY.unpack(answer)
    if not (device_flags if flags & _HAS_DEVICE_FLAGS else flags) & _CAPTURES:
        return None
    kernel = f"{version >> 16}.{version >> 8 & 255}.{version & 255}"
    return Finding(f"camera {path}", "ok", kernel, f"{_name(card)} ({_name(driver)})")


def _name(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


def check_cache() -> Finding:
    """Whether what can be made again can be kept."""
    try:
        folder = cache_folder("engines")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except (ConfigError, OSError) as error:
        reason = (
            str(error) if isinstance(error, ConfigError) else f"cannot write into {error.filename}: {error.strerror}"
        )
        return Finding("cache", "broken", None, reason, "Name a folder that this user may write in ROADCAST_CACHE.")
    free = shutil.disk_usage(folder).free / 1e9
    detail = f"{folder.parent} is writable, {free:.0f} GB free"
    if free < LEAST_FREE_GB:
        return Finding("cache", "limited", None, detail, "Make room: `roadcast engine prune` removes old engines.")
    return Finding("cache", "ok", None, detail)


def check_model() -> Finding:
    """Whether the model of the package is the one that its card describes."""
    try:
        card = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text(encoding="utf-8"))
        found = hashlib.sha256(DEFAULT_MODEL.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        return Finding("default model", "broken", None, f"it cannot be read ({error})", "Install roadcast again.")
    if found != card.get("sha256"):
        detail = f"{DEFAULT_MODEL.name} is not the file that its card describes"
        return Finding("default model", "broken", None, detail, "Install roadcast again.")
    return Finding(
        "default model", "ok", found[:16], f"{card['id']}, {card['precision']}, {card['bytes'] / 1e6:.1f} MB"
    )
