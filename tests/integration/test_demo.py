"""The demo, from nothing to a video, with a network of three colours."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tiny_model import write_model

from perception.errors import SourceError
from perception.view.video import VideoWriter

DEMO = Path(__file__).parents[2] / "launch" / "demo.py"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    model = write_model(tmp_path_factory.mktemp("model") / "tiny.onnx", scale=2)
    return os.environ | {"ROADCAST_MODEL": str(model), "ROADCAST_ENGINE": "onnxruntime"}


def demo(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_alone_it_renders_measures_scores_and_draws(tmp_path: Path, environment: dict[str, str]) -> None:
    out = tmp_path / "demo"
    ended = demo(environment, "--out", out, "--frames", 12)
    assert ended.returncode == 0, ended.stderr
    for figure in (
        r"12 frames",
        r"\d+\.\d fps at a subscriber in another process",
        r"p50 \d+\.\d ms, p99 \d+\.\d ms",
        r"0 frames dropped by the node, 0 messages lost",
        r"decode \d+\.\d, waiting \d+\.\d, network \d+\.\d, objects and publishing \d+\.\d ms \(medians",
        r"0\.\d{3} against the exact truth, over the \d+ classes in it",
    ):
        assert re.search(figure, ended.stdout), figure
    assert frames_in(out / "street.mp4") == frames_in(out / "annotated.mp4") == 12
    assert len(list((out / "truth").glob("*.png"))) == 12
    assert cv2.imread(str(out / "sheet.png")) is not None


def test_a_clip_of_the_users_own(tmp_path: Path, environment: dict[str, str]) -> None:
    clip, out = tmp_path / "my.mp4", tmp_path / "demo"
    with VideoWriter(clip, fps=25) as writer:
        for number in range(9):
            writer.write(np.full((180, 320, 3), (200, 10 * number, 20), np.uint8), 0)
    ended = demo(environment, clip, "--out", out, "--verbose")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"stages  decode \d+\.\d, .*infer \d+\.\d", ended.stdout)
    assert "9 frames" in ended.stdout
    assert "truth" not in ended.stdout
    assert sorted(path.name for path in out.iterdir()) == ["annotated.mp4", "sheet.png"]
    assert frames_in(out / "annotated.mp4") == 9


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of the demo, whose folder is no package."""
    monkeypatch.syspath_prepend(str(DEMO.parent))
    return importlib.import_module


def test_every_source_has_a_folder_of_its_own(tmp_path: Path, parts: Callable[[str], Any]) -> None:
    folder_name = parts("demo").folder_name
    (tmp_path / "my drive.mp4").touch()
    assert folder_name(None) == "rendered-street"
    assert folder_name(str(tmp_path / "my drive.mp4")) == "my-drive"
    assert folder_name("rtsp://me:secret@10.0.0.7/stream") == "rtsp"
    assert folder_name("../*") == "source"


def test_missing_truth_is_an_error_and_no_better_score(tmp_path: Path, parts: Callable[[str], Any]) -> None:
    scene = SimpleNamespace(number=3, labels=np.zeros((2, 2), np.uint8))
    with pytest.raises(SourceError, match=r"truth of frame 3 is missing.*--out"):
        parts("demo_clip").score([scene], tmp_path)


@pytest.mark.parametrize(("busy", "full_pace", "told"), [(0.4, True, True), (0.9, True, False), (0.4, False, False)])
def test_a_node_that_had_few_cores_says_so(
    busy: float, full_pace: bool, told: bool, parts: Callable[[str], Any]
) -> None:
    text = parts("demo_summary").busy_text({"busy": busy, "cores": 2}, full_pace_on_cpu=full_pace)
    assert text.startswith(f"{busy:.0%}".replace("%", " % of 2 cores"))
    assert ("other programs" in text) == told


def test_frames_stay_with_their_maps_where_one_is_missing(tmp_path: Path, environment: dict[str, str]) -> None:
    folder, out = tmp_path / "images", tmp_path / "demo"
    folder.mkdir()
    for number in (0, 2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((180, 320, 3), (200, 20, 90 * number), np.uint8))
    (folder / "1.png").write_bytes(b"broken")
    ended = demo(environment, folder, "--out", out)
    assert ended.returncode == 3
    assert "1.png" in ended.stderr
    assert frames_in(out / "annotated.mp4") == 2


@pytest.mark.parametrize(("words", "sentence"), [(["nothing.mp4"], "There is no"), (["--frames", "0"], "at least 1")])
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, environment: dict[str, str], words: list[str], sentence: str
) -> None:
    ended = demo(environment, *words, "--out", tmp_path / "demo")
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_node_that_cannot_start_is_one_sentence(tmp_path: Path, environment: dict[str, str]) -> None:
    ended = demo(environment | {"ROADCAST_MODEL": str(tmp_path / "none.onnx")}, "--out", tmp_path, "--frames", 2)
    assert ended.returncode == 2
    assert "none.onnx" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_ctrl_c_takes_the_node_along(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, str(DEMO), "--out", str(tmp_path), "--frames", "20000"]
    clip = tmp_path / "long.mp4"
    with VideoWriter(clip, fps=25) as writer:
        for _ in range(400):
            writer.write(np.zeros((64, 64, 3), np.uint8), 0)
    slow = environment | {"ROADCAST_ENGINE": "simulated://?infer_ms=200&slots=1"}
    with subprocess.Popen([*command, str(clip)], stderr=subprocess.PIPE, text=True, env=slow) as child:
        assert child.stderr is not None
        lines = iter(child.stderr.readline, "")
        assert any("loading the model" in line for line in lines)
        nodes = _children(child.pid)
        assert nodes
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 130
    assert not [pid for pid in nodes if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[int]:
    """Process ids of the direct children, as Linux tells them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("this system does not list the children of a process")
    return [int(word) for word in listed.read_text().split()]
