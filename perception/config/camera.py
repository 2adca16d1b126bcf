"""What a node is told about one camera, file or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from perception.config.geometry import Calibration, Polygon, calibration, polygon, polygon_or_file
from perception.config.rules import Rule, checked, number, one_of, seconds_or_never, switch, text

Transport = Literal["tcp", "udp"]
DAY_S = 86400.0

CAMERA_RULES: Mapping[str, Rule] = {
    "source": text("a file, folder, pattern, camera index or address", r".+"),
    "stream": text("a name of letters, digits, '-' and '_', at most 64", r"[A-Za-z0-9_-]{1,64}"),
    "open_timeout": number(0.1, 3600),
    "stall_timeout": number(0.1, 3600),
    "wait_for_camera": switch(optional=True),
    "give_up": seconds_or_never(365 * DAY_S),
    "retry_pause": number(0.01, 3600),
    "transport": one_of(*get_args(Transport)),
    "calibration": calibration(),
    "region": polygon(),
    "ego_hood": polygon_or_file(),
}


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Where one stream comes from, and what is known about it. Times are in seconds.

    Raises:
        ConfigError: a value does not fit its setting.
    """

    source: str  # what to watch: drive.mp4, frames/*.png, 0, rtsp://...
    stream: str = "front"  # first part of every topic
    open_timeout: float = 10.0  # of a camera: how long connecting may take
    stall_timeout: float = 5.0  # connected, but no frame for so long, or three periods: it has frozen
    wait_for_camera: bool | None = None  # one that is not there at the start; None: wait, but not for a missing device
    give_up: float | None = None  # away for so long, the stream ends; None: never, 0: at once
    retry_pause: float = 3.0  # longest pause between two attempts to connect
    transport: Transport = "tcp"  # of RTSP; udp loses pictures where packets are lost
    calibration: Calibration | None = None  # handed on in meta
    region: Polygon | None = None  # what lies outside is void
    ego_hood: Polygon | str | None = None  # what of the vehicle itself is in the picture is void

    def __post_init__(self) -> None:
        check_fields(self, CAMERA_RULES)


def check_fields(config: object, rules: Mapping[str, Rule]) -> None:
    """Check every setting of a frozen configuration and put what its rule makes of it in its place."""
    for name, rule in rules.items():
        object.__setattr__(config, name, checked(rule.check, getattr(config, name), rule, name))
