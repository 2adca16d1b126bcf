"""Reading a TOML file, so that every failure is one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

from perception.errors import ConfigError


def read_toml(path: str, what: str = "configuration") -> dict[str, object]:
    """The content of a TOML file, which messages call by ``what`` it holds. Raises ConfigError where it is none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the {what} file {path!r}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The {what} file {path!r} is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The {what} file {path!r} is not valid TOML: {error}.") from None
