"""Where a node's control socket is, when nobody says: a folder that only its user can enter, a file for each node."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perception.config import NodeConfig
from perception.errors import ConfigError, EndpointError
from perception.wire.endpoint import MAX_IPC_PATH, check_bindable

AUTO, NONE = "auto", "none"  # values of the setting ``control`` that are no endpoints
SUFFIX = ".ctl"
SYSTEM_FOLDER = Path("/run/roadcast")  # of a node that systemd started (RuntimeDirectory=roadcast)
_NAME_LENGTH = 32


def check_control(config: NodeConfig, *, guarded: bool) -> None:
    """Find out early what can be known about the control endpoint. Raises ConfigError and EndpointError."""
    if config.control not in (AUTO, NONE):
        with told_of_control():
            check_bindable(config.control, insecure=config.insecure, guarded=guarded)


@contextmanager
def told_of_control() -> Iterator[None]:
    """Say of an endpoint's errors which endpoint it was."""
    try:
        yield
    except (ConfigError, EndpointError) as error:
        raise type(error)(f"The control socket: {error}") from error


def run_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for sockets: that of the service manager, of the session, or one of this user's in /tmp."""
    if environment.get("RUNTIME_DIRECTORY"):
        return Path(environment["RUNTIME_DIRECTORY"].partition(":")[0])
    if environment.get("XDG_RUNTIME_DIR"):
        return Path(environment["XDG_RUNTIME_DIR"]) / "roadcast"
    return Path(tempfile.gettempdir()) / f"roadcast-{os.getuid()}"


def own_endpoint(publish: str, environment: Mapping[str, str] = os.environ) -> str:
    """The control endpoint of the node that publishes there; its folder is made where it is missing.

    Raises:
        ConfigError: the folder cannot be made, or others could put something into it.
    """
    folder = run_folder(environment)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(f"There is no place for a control socket: {str(folder)!r}: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"There is no place for a control socket: others could put something into {str(folder)!r}.")
    name = re.sub(r"[^A-Za-z0-9]+", "-", publish)[-_NAME_LENGTH:].strip("-")
    unique = f"{hashlib.sha256(os.fsencode(publish)).hexdigest()[:8]}{SUFFIX}"
    path = folder / f"{name}-{unique}"
    return f"ipc://{path if len(os.fsencode(path)) <= MAX_IPC_PATH else folder / unique}"


def find_endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """The control endpoint of the one node that runs here.

    Raises:
        EndpointError: there is none, or there are several.
    """
    folders = list(dict.fromkeys((run_folder(environment), SYSTEM_FOLDER)))
    found = [str(path) for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}")) if _is_alive(path)]
    if not found:
        raise EndpointError(
            f"No node with a control socket was found in {' or '.join(map(str, folders))}. Is one running? "
            "Name its control endpoint with --control."
        )
    if len(found) > 1:
        listed = ", ".join(f"ipc://{path}" for path in found)
        raise EndpointError(f"{len(found)} nodes run here. Name one of them with --control: {listed}.")
    return f"ipc://{found[0]}"


def _is_alive(path: Path) -> bool:
    """Whether somebody listens there; a killed node leaves its file behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTSOCK)
