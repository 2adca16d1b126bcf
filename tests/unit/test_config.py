"""Configuration in layers: which one wins, and how a wrong value is named."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from perception.config import RULES, NodeConfig, load_config, nearest, read_layers
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
        (
            "xyzzy = 3",
            "there is no setting 'xyzzy'. Known are: allow, batch, calibration, camera, control, curve_secret,",
        ),
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


@pytest.mark.parametrize("refine", [{}, {"refine": "crf-reference"}])
def test_a_weight_is_of_the_fast_crf_alone(refine: dict[str, str]) -> None:
    assert load_config({"source": "0", "refine": "crf", "refine_weight": "1"}, environment={}).refine_weight == 1
    with pytest.raises(ConfigError, match=r"--refine-weight is of --refine crf: give both, or neither\."):
        load_config({"source": "0", "refine_weight": "1", **refine}, environment={})


def test_a_config_made_in_python_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"slots must be a whole number from 1 to 16; got 0\."):
        NodeConfig(source="0", slots=0)


def test_nearest_names_one_or_all() -> None:
    assert nearest("engin", ["engine", "frames"]) == "Did you mean 'engine'?"
    assert nearest("q", ["engine", "frames"]) == "Known are: engine, frames."


TWO_CAMERAS = """
stall_timeout = 2
open_timeout = 4
[[camera]]
stream = "front"
source = "rtsp://10.0.0.1/live"
[[camera]]
stream = "rear"
source = "rear.mp4"
stall_timeout = 1.5
give_up = 60
"""


def test_tables_of_cameras_inherit_what_stands_above_them(tmp_path: Path) -> None:
    file = write(tmp_path, TWO_CAMERAS)
    config = load_config({}, file=file, environment={})
    front, rear = config.cameras
    assert (front.stream, front.source, front.stall_timeout, front.open_timeout) == (
        "front",
        "rtsp://10.0.0.1/live",
        2.0,
        4.0,
    )
    assert (rear.stream, rear.stall_timeout, rear.open_timeout, rear.give_up) == ("rear", 1.5, 4.0, 60.0)
    assert front.give_up is None
    louder = load_config({"stall_timeout": "9"}, file=file, environment={"ROADCAST_OPEN_TIMEOUT": "8"})
    assert [(camera.stall_timeout, camera.open_timeout) for camera in louder.cameras] == [(9.0, 8.0)] * 2


def test_a_node_without_tables_has_one_camera() -> None:
    config = load_config({"source": "drive.mp4", "stream": "left", "give_up": "never"}, environment={})
    assert [(camera.source, camera.stream, camera.give_up) for camera in config.cameras] == [
        ("drive.mp4", "left", None)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[camera]]\nstream = "a"', "camera 1 has no source. Give it one."),
        ('[[camera]]\nsource = "0"\nstraem = "a"', "camera 1: there is no setting 'straem'. Did you mean 'stream'?"),
        ('[[camera]]\nsource = "0"\nframes = 3', "'frames' is a setting of the whole node: write it above"),
        ('[[camera]]\nsource = "0"\n[[camera]]\nsource = "1"', "Two cameras have the stream 'front'"),
        ('source = "0"\n[[camera]]\nsource = "1"', "and [[camera]] tables exclude each other"),
        ('[camera]\nsource = "1"', "cameras are tables; begin each with a line [[camera]]."),
        ('[[camera]]\nsource = "0"\nregion = [0, 0, 2, 1]', "camera 1: region must be a box [x0, y0, x1, y1]"),
        ('[[camera]]\nsource = "0"\nregion = [0.5, 0, 0.5, 1]', "region must be a box"),
        ('[[camera]]\nsource = "0"\nregion = [[0, 0], [1, 1]]', "polygon of at least three corners"),
        ('[[camera]]\nsource = "0"\ngive_up = "soon"', "give_up must be a number of seconds from 0"),
        ('[[camera]]\nsource = "0"\ntransport = "ftp"', "transport must be one of tcp, udp"),
        ('[[camera]]\nsource = "0"\n[camera.calibration]\nk = [1, 2]', "calibration must be a table with k"),
        ('[[camera]]\nsource = "0"\n[camera.calibration]\nk = [-1, 1, 0, 0]', "calibration must be a table with k"),
        ('[[camera]]\nsource = "0"\n[camera.calibration]\nfx = 1', "A calibration has no 'fx'."),
        (
            '[[camera]]\nsource = "0"\n[[camera]]\nsource = "1"\nstream = "b"\ncalibration = "/no.toml"',
            "camera 2: calibration: Cannot read the calibration file '/no.toml': No such file",
        ),
    ],
)
def test_a_wrong_camera_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config({}, file=write(tmp_path, text), environment={})


def test_a_calibration_that_is_not_there_is_called_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"Cannot read the calibration file 'nope.toml': No such file"):
        load_config({"source": "0", "calibration": "nope.toml"}, environment={})


def test_a_calibration_is_handed_on_as_it_is(tmp_path: Path) -> None:
    text = "k = [900, 910.5, 640, 360]\ndistortion = [0.1, 0, 0, 0]\nsize = [1280, 720]\n"
    text += "mount = { translation = [1.5, 0, 1.2], rotation = [0, -2, 0] }\n"
    wanted = {
        "k": [[900.0, 0.0, 640.0], [0.0, 910.5, 360.0], [0.0, 0.0, 1.0]],
        "distortion": [0.1, 0.0, 0.0, 0.0],
        "size": [1280, 720],
        "mount": {"translation": [1.5, 0.0, 1.2], "rotation": [0.0, -2.0, 0.0]},
    }
    calibration = tmp_path / "front.toml"
    calibration.write_text(text)
    by_name = load_config({"source": "0", "calibration": str(calibration)}, environment={})
    as_table = load_config({"source": "0"}, file=write(tmp_path, f"[calibration]\n{text}"), environment={})
    for config in (by_name, as_table):
        assert config.cameras[0].calibration is not None
        assert config.cameras[0].calibration.to_wire() == wanted
    rows = "[calibration]\nk = [[900, 0, 640], [0, 910.5, 360], [0, 0, 1]]"
    (camera,) = load_config({"source": "0"}, file=write(tmp_path, rows), environment={}).cameras
    assert camera.calibration is not None
    assert camera.calibration.to_wire()["k"] == wanted["k"]


def test_regions_are_boxes_or_polygons_in_files_and_on_the_command_line(tmp_path: Path) -> None:
    box = ((0.0, 0.25), (1.0, 0.25), (1.0, 1.0), (0.0, 1.0))
    assert load_config({"source": "0", "region": "0,0.25,1,1"}, environment={}).region == box
    assert load_config({"source": "0"}, file=write(tmp_path, "region = [0, 0.25, 1, 1]"), environment={}).region == box
    assert load_config({"source": "0", "ego_hood": "hood.png"}, environment={}).ego_hood == "hood.png"
    triangle = ((0.0, 1.0), (0.5, 0.75), (1.0, 1.0))
    assert load_config({"source": "0", "ego_hood": "0,1,0.5,0.75,1,1"}, environment={}).ego_hood == triangle


def test_every_value_keeps_its_origin(tmp_path: Path) -> None:
    file = write(tmp_path, "frames = 3\n" + TWO_CAMERAS)
    layers = read_layers({"pace": "real"}, file=file, environment={"ROADCAST_SLOTS": "2"})
    settings = layers.settings()
    assert (settings["frames"].layer, settings["frames"].where) == ("file", file)
    assert (settings["slots"].layer, settings["slots"].where) == ("environment", "ROADCAST_SLOTS")
    assert (settings["pace"].layer, settings["pace"].where) == ("flag", "--pace")
    assert settings["engine"].layer == "default"
    assert "source" not in settings, "each camera has its own"
    assert layers.cameras()[1]["stall_timeout"].value == 1.5


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "farmes = 3\nslots = 0\n[[camera]]\nstraem = 'a'\n")
    layers = read_layers({}, file=file, environment={"ROADCAST_PACE": "fast"})
    assert len(layers.problems) == 5
