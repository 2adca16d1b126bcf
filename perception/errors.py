"""Every error that roadcast raises on purpose, as one tree.

    RoadcastError                    exit code 3: something outside failed
    ├── RequestError                 exit code 2: what was asked for cannot be done
    │   ├── ConfigError              a wrong or impossible setting, flag or configuration file
    │   ├── SourceNotFound           no such file, folder, device or address scheme
    │   ├── EngineUnavailable        no such engine, or its library is not installed
    │   └── ModelError               a model file that is missing or breaks the graph contract
    ├── SourceError                  a camera or file that exists but cannot be read, or ended early
    ├── EngineError                  an engine failed while it was running
    ├── EndpointError                a socket could not be bound or connected
    ├── ControlError                 a node could not do what it was asked for over its control socket
    ├── OutputError                  a file that cannot be written: disk full, no permission
    ├── WireError                    bytes that are not a message of the protocol
    ├── Timeout                      nothing arrived in the time allowed
    │   └── Stale                    something arrived, but it was older than allowed
    └── ShapeError                   an array without the dtype or shape its field promises (also a ValueError)

Each message says what was wrong, what was found and what to do.
"""

from __future__ import annotations

import errno

# Of an OSError: the disk is full or broken.
STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class RoadcastError(Exception):
    """Base of all errors raised on purpose. ``exit_code`` is what a command ends with."""

    exit_code = 3


class RequestError(RoadcastError):
    """What was asked for cannot be done."""

    exit_code = 2


class ConfigError(RequestError):
    """A setting, flag or configuration file is wrong or impossible."""


class SourceNotFound(RequestError):
    """No file, folder, device or address scheme of that name."""


class EngineUnavailable(RequestError):
    """No engine of that name, or the library it needs is not installed."""


class ModelError(RequestError):
    """A model file is missing, unreadable or breaks the graph contract."""


class SourceError(RoadcastError):
    """A camera or file exists but cannot be read, or ended before it should."""


class EngineError(RoadcastError):
    """An engine failed while it was running."""


class EndpointError(RoadcastError):
    """A socket could not be bound or connected."""


class ControlError(RoadcastError):
    """A node did not do what it was asked for over its control socket."""


class OutputError(RoadcastError):
    """A file cannot be written."""


class WireError(RoadcastError):
    """The bytes received are not a message of this protocol."""


class Timeout(RoadcastError):
    """Nothing arrived within the time allowed."""


class Stale(Timeout):
    """Something arrived, but it was older than the caller allows."""


class ShapeError(RoadcastError, ValueError):
    """An array does not have the dtype or shape that its field promises."""
