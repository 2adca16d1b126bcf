"""Layers of settings: defaults < file < environment (``ROADCAST_FRAMES=200``) < command line.

Every value is checked where it came from, so that an error names the file and key, the variable or the flag,
and each keeps its origin, so that a user can be told who said what.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, cast

from perception.config.camera import CAMERA_RULES, CameraConfig
from perception.config.node import RULES, NodeConfig, check_names
from perception.config.rules import Rule, checked, nearest
from perception.config.toml_file import read_toml
from perception.errors import ConfigError

ENV_PREFIX = "ROADCAST_"
# Variables of that prefix that are no settings of a node.
OTHER_VARIABLES = frozenset({"ROADCAST_CONFIG", "ROADCAST_DATA", "ROADCAST_CACHE", "ROADCAST_RESTARTS"})
# Settings of training runs, which a node lets pass.
TRAINING_PREFIX, RESTORING_PREFIX = "ROADCAST_TRAIN_", "ROADCAST_RESTORE_"
CAMERA_TABLES = "camera"
OWN_SETTINGS = frozenset({"source", "stream"})  # of each camera; the others may stand above the tables for all of them

Layer = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and who gave it: ``where`` is the file, variable or flag, empty for a default."""

    value: object
    layer: Layer
    where: str = ""


@dataclass
class Layers:
    """What was given, in all layers, the winner of each setting; and all that is wrong with it."""

    given: dict[str, Setting] = field(default_factory=dict)
    tables: list[dict[str, Setting]] = field(default_factory=list)  # one a camera, as far as there are tables
    unusable: list[int] = field(default_factory=list)  # positions of tables without a source or a name of their own
    problems: list[ConfigError] = field(default_factory=list)

    def take(self, rule: Rule, value: object, layer: Layer, where: str, key: str) -> Setting | None:
        """Check a value of a setting; a wrong one becomes a problem."""
        convert = rule.check if layer == "file" else rule.read
        try:
            return Setting(checked(convert, value, rule, key), layer, where)
        except ConfigError as problem:
            self.problems.append(problem)
            return None

    def settings(self) -> dict[str, Setting]:
        """Every setting of the node, defaults included; with tables, without those of single cameras."""
        own = set(CAMERA_RULES) if self.tables else set()
        return {
            name: self.given.get(name, Setting(default, "default"))
            for name, default in _defaults(NodeConfig).items()
            if name not in own | {CAMERA_TABLES}
        }

    def cameras(self) -> list[dict[str, Setting]]:
        """Every setting of every camera that has a table."""
        return [self._camera(table) for table in self.tables]

    def config(self) -> NodeConfig:
        """The configuration. Raises ConfigError for the first problem."""
        if self.problems:
            raise self.problems[0]
        return self._built(self.cameras())

    def sound(self) -> NodeConfig | None:
        """The configuration without all that is wrong; None where nothing is left that could be watched."""
        cameras = [camera for position, camera in enumerate(self.cameras()) if position not in self.unusable]
        if not cameras and (self.tables or "source" not in self.given):
            return None
        try:
            return self._built(cameras)
        except ConfigError:  # a problem that was told, or that comes of what was left out
            return None

    def _built(self, cameras: list[dict[str, Setting]]) -> NodeConfig:
        tables = tuple(CameraConfig(**_values(camera)) for camera in cameras)
        return NodeConfig(camera=tables, **_values(self.settings()))

    def _camera(self, table: Mapping[str, Setting]) -> dict[str, Setting]:
        found = {}
        for name, default in _defaults(CameraConfig).items():
            above = None if name in OWN_SETTINGS else self.given.get(name)
            if above is not None and (above.layer != "file" or name not in table):
                found[name] = above
            else:
                found[name] = table.get(name, Setting(default, "default"))
        return found


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
    return read_layers(flags, file=file, environment=environment).config()


