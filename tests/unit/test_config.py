"""Configuration in layers: which one wins, and how a wrong value is named."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from perception.config import RULES, NodeConfig, load_config, nearest
from perception.errors import ConfigError


def write(folder: Path, text: str) -> str:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_setting_has_a_rule_and_a_valid_default() -> None:
    assert [*RULES, "camera"] == [f.name for f in fields(NodeConfig)]
    assert NodeConfig(source="drive.mp4").pace == "real"


def test_later_layers_win(tmp_path: Path) -> None:
    file = write(tmp_path, 'source = "file.mp4"\nstream = "file"\npace = "max"\nslots = 3\n')
    environment = {"ROADCAST_STREAM": "env", "ROADCAST_PACE": "real", "HOME": "/"}
    config = load_config({"stream": "flag"}, file=file, environment=environment)
    assert (config.source, config.stream, config.pace, config.slots) == ("file.mp4", "flag", "real", 3)
    assert config.frames is None


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "frames = 7")
    assert load_config({"source": "0"}, environment={"ROADCAST_CONFIG": file}).frames == 7


@pytest.mark.parametrize(
    ("text", "size"), [("1024x512", (1024, 512)), ("1024X512", (1024, 512)), ("147456", 147456), (" 64x32", (64, 32))]
)
def test_a_size_is_two_sides_or_a_number_of_pixels(tmp_path: Path, text: str, size: object) -> None:
    assert load_config({"source": "0", "size": text}, environment={}).size == size
    file = write(tmp_path, f'size = "{text}"')
    assert load_config({"source": "0"}, file=file, environment={}).size == size


def test_a_size_in_toml_may_be_an_array(tmp_path: Path) -> None:
    file = write(tmp_path, "size = [1024, 512]")
    assert load_config({"source": "0"}, file=file, environment={}).size == (1024, 512)


@pytest.mark.parametrize("word", ["1", "true", "YES", "on"])
def test_switches_read_the_usual_words(word: str) -> None:
    assert load_config({"source": "0"}, environment={"ROADCAST_INSECURE": word}).insecure


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"frames": "0"}, "--frames must be a whole number from 1 to"),
        ({"frames": "ten"}, "got 'ten'"),
        ({"pace": "fast"}, "--pace must be one of real, max; got 'fast'."),
        ({"policy": "drop"}, "--policy must be one of wait, drop_oldest; got 'drop'."),
        ({"stream": "front left"}, "--stream must be a name of letters"),
        ({"publish": "localhost:5600"}, "--publish must be tcp://HOST:PORT or ipc://PATH; got 'localhost:5600'."),
        ({"wait_subscribers": "-1"}, "--wait-subscribers must be a whole number from 0"),
        ({"size": "1024x"}, "--size must be WIDTHxHEIGHT"),
        ({"size": "1024x512x3"}, "--size must be WIDTHxHEIGHT"),
        ({"size": "9000x512"}, "--size must be WIDTHxHEIGHT"),
        ({"size": "12"}, "--size must be WIDTHxHEIGHT"),
        ({"source": ""}, "SOURCE must be a file, folder"),
        ({"insecure": "perhaps"}, "--insecure must be true or false"),
    ],
)
def test_a_wrong_flag_is_named_with_what_it_may_be(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config({"source": "0"} | flags, environment={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("farmes = 3", "there is no setting 'farmes'. Did you mean 'frames'?"),
        ("xyzzy = 3", "there is no setting 'xyzzy'. Known are: batch, calibration, camera, device,"),
        ("[node]\nframes = 3", "there is no setting 'node'."),
        ('frames = "3"', "frames must be a whole number from 1"),
        ("frames = true", "frames must be a whole number from 1"),
        ("frames = 3.0", "frames must be a whole number from 1"),
        ("insecure = 1", "insecure must be true or false; got 1."),
        ("size = [1024]", "size must be WIDTHxHEIGHT"),
        ("size = [1024, true]", "size must be WIDTHxHEIGHT"),
        ("source = 0", "source must be a file, folder, pattern, camera index or address; got 0."),
        ("frames = ", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_config({"source": "0"}, file=file, environment={})
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config({}, file=str(tmp_path / "none.toml"), environment={})
    with pytest.raises(ConfigError, match="--config needs the name of a TOML file; got ''"):
        load_config({"source": "0"}, file="", environment={})
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config({}, file=str(tmp_path), environment={})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config({}, file=str(binary), environment={})


def test_an_unknown_or_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"ROADCAST_FARMES, which is no setting. Did you mean 'ROADCAST_FRAMES'\?"):
        load_config({"source": "0"}, environment={"ROADCAST_FARMES": "1"})
    with pytest.raises(ConfigError, match="ROADCAST_FRAMES must be a whole number from 1"):
        load_config({"source": "0"}, environment={"ROADCAST_FRAMES": "many"})


def test_variables_of_other_parts_are_left_alone() -> None:
    assert load_config({"source": "0"}, environment={"ROADCAST_DATA": "/data"}).source == "0"


def test_a_source_is_needed() -> None:
    with pytest.raises(ConfigError, match="No source was given"):
        load_config({}, environment={})


def test_a_config_made_in_python_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"slots must be a whole number from 1 to 16; got 0\."):
        NodeConfig(source="0", slots=0)


def test_nearest_names_one_or_all() -> None:
    assert nearest("engin", ["engine", "frames"]) == "Did you mean 'engine'?"
    assert nearest("q", ["engine", "frames"]) == "Known are: engine, frames."
