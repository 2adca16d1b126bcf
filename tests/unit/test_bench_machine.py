"""What is told of the machine, its load and the program, on machines that tell much and machines that tell little."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from perception.bench import machine
from perception.bench.machine import Load, commit, hardware, others_now, software
from perception.metrics import cores

CPUINFO = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 avx512_bf16 pni\n\nprocessor\t: 1\n"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine made of files."""
    for name in ("_PROC", "_SYS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(machine, name, tmp_path / name)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_this_machine_is_told_in_values_of_json() -> None:
    told = json.loads(json.dumps([hardware(), software()]))
    assert told[0]["cores"] == cores()
    assert told[0]["memory_gib"] > 0.1
    assert told[1]["packages"]["numpy"]
    assert "hostname" not in str(told).lower()
    assert os.uname().nodename not in (str(told[0]["processor"]), str(told[1]["system"]))


def test_features_governor_and_quota_where_they_are(system: Path) -> None:
    write(system / "_PROC/cpuinfo", CPUINFO)
    write(system / "_SYS/fs/cgroup/cpu.max", "150000 100000\n")
    write(system / "_SYS/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    told = hardware()
    assert (told["processor"], told["features"]) == ("Some CPU @ 3 GHz", ["avx2", "avx512_bf16"])
    assert told["core_quota"] == 1.5
    assert software()["governor"] == "powersave"


@pytest.mark.usefixtures("system")
def test_what_is_not_there_is_not_made_up() -> None:
    told = hardware()
    assert told["processor"]
    assert (told["features"], told["core_quota"], software()["governor"]) == ([], None, None)
    assert Load.now() is None
    assert others_now(lambda _: None) is None


def test_an_arm_machine_calls_its_features_otherwise(system: Path) -> None:
    write(system / "_PROC/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n")
    assert hardware()["features"] == ["asimd", "bf16", "i8mm"]


def test_the_share_of_others_is_without_our_own(system: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    write(system / "_PROC/stat", f"cpu {10 * tick} 0 {2 * tick} {80 * tick} {6 * tick} 0 0 {2 * tick} 0 0\ncpu0 1\n")
    now = Load.now()
    assert now is not None
    assert (now.busy_s, now.total_s) == (14.0, 100.0)
    assert Load(20.0, 100.0, 8.0).others_since(Load(10.0, 80.0, 3.0)) == pytest.approx(0.25)
    assert Load(20.0, 100.0, 30.0).others_since(Load(10.0, 80.0, 3.0)) == 0.0  # counters of different grain
    assert Load(10.0, 80.0, 3.0).others_since(Load(10.0, 80.0, 3.0)) is None


def test_the_commit_is_that_of_the_program_and_not_of_where_it_runs(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    clean = commit(tmp_path)
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "inner").mkdir()
    assert commit(tmp_path / "inner") is None