def read_layers(
    flags: Mapping[str, str], *, file: str | None = None, environment: Mapping[str, str] | None = None
) -> Layers:
    """All layers, and what is wrong in any of them. Arguments as ``load_config``.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    variables = os.environ if environment is None else environment
    if file == "":
        raise ConfigError("--config needs the name of a TOML file; got ''.")
    path = file or variables.get("ROADCAST_CONFIG")
    layers = Layers()
    if path:
        _add_file(layers, path)
    _add_environment(layers, variables)
    for name, text in flags.items():
        _give(layers, name, RULES[name], text, "flag", flag_of(name), flag_of(name))
    _check_whole(layers)
    return layers


def flag_of(name: str) -> str:
    """The command line's name for a setting."""
    return "SOURCE" if name == "source" else "--" + name.replace("_", "-")


def _defaults(config: type[CameraConfig]) -> dict[str, object]:
    return {found.name: "" if found.default is MISSING else found.default for found in fields(config)}


def _values(settings: Mapping[str, Setting]) -> dict[str, Any]:
    return {name: setting.value for name, setting in settings.items()}


def _give(layers: Layers, name: str, rule: Rule, value: object, layer: Layer, where: str, key: str) -> None:
    setting = layers.take(rule, value, layer, where, key)
    if setting is not None:
        layers.given[name] = setting


def _add_file(layers: Layers, path: str) -> None:
    for key, value in read_toml(path).items():
        if key == CAMERA_TABLES:
            _add_tables(layers, path, value)
        elif key not in RULES:
            hint = nearest(key, RULES.keys() | {CAMERA_TABLES})
            layers.problems.append(ConfigError(f"{path}: there is no setting {key!r}. {hint}"))
        else:
            _give(layers, key, RULES[key], value, "file", path, f"{path}: {key}")


def _add_tables(layers: Layers, path: str, tables: object) -> None:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        layers.problems.append(ConfigError(f"{path}: cameras are tables; begin each with a line [[camera]]."))
        return
    names: list[str] = []
    for position, table in enumerate(cast("list[dict[str, object]]", tables), start=1):
        found: dict[str, Setting] = {}
        for key, value in table.items():
            if key not in CAMERA_RULES:
                hint = (
                    f"{key!r} is a setting of the whole node: write it above the first [[camera]]."
                    if key in RULES
                    else nearest(key, CAMERA_RULES)
                )
                layers.problems.append(ConfigError(f"{path}: camera {position}: there is no setting {key!r}. {hint}"))
                continue
            setting = layers.take(CAMERA_RULES[key], value, "file", path, f"{path}: camera {position}: {key}")
            if setting is not None:
                found[key] = setting
        if "source" not in table:
            layers.problems.append(ConfigError(f"{path}: camera {position} has no source. Give it one."))
        named = "stream" in found or "stream" not in table
        name = str(found["stream"].value) if "stream" in found else CameraConfig.stream
        if "source" not in found or not named or name in names:
            layers.unusable.append(position - 1)
        names += [name] if named else []
        layers.tables.append(found)
    try:
        check_names(names)
    except ConfigError as problem:
        layers.problems.append(problem)


def _check_whole(layers: Layers) -> None:
    """What no single setting tells: whether there is anything to watch, and whether all goes together."""
    for name in sorted(OWN_SETTINGS & layers.given.keys() if layers.tables else ()):
        where = layers.given[name].where
        layers.problems.append(
            ConfigError(f"The {name} of {where} and [[camera]] tables exclude each other: each table has its own.")
        )
    if layers.problems:
        return
    if not layers.tables and "source" not in layers.given:
        layers.problems.append(
            ConfigError(
                f"No source was given. Name it on the command line, as {ENV_PREFIX}SOURCE, "
                "or as 'source' in a configuration file."
            )
        )
        return
    try:
        layers.config()
    except ConfigError as problem:
        layers.problems.append(problem)


def _add_environment(layers: Layers, variables: Mapping[str, str]) -> None:
    known = {ENV_PREFIX + name.upper(): name for name in RULES}
    for variable, text in variables.items():
        of_training = variable.startswith((TRAINING_PREFIX, RESTORING_PREFIX))
        if not variable.startswith(ENV_PREFIX) or variable in OTHER_VARIABLES or of_training:
            continue
        if variable not in known:
            hint = nearest(variable, known.keys() | OTHER_VARIABLES)
            problem = ConfigError(f"The environment sets {variable}, which is no setting. {hint}")
            layers.problems.append(problem)
            continue
        name = known[variable]
        _give(layers, name, RULES[name], text, "environment", variable, variable)
