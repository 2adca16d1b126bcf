"""What is deployed: the container file and the systemd unit name only what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from perception.config import NodeConfig
from perception.config.layers import OTHER_VARIABLES
from perception.config.node import RULES
from perception.config.toml_file import read_toml

ROOT = Path(__file__).parents[2]
CONTAINER = (ROOT / "launch" / "Containerfile").read_text()
UNIT = (ROOT / "launch" / "roadcast.service").read_text()
PROJECT = cast(dict[str, Any], read_toml(str(ROOT / "pyproject.toml"))["project"])
COMMAND = "/opt/roadcast/bin/roadcast"


def variables(text: str) -> dict[str, str]:
    """The settings that a file makes in the environment."""
    return dict(re.findall(r"(ROADCAST_[A-Z_]+)=(\S+)", text))


def test_what_is_copied_into_the_image_exists() -> None:
    lines = [line.split() for line in CONTAINER.splitlines() if line.startswith("COPY ") and "--from" not in line]
    copied = {name for line in lines for name in line[1:-1]}
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "perception"} <= copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_is_made_of_extras_that_there_are() -> None:
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", CONTAINER)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_what_is_started_is_a_command_of_the_package() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", CONTAINER, re.MULTILINE)
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert json.loads(entry) == ["roadcast", "run"]
    assert start == f"{COMMAND} run"
    assert "roadcast" in PROJECT["scripts"]
    assert Path(COMMAND).parent.as_posix() in CONTAINER


@pytest.mark.parametrize("text", [CONTAINER, UNIT], ids=["container", "unit"])
def test_the_environment_holds_settings_that_fit(text: str) -> None:
    found = variables(text)
    assert found
    settings = {
        name.removeprefix("ROADCAST_").lower(): value for name, value in found.items() if name not in OTHER_VARIABLES
    }
    assert set(settings) <= set(RULES)
    NodeConfig(source="0", **{name: RULES[name].read(value) for name, value in settings.items()})


def test_the_health_check_asks_where_the_metrics_are_served() -> None:
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (.*)$", CONTAINER, re.MULTILINE)
    assert f"http://{variables(CONTAINER)['ROADCAST_METRICS']}/healthz" in json.loads(check)[2]
    compile(json.loads(check)[2], "HEALTHCHECK", "exec")
