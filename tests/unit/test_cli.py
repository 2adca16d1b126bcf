"""The command line before any command runs: help, version, wrong flags, missing parts, exit codes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from perception import __version__
from perception.cli import main as roadcast
from perception.cli import run
from perception.config import RULES
from perception.errors import ModelError, SourceError


def failing(error: BaseException) -> object:
    def command(args: argparse.Namespace) -> int:  # noqa: ARG001
        raise error

    return command


def test_every_setting_has_a_flag() -> None:
    parser = roadcast.make_parser()
    args = parser.parse_args(["run", "drive.mp4"])
    assert set(RULES) <= set(vars(args))
    assert set(run.FLAGS) == set(RULES) - {"source", "insecure", "smooth"}  # whose flags take no value


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version_are_on_stdout(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        roadcast.main(argv)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert (f"roadcast {__version__}" if argv == ["--version"] else "usage: roadcast") in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "drive.mp4", "--fast"], "unrecognized arguments: --fast"),
        (["run", "drive.mp4", "--frame", "3"], "unrecognized arguments: --frame 3"),  # no abbreviations
        (["run", "drive.mp4", "--frames"], "expected one argument"),
        (["run", "drive.mp4", "--frames", "-1"], "--frames must be a whole number"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert roadcast.main(argv) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("roadcast: error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["run", "drive.mp4", "--frame", "3"], "Did you mean '--frames'? See 'roadcast run --help'."),
        (["view", "drive.mp4", "--refine", "crf"], "arguments: --refine crf. See 'roadcast view"),  # not: --engine
        (["run", "drive.mp4", "--frame=3"], "Did you mean '--frames'? See 'roadcast run --help'."),
        (["run", "--frames", "3", "drive.mp4", "--modell", "x"], "Did you mean '--model'? See 'roadcast run --help'."),
        (["run", "drive.mp4", "--nope"], "unrecognized arguments: --nope. See 'roadcast run --help'."),
        (["sub", "tcp://127.0.0.1:1", "--cuont", "3"], "Did you mean '--count'? See 'roadcast sub --help'."),
        (["sub"], "required: ENDPOINT. See 'roadcast sub --help'."),
        (["--nope", "run", "drive.mp4"], "unrecognized arguments: --nope. See 'roadcast --help'."),
        (["run", "-dash.mov"], "A file whose name begins with '-' is written './-dash.mov'. See 'roadcast run"),
        (["view", "drive.mp4", "--out", "-dash.mp4"], "A file whose name begins with '-' is written './-dash.mp4'."),
        (
            ["view", "drive.mp4", "-oa.mp4", "--alpha", "-0.5", "--fps", "x"],
            "float value: 'x'. See 'roadcast view --help'.",
        ),
        (["view", "-dash.mov"], "A file whose name begins with '-' is written './-dash.mov'. See 'roadcast view"),
    ],
)
def test_wrong_flags_get_a_hint_from_their_own_command(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert roadcast.main(argv) == 2
    assert hint in capsys.readouterr().err


def test_a_file_after_two_dashes_may_begin_with_a_dash() -> None:
    assert roadcast.make_parser().parse_args(["run", "--frames", "3", "--", "-dash.mov"]).source == "-dash.mov"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ModelError("no such model"), 2, "roadcast: error: no such model\n"),
        (SourceError("camera gone"), 3, "roadcast: error: camera gone\n"),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), 2, "pip install 'roadcast[node]'"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run, "run", failing(error))
    assert roadcast.main(["run", "drive.mp4"]) == code
    assert message in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run", failing(ModuleNotFoundError("No module named 'tpying'", name="tpying")))
    with pytest.raises(ModuleNotFoundError):
        roadcast.main(["run", "drive.mp4"])


def test_the_parser_loads_nothing_heavy() -> None:
    script = (
        "import sys; from perception.cli.main import make_parser; make_parser();"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    heavy = {"cv2", "av", "onnxruntime", "openvino", "tensorflow", "keras", "training"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("part", ["argparse", "perception.cli.command", "numpy", "zmq", "perception.config"])
def test_ctrl_c_while_the_parts_load_leaves_no_traceback(part: str) -> None:
    script = f"""
import os, signal, sys

class Interrupter:
    def find_spec(name, path=None, target=None):
        if name == {part!r}:
            os.kill(os.getpid(), signal.SIGINT)

from perception.cli.main import main
sys.meta_path.insert(0, Interrupter)
sys.exit(main(["--version"]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_a_library_loads_is_not_a_missing_library(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"  # as extension modules do
        "    raise ImportError('initialization failed') from None\n"
    )
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom perception.cli.main import main\nsys.exit(main())"
    )
    words = ["view", "synth://street?size=64x64", "--sheet", str(tmp_path / "out.png"), "--engine", "onnxruntime"]
    done = subprocess.run([sys.executable, "-c", script, *words], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
