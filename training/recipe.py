"""A run's settings from all layers: defaults < recipe (TOML) < environment (``ROADCAST_TRAIN_EPOCHS=5``) < flags."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

from perception.config.layers import TRAINING_PREFIX, flag_of
from perception.config.rules import Rule, checked, nearest
from perception.config.toml_file import read_toml
from perception.errors import ConfigError
from training.settings import RULES, FitConfig


def load_settings(
    flags: Mapping[str, str | Sequence[str]],
    *,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> FitConfig:
    """The settings of one run; later layers win, and a list given later takes the place of an earlier one.

    Args:
        flags: texts from the command line by setting, only those that were given; ``data`` and ``score`` are lists.
        file: a recipe, whose keys are the settings.
        environment: variables to read, by default those of the process.

    Raises:
        ConfigError: an unknown key, a wrong value, a recipe that cannot be read, or no folder for the run.
    """
    variables = os.environ if environment is None else environment
    return FitConfig(**cast(Any, layered(RULES, flags, file=file, environment=variables, prefix=TRAINING_PREFIX)))


def layered(
    rules: Mapping[str, Rule],
    flags: Mapping[str, str | Sequence[str]],
    *,
    file: str | None,
    environment: Mapping[str, str],
    prefix: str,
) -> dict[str, object]:
    """The checked values of all settings that some layer gives, ``out`` among them.

    Raises:
        ConfigError: as ``load_settings``.
    """
    values: dict[str, object] = {}
    if file is not None:
        for key, value in read_toml(file).items():
            if key not in rules:
                raise ConfigError(f"{file}: there is no setting {key!r}. {nearest(key, rules)}")
            # What a flag replaces is not looked at: a recipe may name a folder that this machine does not have.
            if key not in flags:
                values[key] = checked(rules[key].check, value, rules[key], f"{file}: {key}")
    values |= _from_environment(rules, environment, prefix)
    for name, given in flags.items():
        rule = rules[name]
        values[name] = checked(rule.read if isinstance(given, str) else rule.check, given, rule, flag_of(name))
    if "out" not in values:
        raise ConfigError("No folder for the run was given: name one with --out, or as 'out' in the recipe.")
    return values


def _from_environment(rules: Mapping[str, Rule], variables: Mapping[str, str], prefix: str) -> dict[str, object]:
    known = {prefix + name.upper(): name for name in rules}
    values: dict[str, object] = {}
    for variable, text in variables.items():
        if not variable.startswith(prefix):
            continue
        if variable not in known:
            raise ConfigError(f"The environment sets {variable}, which is no setting. {nearest(variable, known)}")
        rule = rules[known[variable]]
        values[known[variable]] = checked(rule.read, text, rule, variable)
    return values
