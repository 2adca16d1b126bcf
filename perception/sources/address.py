"""Addresses of sources as a user may see them: passwords and keys are taken out."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
HIDDEN = "***"

_SECRET_NAME = (
    r"(?:pass|passwd|password|pwd|token|key|apikey|api_key|access_token|auth|secret|sig|signature|user|usr|login)"
)
_SECRET = re.compile(rf"(?i)([?&;]{_SECRET_NAME}=)[^&;#\s'\"]*")
# One slash will do: an address that was taken for a path has lost the other.
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://?)[^/?#\s'\"]*@")


def scheme_of(uri: str) -> str | None:
    """The scheme in lower case, ``rtsp`` for ``rtsp://...``; None for paths and camera indices."""
    match = SCHEME.match(uri)
    return match.group(1).lower() if match else None


def redact(text: str) -> str:
    """The text with user names, passwords and secret query values of every URL in it replaced by ``***``."""
    return _SECRET.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", text))


def without_credentials(message: str, uri: str) -> str:
    """A message from a library about ``uri``, redacted, even where it quotes the password by itself."""
    message = redact(message)
    for secret in _secrets(uri):
        message = message.replace(secret, HIDDEN)
    return message


def _secrets(uri: str) -> list[str]:
    try:
        parts = urlsplit(uri)
        found = [parts.password] if parts.password else []
    except ValueError:  # not a URL that Python can split; redact() has done what can be done
        return []
    return [secret for secret in found if len(secret) > 3]
