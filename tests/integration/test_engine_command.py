"""``roadcast engine`` as a user runs it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_model

GENEROUS_S = 60.0
COMMAND = [sys.executable, "-m", "perception", "engine"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    pytest.importorskip("tensorrt_rtx", reason="the optional library TensorRT for RTX is not installed")
    return {**os.environ, "ROADCAST_CACHE": str(tmp_path / "cache")}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)


def engine(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GENEROUS_S)


def test_build_list_info_prune(environment, model, tmp_path):
    layers = tmp_path / "layers.json"
    built = engine(environment, "build", model, "--gpu", "sm89", "--batch", "1,1,4", "--layers", layers, "--json")
    assert built.returncode == 0, built.stderr
    found = json.loads(built.stdout)
    assert (found["was_cached"], found["target"], found["shapes"]["batch"]) == (False, "sm89", [1, 1, 4])
    assert json.loads(layers.read_text())[0].keys() == {"name", "kind", "outputs", "nodes"}
    again = json.loads(engine(environment, "build", model, "--gpu", "SM89", "--batch", "1,1,4", "--json").stdout)
    assert (again["was_cached"], again["path"]) == (True, found["path"])
    listed = json.loads(engine(environment, "list", "--json").stdout)
    assert [row["path"] for row in listed["engines"]] == [found["path"]]
    info = engine(environment, "info", model)
    assert found["path"] in info.stdout
    assert engine(environment, "prune", "--all").returncode == 0
    assert json.loads(engine(environment, "list", "--json").stdout)["engines"] == []


def test_two_builders_build_once(environment, model):
    command = [*COMMAND, "build", str(model), "--gpu", "sm89", "--json"]
    builders = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [builder.communicate(timeout=GENEROUS_S) for builder in builders]
    assert [builder.returncode for builder in builders] == [0] * 4, answers
    found = [json.loads(out) for out, _ in answers]
    assert sorted(one["was_cached"] for one in found) == [False, True, True, True]
    assert len({one["sha256"] for one in found}) == 1
    folder = Path(found[0]["path"]).parent
    assert sorted(path.suffix for path in folder.iterdir()) == [".engine", ".json"]


def test_a_builder_waits_for_the_one_that_holds_the_lock_and_takes_over_when_it_dies(environment, model):
    holder_script = """
import sys, time
from pathlib import Path
from perception.engines.tensorrt.cache import build_lock
with build_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
    built = json.loads(engine(environment, "build", model, "--gpu", "sm89", "--json").stdout)
    with subprocess.Popen(
        [sys.executable, "-c", holder_script, built["path"]], env=environment, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        command = [*COMMAND, "build", str(model), "--gpu", "sm89", "--force", "--json"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as waiting:
            assert waiting.stderr is not None
            while "another process is compiling" not in waiting.stderr.readline():
                assert waiting.poll() is None
            assert waiting.poll() is None
            holder.kill()
            out, _ = waiting.communicate(timeout=GENEROUS_S)
    assert json.loads(out)["was_cached"] is False


def test_ctrl_c_while_waiting_leaves_nothing(environment, model):
    from fcntl import LOCK_EX, flock

    built = json.loads(engine(environment, "build", model, "--gpu", "sm89", "--json").stdout)
    path = Path(built["path"])
    with path.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        command = [*COMMAND, "build", str(model), "--gpu", "sm89", "--force"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            while "another process is compiling" not in waiting.stderr.readline():
                assert waiting.poll() is None
            waiting.send_signal(signal.SIGINT)
            _, said = waiting.communicate(timeout=GENEROUS_S)
    assert waiting.returncode == 130
    assert "Traceback" not in said
    assert path.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["build", "MODEL"], 2, "name it: --gpu sm75|"),
        (["build", "MODEL", "--gpu", "sm1"], 2, "Choose one of: current, sm75"),
        (["build", "MODEL", "--gpu", "sm89", "--size", "7"], 2, "--size must be"),
        (["build", "none.onnx", "--gpu", "sm89"], 2, "there is no such file"),
        (["info", "unet-slim"], 2, "unet-slim.onnx'. Compile it: roadcast engine build"),  # a name, as build takes
        (["verify", "unet-slim"], 2, "unet-slim.onnx'. Compile it: roadcast engine build"),
        (["verify", "MODEL"], 2, "roadcast engine build"),
        (["info", "none.engine"], 2, "no engine file"),
        (["verify", "MODEL", "--frames", "0"], 2, "at least 1"),
        (["prune", "--keep", "-1"], 2, "0 or more"),
    ],
)
def test_what_cannot_be_done_is_one_line(environment, model, words, code, message):
    if words == ["build", "MODEL"] and Path("/proc/driver/nvidia").exists():
        pytest.skip("there is an NVIDIA driver here, so that --gpu current can be done")
    done = engine(environment, *(str(model) if word == "MODEL" else word for word in words))
    lines = [line for line in done.stderr.splitlines() if line.startswith("roadcast: error:")]
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    assert message in lines[0]
    assert "Traceback" not in done.stderr


def test_a_node_ends_with_3_and_the_command_where_its_engine_is_damaged(environment, model):
    path = Path(json.loads(engine(environment, "build", model, "--gpu", "sm89", "--json").stdout)["path"])
    path.write_bytes(path.read_bytes()[:1000])
    command = [*COMMAND[:-1], "run", "synth://street", "--engine", "tensorrt", "--model", str(model)]
    command += ["--publish", f"ipc://{path.parent}/node"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GENEROUS_S)
    assert done.returncode == 3, done.stderr
    assert "holds 1000 bytes" in done.stderr
    assert f"roadcast engine build {model}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_build_is_no_obstacle(environment, model):
    command = [*COMMAND, "build", str(model), "--gpu", "sm89"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        folder = Path(environment["ROADCAST_CACHE"]) / "engines"
        while killed.poll() is None and not list(folder.glob("*.lock")):
            time.sleep(0.005)
        killed.kill()
    done = engine(environment, "build", model, "--gpu", "sm89", "--json")
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["path"]).is_file()
