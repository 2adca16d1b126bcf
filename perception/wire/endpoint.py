"""Endpoints: which are well formed, which stay on this machine, and how a socket is bound to one."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket as plain_socket
import stat
from pathlib import Path
from typing import Literal

import zmq

from perception.errors import ConfigError, EndpointError

_TCP = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:/\[\]]+)):(\d{1,5}|\*)")
MAX_IPC_PATH = 107  # bytes of sockaddr_un.sun_path without its end
IPC_MODE = 0o660
# By TCP's own probes a host that is silent for 30 s is gone. ZMTP's heartbeats are not for a socket whose queue of what
# comes in can be full: if a connection breaks then, the next one ends the process by an assertion (libzmq issue 4364).
KEEPALIVE = {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 10, zmq.TCP_KEEPALIVE_INTVL: 5, zmq.TCP_KEEPALIVE_CNT: 4}


def transport_of(endpoint: str) -> Literal["tcp", "ipc"]:
    """``tcp`` or ``ipc``; ConfigError unless the endpoint is ``tcp://host:port`` or ``ipc://path``."""
    if endpoint.startswith("ipc://"):
        path = endpoint[len("ipc://") :]
        if not path or len(os.fsencode(path)) > MAX_IPC_PATH:
            raise ConfigError(
                f"{endpoint!r} needs a path of 1 to {MAX_IPC_PATH} bytes, for example ipc:///tmp/roadcast."
            )
        return "ipc"
    found = _TCP.fullmatch(endpoint)
    if not found or (found[3] != "*" and int(found[3]) > 65535):
        raise ConfigError(f"{endpoint!r} is not an endpoint: give tcp://host:port (port 1..65535) or ipc://path.")
    return "tcp"


def is_loopback(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    found = _TCP.fullmatch(endpoint)
    if not found:
        return endpoint.startswith("ipc://")
    host = _host(endpoint)
    return host == "localhost" or (_is_numeric(host) and ipaddress.ip_address(host).is_loopback)


def _host(endpoint: str) -> str:
    found = _TCP.fullmatch(endpoint)
    return (found[1] or found[2]) if found else ""


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_known(host: str) -> bool:
    """Whether this is a number, every address (``*``), or a name that this machine has by itself."""
    interfaces = {name for _, name in plain_socket.if_nameindex()}
    return host == "*" or _is_numeric(host) or host in interfaces | {plain_socket.gethostname()}


def _is_here(host: str) -> bool:
    """False for a number that is no address of this machine; binding a socket to any free port of it tells."""
    if not _is_numeric(host):
        return True
    family = plain_socket.AF_INET6 if ":" in host else plain_socket.AF_INET
    try:
        with plain_socket.socket(family, plain_socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def ipc_file(endpoint: str) -> Path | None:
    """The file of an ipc endpoint; None for others and for abstract names (``ipc://@name``)."""
    path = endpoint.removeprefix("ipc://")
    return None if path == endpoint or path.startswith("@") else Path(path)


def check_bindable(endpoint: str, *, insecure: bool, guarded: bool = False) -> None:
    """Find out what can be known before a socket is bound, without looking up any name.

    Args:
        insecure: others may reach it, and read without keys.
        guarded: only those with allowed keys can read (CURVE), wherever they are.

    Raises:
        ConfigError: not an endpoint, no folder for its file, a file in its place, no known host of this
            machine, reachable from other machines without ``insecure`` or ``guarded``, or both of these.
        EndpointError: not an address of this machine.
    """
    transport_of(endpoint)
    if insecure and guarded:
        raise ConfigError("--insecure lets everybody in, --curve-secret only clients with keys: leave one of them out.")
    path = ipc_file(endpoint)
    if path is not None:
        _check_place(endpoint, path)
    if is_loopback(endpoint):
        return
    host = _host(endpoint)
    if not _is_known(host) and not insecure:
        raise ConfigError(
            f"{endpoint!r} names no host that is known to be this machine: publish to tcp://127.0.0.1:PORT or to "
            "ipc://PATH, or to an address of this machine with keys (--curve-secret and --allow)."
        )
    if not _is_here(host):
        raise _not_here(endpoint)
    if not (insecure or guarded):
        raise ConfigError(
            f"{endpoint!r} can be reached from other machines, and the stream is neither encrypted nor restricted. "
            "Give keys (--curve-secret and --allow), bind 127.0.0.1 or an ipc:// path, or say --insecure."
        )


def bind(socket: zmq.Socket[bytes], endpoint: str, *, insecure: bool, guarded: bool = False) -> str:
    """Bind a socket and return the endpoint as it was bound (a port of ``*`` becomes a number).

    Raises:
        ConfigError, EndpointError: as ``check_bindable``, or the endpoint is in use.
    """
    check_bindable(endpoint, insecure=insecure, guarded=guarded)
    path = ipc_file(endpoint)
    if path is not None:
        _clear_stale(endpoint, path)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    # libzmq creates the file of an ipc endpoint here and now, in this thread.
    umask = os.umask(0o777 & ~IPC_MODE)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise _cannot_bind(endpoint, error) from error
    finally:
        os.umask(umask)
    return endpoint if path is not None else socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _cannot_bind(endpoint: str, error: zmq.ZMQError) -> EndpointError:
    if error.errno == errno.EADDRINUSE:
        return EndpointError(f"{endpoint} is in use by another program: stop that one, or publish to another endpoint.")
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return _not_here(endpoint)
    return EndpointError(f"Cannot publish to {endpoint}: {error.strerror.lower()}.")


def _not_here(endpoint: str) -> EndpointError:
    return EndpointError(
        f"{endpoint} is not an address of this machine: publish to tcp://127.0.0.1:PORT or to ipc://PATH."
    )


def _check_place(endpoint: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigError(f"Cannot publish to {endpoint}: there is no folder {str(path.parent)!r}.")
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigError(
            f"Cannot publish to {endpoint}: {str(path)!r} exists and is not a socket; choose another path."
        )


def _clear_stale(endpoint: str, path: Path) -> None:
    """Remove the socket that a killed node left behind. libzmq would remove that of a living one, too."""
    if not path.exists():
        return
    with plain_socket.socket(plain_socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise EndpointError(f"Cannot publish to {endpoint}: {error.strerror}.") from error
    raise EndpointError(f"{endpoint} is in use by another program: stop that one, or publish to another endpoint.")
