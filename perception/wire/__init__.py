"""Wire protocol 1.0: what goes over the socket, byte for byte. Described in docs/protocol.md.

Reading needs only :func:`decode`; everything it can raise is :class:`perception.errors.WireError`.
"""

from perception.wire.message import Message, decode
from perception.wire.topic import CONTROL_KINDS, FRAME_KINDS, KINDS, VERSION

__all__ = ["CONTROL_KINDS", "FRAME_KINDS", "KINDS", "VERSION", "Message", "decode"]
