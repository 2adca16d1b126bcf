"""The control socket of a node while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from perception.control.commands import Control
from perception.control.place import AUTO, NONE, own_endpoint, told_of_control
from perception.control.socket import ControlSocket
from perception.errors import ConfigError, EndpointError
from perception.node import Node
from perception.summary import Status
from perception.terminal import NO_CONTROL
from perception.wire.curve import ServerKeys


@contextmanager
def controlled(node: Node, status: Callable[[], Status]) -> Iterator[tuple[Callable[[], None], str]]:
    """While inside, what the publishing thread calls often, and the endpoint, or a sentence on why there is none.

    The node's own place (``auto``) is a convenience: where it cannot be had, the node runs without.

    Raises:
        ConfigError, EndpointError: the control socket cannot be bound where the configuration says.
    """
    config = node.config
    if config.control == NONE:
        yield lambda: None, ""
        return
    try:
        with told_of_control():
            socket = _bound(node)
    except (ConfigError, EndpointError) as error:
        if config.control != AUTO:
            raise
        yield lambda: None, f"{NO_CONTROL}{error}"
        return
    with closing(Control(socket, node, status)) as control:
        yield control.poll, socket.endpoint


def _bound(node: Node) -> ControlSocket:
    config = node.config
    if config.control == AUTO:  # a folder that only this user can write to stands in for keys
        return ControlSocket(own_endpoint(node.publisher.endpoint))
    keys = ServerKeys.load(config.curve_secret, config.allow)
    return ControlSocket(config.control, insecure=config.insecure, keys=keys)
