"""CURVE key files: made, read, and refused where others could read a secret.

The format is that of ZeroMQ certificates (``zmq.auth``, CZMQ), so that keys made elsewhere will do: ``NAME.key`` holds
the public key and may be given to anybody, ``NAME.key_secret`` holds both and stays with its owner, mode 0600.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth import load_certificate

from perception.errors import ConfigError, OutputError

PUBLIC_SUFFIX, SECRET_SUFFIX = ".key", ".key_secret"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_Z85 = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAKE = "Make keys with 'roadcast keys gen NAME'."


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One side's own keys, 40 characters of Z85 each. The secret never shows in a repr."""

    public: bytes
    secret: bytes = field(repr=False)


def generate(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a pair of keys; returns the files of the public (0644) and of the secret key (0600).

    Raises:
        ConfigError: a name that is no file name, no such folder, or one of the files exists.
        OutputError: a file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name keys: give 1 to 64 letters, digits, '-', '_' and '.'.")
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {str(folder)!r} for the keys: make it first, or name another with -o.")
    public, secret = folder / f"{name}{PUBLIC_SUFFIX}", folder / f"{name}{SECRET_SUFFIX}"
    for path in (public, secret):
        if os.path.lexists(path):
            raise _exists(path)
    keys = KeyPair(*zmq.curve_keypair())
    _write_new(secret, _text("secret: keep it, and keep its mode 0600", keys.public, keys.secret), 0o600)
    try:
        _write_new(public, _text("public: give it to the other side", keys.public), 0o644)
    except BaseException:
        secret.unlink()
        raise
    return public, secret


def load_pair(path: Path) -> KeyPair:
    """The keys of a secret file. Raises ConfigError where it is missing, wrong, or others may read it."""
    _check_file(path, "secret key")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise ConfigError(
            f"The secret key {str(path)!r} can be read by others (mode {mode:04o}): run chmod 600 {path}, and make new "
            "keys if somebody may have read it."
        )
    public, secret = _load(path)
    if secret is None:
        raise ConfigError(f"{str(path)!r} holds a public key only: give the file that ends in {SECRET_SUFFIX}.")
    if zmq.curve_public(secret) != public:
        raise ConfigError(f"The public and the secret key in {str(path)!r} do not belong together. {_MAKE}")
    return KeyPair(public, secret)


def load_public(path: Path) -> bytes:
    """The public key of a key file. Raises ConfigError where it is missing or wrong."""
    _check_file(path, "public key")
    return _load(path)[0]


def load_allowed(path: Path) -> frozenset[bytes]:
    """The public keys of an allow-list: all ``*.key`` files of a folder, one key file, or a list.

    A list has a public key at the start of each line, and behind it what people want to know. A line that begins
    with a lone ``#`` is a comment: a key may contain that character, too.

    Raises:
        ConfigError: there is no such file, or a line or file of it is no key. One that is wrong is never skipped:
            who believes to have allowed or removed somebody shall hear of it.
    """
    if path.is_dir():
        return frozenset(load_public(file) for file in sorted(path.glob(f"*{PUBLIC_SUFFIX}")))
    _check_file(path, "allow-list")
    lines = [line.split() for line in _read(path).splitlines()]
    if any(words and words[0] in (b"curve", b"metadata") for words in lines):
        return frozenset({load_public(path)})
    found = {words[0]: number for number, words in enumerate(lines, start=1) if words and words[0] != b"#"}
    for key, number in found.items():
        if not _Z85.fullmatch(key):
            raise ConfigError(f"{path}, line {number}: this is no public key of 40 characters. {_MAKE}")
    return frozenset(found)


def _check_file(path: Path, what: str) -> None:
    if not path.is_file():
        raise ConfigError(f"There is no {what} {str(path)!r}. {_MAKE}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {str(path)!r}: {error.strerror}.") from error


def _load(path: Path) -> tuple[bytes, bytes | None]:
    _read(path)
    try:
        public, secret = load_certificate(path)
    except ValueError:
        raise ConfigError(f"{str(path)!r} holds no CURVE key. {_MAKE}") from None
    if not all(_Z85.fullmatch(key) for key in (public, secret) if key is not None):
        raise ConfigError(f"A key in {str(path)!r} is not 40 characters of Z85. {_MAKE}")
    return public, secret


def _text(what: str, public: bytes, secret: bytes | None = None) -> str:
    lines = [f"# CURVE key of roadcast, {what}.", "metadata", "curve", f'    public-key = "{public.decode()}"']
    if secret is not None:
        lines.append(f'    secret-key = "{secret.decode()}"')
    return "\n".join(lines) + "\n"


def _write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that must not exist yet. A link appears whole, and fails where there is something."""
    try:
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as error:
        raise OutputError(f"Cannot write {str(path)!r}: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.link(part, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise OutputError(f"Cannot write {str(path)!r}: {error.strerror}.") from error
    finally:
        Path(part).unlink()


def _exists(path: Path) -> ConfigError:
    return ConfigError(
        f"{str(path)!r} exists, and keys are never overwritten: choose another name, or move that file away."
    )
