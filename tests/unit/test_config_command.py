"""``roadcast config``: what is wrong, and who said what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perception.cli.main import main


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROADCAST_SLOTS", "3")
    path = tmp_path / "node.toml"
    path.write_text('source = "rtsp://me:geheim@10.0.0.1/live"\nframes = 5\n')
    return path


def test_show_tells_the_origin_of_every_value(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", str(file), "--pace", "real"]) == 0
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["source"] == ['"rtsp://***@10.0.0.1/live"', f"file {file}"]
    assert lines["frames"] == ["5", f"file {file}"]
    assert lines["slots"] == ["3", "environment ROADCAST_SLOTS"]
    assert lines["pace"] == ['"real"', "flag --pace"]
    assert lines["model"] == ["-", "default"]


def test_show_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('frames = 5\n[[camera]]\nsource = "a.mp4"\n[camera.calibration]\nk = [1, 1, 0, 0]\n')
    assert main(["config", "show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["frames"] == {"value": 5, "origin": "file", "where": str(file)}
    assert shown["camera"][0]["source"]["value"] == "a.mp4"
    assert shown["camera"][0]["calibration"]["value"]["k"][0] == [1.0, 0.0, 0.0]
    assert shown["camera"][0]["stream"]["origin"] == "default"


def test_check_finds_nothing_or_everything(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out == "Nothing is wrong with it: rtsp://***@10.0.0.1/live.\n"
    file.write_text('souce = "0"\nslots = 99\n')
    assert main(["config", "check", str(file)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{file}: there is no setting 'souce'. Did you mean 'source'?"
    assert said[1].startswith(f"{file}: slots must be a whole number")
    assert main(["config", "check", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["valid"]
    assert found["problems"] == said


def test_check_looks_for_everything_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        'engine = "onnxruntme"\nmodel = "nope.onnx"\n'
        '[[camera]]\nsource = "nope.mp4"\n'
        '[[camera]]\nstream = "rear"\nsource = "/dev/video77"\nego_hood = "nohood.png"\n'
        '[[camera]]\nstream = "left"\nsource = "/dev/video78"\n'
    )
    assert main(["config", "check", str(path)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    for line, what in zip(said, ("no engine 'onnxruntme'", "model 'nope.onnx'", "'nope.mp4'", "nohood.png")):
        assert what in line


def test_check_tells_what_is_wrong_at_once_whatever_kind_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        'slots = 99\nmodel = "nope.onnx"\n'
        '[[camera]]\nsource = "nope.mp4"\nregon = 1\n'
        '[[camera]]\nsource = "0"\n'
        '[[camera]]\nstream = "rear"\n'
        '[[camera]]\nstream = "a/b"\nsource = "0"\n'
        '[[camera]]\nstream = "left"\nsource = "noleft.mp4"\n'
    )
    assert main(["config", "check", str(path)]) == 1
    said = capsys.readouterr().out.splitlines()
    wanted = (
        "slots must be",
        "camera 1: there is no setting 'regon'",
        "camera 3 has no source",
        "camera 4: stream must be",
        "Two cameras have the stream 'front'",
        "model 'nope.onnx'",
        "'nope.mp4'",
        "'noleft.mp4'",
    )
    assert len(said) == len(wanted), said
    for line, what in zip(said, wanted):
        assert what in line


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ('pace = "max"', "--pace max is for files alone"),
        ('policy = "wait"', "--policy wait is for files"),
        ("rate = 5", "--rate is for files"),
    ],
)
def test_check_finds_what_a_camera_cannot_do(
    settings: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.toml"
    tables = '[[camera]]\nstream = "a"\nsource = "rtsp://10.0.0.1/live"\n'
    path.write_text(f'{settings}\n{tables}[[camera]]\nsource = "synth://street"\n')
    assert main(["config", "check", str(path)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert said[0].startswith(what)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("check", "show"):
        assert main(["config", verb, str(tmp_path / "none.toml")]) == 2
        assert "Cannot read the configuration file" in capsys.readouterr().err
    assert main(["config", "check", ""]) == 2


def test_the_example_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[2] / "launch" / "cameras.toml"
    assert main(["config", "check", str(example)]) == 0, capsys.readouterr().out
    assert "/dev/video0" in capsys.readouterr().out


def test_the_control_endpoint_is_a_setting_like_any_other(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["config", "show", str(file)]) == 0
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["control"] == ['"auto"', "default"]
    file.write_text('source = "rtsp://10.0.0.1/live"\ncontrol = "tcp://0.0.0.0:5601"\n')
    assert main(["config", "check", str(file)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("The control socket: 'tcp://0.0.0.0:5601' can be reached from other machines")
    monkeypatch.setenv("ROADCAST_CONTROL", "none")
    assert main(["config", "check", str(file)]) == 0
    assert main(["config", "check", str(file), "--control", "udp://x"]) == 1
