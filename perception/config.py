"""What a node is told: one frozen value, put together from defaults, a TOML file, the environment and flags.

Later layers win: defaults < file < environment (``ROADCAST_FRAMES=200``) < command line. Every value is
checked where it came from, so that an error names the file and key, the variable or the flag.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from perception.engines.mode import DEVICES, MODES, Device, Mode
from perception.errors import ConfigError
from perception.sources.source import Pace
from perception.types import Size

Policy = Literal["wait", "drop_oldest"]
PACES: tuple[Pace, ...] = get_args(Pace)
POLICIES: tuple[Policy, ...] = get_args(Policy)

ENV_PREFIX = "ROADCAST_"
# Variables of that prefix that are no settings of a node.
OTHER_VARIABLES = frozenset({"ROADCAST_CONFIG", "ROADCAST_DATA", "ROADCAST_CACHE"})
LARGEST_SIDE = 8192  # pixels, the limit of the wire protocol
SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Rule:
    """What a setting may be, in words for the user and as two functions.

    ``read`` makes a value of text from a flag or variable; ``check`` makes one of a value from TOML or
    Python. Either raises ValueError or TypeError for what does not fit ``wanted``.
    """

    wanted: str
    read: Callable[[str], object]
    check: Callable[[object], object]


def _whole(low: int, high: int, *, optional: bool = False) -> Rule:
    def check(value: object) -> object:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Rule(f"a whole number from {low} to {high}", lambda text: check(int(text)), check)


def _number(low: float, high: float) -> Rule:
    """A number that may be left out."""

    def check(value: object) -> object:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError
        return float(value)

    return Rule(f"a number from {low:g} to {high:g}", lambda text: check(float(text)), check)


def _one_of(*names: str, optional: bool = False) -> Rule:
    def check(value: object) -> object:
        if value not in names and not (optional and value is None):
            raise ValueError
        return value

    return Rule(f"one of {', '.join(names)}", check, check)


def _text(wanted: str, pattern: str, *, optional: bool = False) -> Rule:
    def check(value: object) -> object:
        if optional and value is None:
            return None
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
            raise ValueError
        return value

    return Rule(wanted, check, check)


def _switch() -> Rule:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def check(value: object) -> object:
        if not isinstance(value, bool):
            raise TypeError
        return value

    def read(text: str) -> object:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return Rule("true or false", read, check)


def _size() -> Rule:
    def check(value: object) -> object:
        if value is None:
            return None
        if isinstance(value, str):
            return read(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if not SMALLEST_SIDE**2 <= value <= LARGEST_SIDE**2:
                raise ValueError
            return value
        width, height = cast(Iterable[object], value)
        for side in (width, height):
            if isinstance(side, bool) or not isinstance(side, int) or not SMALLEST_SIDE <= side <= LARGEST_SIDE:
                raise ValueError
        return width, height

    def read(text: str) -> object:
        sides = [int(side) for side in re.split("[xX]", text.strip())]
        return check(sides[0] if len(sides) == 1 else tuple(sides))

    wanted = f"WIDTHxHEIGHT with sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, or a number of pixels such as 147456"
    return Rule(wanted, read, check)


RULES: Mapping[str, Rule] = {
    "source": _text("a file, folder, pattern, camera index or address", r".+"),
    "stream": _text("a name of letters, digits, '-' and '_'", r"[A-Za-z0-9_-]+"),
    "publish": _text("tcp://HOST:PORT or ipc://PATH", r"tcp://\S+:(\d+|\*)|ipc://.+"),
    "insecure": _switch(),
    "pace": _one_of(*PACES),
    "rate": _number(0.1, 10_000),
    "frames": _whole(1, 2**53, optional=True),
    "policy": _one_of(*POLICIES, optional=True),
    "wait_subscribers": _whole(0, 1000),
    "model": _text("the path of a model file", r".+", optional=True),
    "engine": _text("the name of an engine, such as auto, onnxruntime or openvino", r"\S+"),
    "device": _one_of(*DEVICES),
    "mode": _one_of(*MODES, optional=True),
    "threads": _whole(1, 1024, optional=True),
    "slots": _whole(1, 16, optional=True),
    "size": _size(),
    "min_object_area": _whole(1, LARGEST_SIDE**2),
}
REQUIRED = frozenset({"source"})


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """Everything a node is told. ``None`` means: the node decides, and says what it decided.

    Raises:
        ConfigError: a value does not fit its setting.
    """

    source: str  # what to watch: drive.mp4, frames/*.png, 0, rtsp://...
    stream: str = "front"  # first part of every topic
    publish: str = "tcp://127.0.0.1:5600"  # where subscribers connect
    insecure: bool = False  # bind beyond this host without keys
    pace: Pace = "real"  # of files: as recorded, or as fast as it goes
    rate: float | None = None  # of files: frames a second in place of their own times, captured when they are due
    frames: int | None = None  # end after this many; None: at the end of the source
    policy: Policy | None = None  # towards slow subscribers; None: wait for files at full pace, else drop_oldest
    wait_subscribers: int = 0  # begin when this many are there
    model: str | None = None  # an ONNX file; None: the one that comes with the package
    engine: str = "auto"
    device: Device = "auto"
    mode: Mode | None = None  # many frames a second or each one soon; None: throughput for files at full pace
    threads: int | None = None  # cores the engine may use; None: all
    slots: int | None = None  # frames between submit and result; None: what suits the mode
    size: Size | int | None = None  # (w, h) of the network's input, or its pixel budget; None: the model's own
    min_object_area: int = 64  # pixels of a map of 1024x512, scaled to the map at hand; smaller things are no objects

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            object.__setattr__(self, name, _checked(rule.check, getattr(self, name), rule, name))
        if self.rate is not None and self.pace == "max":
            raise ConfigError("--rate paces a file, --pace max asks for none: leave one of them out.")


def load_config(
    flags: Mapping[str, str], *, file: str | None = None, environment: Mapping[str, str] | None = None
) -> NodeConfig:
    """A configuration from all layers.

    Args:
        flags: texts from the command line by setting, ``{"frames": "200"}``; only those that were given.
        file: a TOML file whose keys are the settings; without it, the one that ROADCAST_CONFIG names.
        environment: variables to read, by default those of the process.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range or a file that cannot be read.
    """
    variables = os.environ if environment is None else environment
    if file == "":
        raise ConfigError("--config needs the name of a TOML file; got ''.")
    path = file or variables.get("ROADCAST_CONFIG")
    values: dict[str, object] = {}
    if path:
        values |= _from_file(path)
    values |= _from_environment(variables)
    for name, text in flags.items():
        values[name] = _checked(RULES[name].read, text, RULES[name], flag_of(name))
    for name in REQUIRED:
        if name not in values:
            raise ConfigError(
                f"No {name} was given. Name it on the command line, as {ENV_PREFIX}{name.upper()}, "
                f"or as {name!r} in a configuration file."
            )
    return NodeConfig(**cast(Any, values))


def flag_of(name: str) -> str:
    """The command line's name for a setting."""
    return name.upper() if name in REQUIRED else "--" + name.replace("_", "-")


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known word most like ``name``, or else all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(words)}."


def _from_file(path: str) -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file {path!r}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The configuration file {path!r} is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The configuration file {path!r} is not valid TOML: {error}.") from None
    for key in table:
        if key not in RULES:
            raise ConfigError(f"{path}: there is no setting {key!r}. {nearest(key, RULES)}")
    return {key: _checked(RULES[key].check, value, RULES[key], f"{path}: {key}") for key, value in table.items()}


def _from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    known = {ENV_PREFIX + name.upper(): name for name in RULES}
    values: dict[str, object] = {}
    for variable, text in variables.items():
        if not variable.startswith(ENV_PREFIX) or variable in OTHER_VARIABLES:
            continue
        if variable not in known:
            hint = nearest(variable, known.keys() | OTHER_VARIABLES)
            raise ConfigError(f"The environment sets {variable}, which is no setting. {hint}")
        rule = RULES[known[variable]]
        values[known[variable]] = _checked(rule.read, text, rule, variable)
    return values


def _checked(convert: Callable[[Any], object], value: object, rule: Rule, where: str) -> object:
    try:
        return convert(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where} must be {rule.wanted}; got {value!r}.") from None
