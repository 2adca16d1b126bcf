"""Passwords in addresses: given wherever a command takes a word, and shown nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commands import command
from tiny_model import write_model

PATIENCE_S = 120.0
ADDRESS = "rtsp://user:s3cr3t@127.0.0.1:9/live?token=s3cr3t"  # nothing listens at port 9
AT_ONCE = ("--give-up", "0", "--open-timeout", "1")


def told(*args: object) -> tuple[int, str]:
    """The exit code and all that a command shows."""
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_camera_that_cannot_be_reached(tmp_path: Path) -> None:
    model, recording = write_model(tmp_path / "tiny.onnx"), tmp_path / "a.mcap"
    code, shown = told("run", ADDRESS, "--model", model, "--publish", f"ipc://{tmp_path}/n", "--json", *AT_ONCE)
    assert code == 3
    assert "rtsp://***@127.0.0.1:9/live?token=***" in shown
    assert "s3cr3t" not in shown
    code, shown = told("record", ADDRESS, "--model", model, "-o", recording, *AT_ONCE)
    assert code == 3
    assert "s3cr3t" not in shown
    assert b"s3cr3t" not in recording.read_bytes()
    assert b"rtsp://***@127.0.0.1:9" in recording.read_bytes()


@pytest.mark.parametrize(
    "args",
    [
        ("run", ADDRESS, ADDRESS),
        ("run", ADDRESS, "--model", ADDRESS),
        ("run", ADDRESS, "--publish", ADDRESS),
        ("run", ADDRESS, "--config", ADDRESS),
        ("run", ADDRESS, "--allow", ADDRESS, "--curve-secret", ADDRESS),
        ("sub", ADDRESS),
        ("record", ADDRESS, "-o", ADDRESS),
        ("replay", ADDRESS),
    ],
)
def test_an_address_in_the_wrong_place(args: tuple[str, ...]) -> None:
    code, shown = told(*args)
    assert code in (2, 3)
    assert "***@127.0.0.1:9" in shown
    assert "s3cr3t" not in shown
