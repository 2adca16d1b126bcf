"""What ``roadcast doctor`` makes of a machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from perception.cli import doctor as command
from perception.cli.main import main
from perception.doctor import gpu, libraries, machine, report
from perception.doctor.finding import Finding, examined


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))


def test_json_has_every_part(capsys):
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    verdicts = {row["part"]: row["verdict"] for row in found["findings"]}
    assert {"roadcast", "Python", "OpenCV", "PyAV", "ONNX Runtime", "OpenVINO", "ZeroMQ", "CUDA", "cache"} <= set(
        verdicts
    )
    assert {"NVIDIA driver", "CUDA compiler (NVRTC)", "TensorRT", "TensorRT for RTX", "default model"} <= set(verdicts)
    assert {verdicts[part] for part in ("Python", "OpenCV", "PyAV", "ONNX Runtime", "ZeroMQ", "cache")} == {"ok"}
    assert found["ok"] == ("broken" not in verdicts.values())
    assert code == (0 if found["ok"] else 1)
    for row in found["findings"]:
        assert row["detail"]
        assert "\n" not in row["detail"]


def test_something_broken_is_a_finding_with_its_remedy(capsys, monkeypatch):
    findings = [
        Finding("Python", "ok", "3.11", "fine"),
        Finding("OpenCV", "broken", None, "it is not installed", "pip install it"),
        Finding("cameras", "absent", None, "none", None),
    ]
    monkeypatch.setattr(report, "examine", lambda _: findings)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Python   ok      3.11  fine"
    assert lines[2].strip() == "-> pip install it"
    assert lines[-1] == "1 broken."
    assert main(["doctor", "--json"]) == 1


def test_a_pipe_is_not_told_what_is_being_examined(capsys, monkeypatch):
    def examine(show):
        show("examining everything")
        return [Finding("Python", "ok", "3.11", "fine")]

    monkeypatch.setattr(report, "examine", examine)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["doctor"]) == 0
    assert "examining everything" in capsys.readouterr().err


def test_a_check_that_raises_hides_no_other():
    def check() -> Finding:
        raise ImportError("libGL.so.1: cannot open shared object file\nmore")

    found = examined("OpenCV", check)
    assert (found.verdict, found.detail) == (
        "broken",
        "it does not load (ImportError: libGL.so.1: cannot open shared object file)",
    )


@pytest.mark.parametrize(
    ("check", "module", "verdict"),
    [
        (libraries.check_opencv, "cv2", "broken"),
        (libraries.check_pyav, "av", "broken"),
        (libraries.check_onnxruntime, "onnxruntime", "broken"),
        (libraries.check_openvino, "openvino", "absent"),
    ],
)
def test_a_missing_library(check, module, verdict, monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda name: None if name == module else object())
    found = check()
    assert found.verdict == verdict
    assert "pip install" in (found.remedy or "")


@pytest.mark.parametrize("check", [libraries.check_opencv, libraries.check_onnxruntime])
def test_two_distributions_of_one_library(check, monkeypatch):
    monkeypatch.setattr(libraries, "installed", lambda *names: [(name, "1") for name in names])
    found = check()
    assert found.verdict == "limited"
    assert "pip uninstall" in (found.remedy or "")


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    assert libraries.check_python().verdict == "broken"


def test_the_driver_calls_itself_by_its_version(tmp_path):
    file = tmp_path / "version"
    assert gpu.driver_version(file) is None
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 09:55:41 UTC 2025\nGCC 12.2\n"
    )
    assert gpu.driver_version(file) == "580.95.05"
    file.write_text("nothing that we know")
    assert gpu.driver_version(file) == "of unknown version"


def test_a_card_without_a_driver_is_broken(monkeypatch):
    monkeypatch.setattr(gpu, "_cards", lambda: 1)
    monkeypatch.setattr(gpu, "driver_version", lambda: None)
    monkeypatch.setattr(gpu.ctypes, "CDLL", _refuse)
    assert gpu.check_driver().verdict == "broken"
    monkeypatch.setattr(gpu, "driver_version", lambda: "580.1")
    assert "container" in (gpu.check_driver().remedy or "")
    monkeypatch.setattr(gpu, "driver_version", lambda: None)
    monkeypatch.setattr(gpu, "_cards", lambda: 0)
    assert gpu.check_driver().verdict == "absent"


def _refuse(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_cards_are_counted_on_the_bus(tmp_path):
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x040300"), ("c", "0x8086", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    assert gpu._cards(tmp_path) == 1


def test_no_cameras_and_devices_that_are_none(tmp_path):
    assert machine.check_cameras(tmp_path)[0].verdict == "absent"
    (tmp_path / "video0").write_text("a file is no camera")
    assert machine.check_cameras(tmp_path)[0].verdict == "absent"


def test_cameras_are_told_by_their_driver(tmp_path, monkeypatch):
    def answer(_: int, request: int, buffer: bytes) -> bytes:
        assert (request, len(buffer)) == (0x80685600, 104)
        return machine._CAPABILITY.pack(b"uvcvideo", b"Dash Cam", b"usb-1", 0x060100, 0x84A00001, flags)

    (tmp_path / "video0").write_text("")
    monkeypatch.setattr(machine.fcntl, "ioctl", answer)
    flags = 0x04200001
    found = machine.check_cameras(tmp_path)
    assert [(one.verdict, one.version, one.detail) for one in found] == [("ok", "6.1.0", "Dash Cam (uvcvideo)")]
    flags = 0x04A00000  # its channel of metadata
    assert machine.check_cameras(tmp_path)[0].verdict == "absent"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("ROADCAST_CACHE", str(file))
    found = machine.check_cache()
    assert found.verdict == "broken"
    assert "ROADCAST_CACHE" in (found.remedy or "")


def test_little_room_is_told(monkeypatch):
    monkeypatch.setattr(machine, "LEAST_FREE_GB", 1e9)
    assert machine.check_cache().verdict == "limited"


def test_a_model_that_is_not_its_cards(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "DEFAULT_MODEL", tmp_path / "default.onnx")
    assert machine.check_model().verdict == "broken"
    (tmp_path / "default.onnx").write_bytes(b"cut short")
    (tmp_path / "default.json").write_text('{"sha256": "00"}')
    assert "not the file that its card describes" in machine.check_model().detail


def test_the_table_has_a_line_for_each():
    rows = [Finding("a", "ok", "1", "x"), Finding("bb", "limited", None, "y", "do this")]
    assert command._table(rows).splitlines() == ["a   ok       1  x", "bb  limited  -  y", "    -> do this"]
