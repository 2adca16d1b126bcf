"""Whole training runs as processes: killed and gone on with, out of disk space, on two devices."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_camvid

pytest.importorskip("keras", reason="training needs Keras and a backend")
saved = pytest.importorskip("training.models.saved")

# Keras writes its files with an older idiom of numpy's.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.timeout(600),
]

PROGRAM = Path(__file__).parent.parent / "tiny_training.py"
RECIPE = """
steps = 2
batch = 2
crop = [64, 64]
epochs = 3
workers = 1
evaluate_every = 1
ema = 0.5
rate = 0.02
"""


def command(work: Path, out: str, *more: str) -> list[str]:
    (work / "recipe.toml").write_text(RECIPE)
    data = ["--data", f"camvid:{work / 'camvid'}", "--score", f"camvid:{work / 'camvid'}:val"]
    return [sys.executable, str(PROGRAM), "fit", str(work / "recipe.toml"), "--out", str(work / out), *data, *more]


def run(words: list[str], limit: int | None = None) -> subprocess.CompletedProcess[str]:
    small = None if limit is None else partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    return subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=small)


def error_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("roadcast")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder whose run ``cut`` was killed inside its second checkpoint."""
    work = tmp_path_factory.mktemp("work")
    write_camvid(work / "camvid")
    environment = {**os.environ, "HANG_AT_SAVE": "2"}
    with subprocess.Popen(command(work, "cut"), stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert "writing\n" in iter(child.stdout.readline, "")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert json.loads((work / "cut" / "checkpoint.json").read_text())["epoch"] == 1
    return work


def weights_of(folder: Path) -> list[np.ndarray]:
    return [variable.numpy() for variable in saved.load_model(folder / "model.keras").weights]


def test_a_run_killed_inside_a_checkpoint_goes_on_to_the_result_of_one_that_was_not(killed: Path) -> None:
    whole = run(command(killed, "whole"))
    assert whole.returncode == 0, whole.stderr
    assert "epoch 3/3: loss" in whole.stdout
    resumed = run(command(killed, "cut", "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/3" not in resumed.stdout
    for one, other in zip(weights_of(killed / "whole"), weights_of(killed / "cut")):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    folder = killed / "cut"
    assert [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert not list(folder.glob("*part*"))
    starts = json.loads((folder / "starts.json").read_text())["starts"]
    assert [start["first_epoch"] for start in starts] == [1, 2]
    assert {"numpy", "keras", "roadcast"} <= set(starts[1]["versions"])


class Sources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_report_holds_its_pictures_and_loads_nothing(killed: Path) -> None:
    folder = killed / "reported"
    shutil.copytree(killed / "cut", folder)
    from training.cli import main

    assert main(["report", str(folder)]) == 0
    page = Sources()
    page.feed((folder / "report.html").read_text())
    assert len(page.found) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.found)


def test_a_full_disk_is_one_sentence_and_loses_no_checkpoint(killed: Path) -> None:
    folder = killed / "full"
    shutil.copytree(killed / "cut", folder)
    for name in ("model.keras", "checkpoint.json"):
        (folder / name).unlink(missing_ok=True)
    kept = sorted(folder.glob("checkpoint-*"))[0]
    (folder / "checkpoint.json").write_text(json.dumps({"epoch": 1, "weights": kept.name}))
    before = kept.read_bytes()
    done = run(command(killed, "full", "--resume"), limit=len(before) // 2)
    assert (done.returncode, len(error_lines(done))) == (3, 1), done.stderr
    assert "Cannot write" in error_lines(done)[0]
    assert "Traceback" not in done.stderr
    assert kept.read_bytes() == before
    assert json.loads((folder / "checkpoint.json").read_text())["epoch"] == 1
    assert not list(folder.glob("*part*"))


def test_two_devices_share_a_batch_and_report_its_loss(killed: Path) -> None:
    losses = []
    for devices in ("1", "2"):
        # Pixels are learnt from alike and nothing moves, so that the halves' losses have the whole's as their mean.
        still = ["--hard-share", "1", "--dice", "0", "--rate", "1e-9", "--epochs", "1", "--devices", devices]
        done = run(command(killed, f"devices{devices}", *still))
        assert done.returncode == 0, done.stderr
        line = json.loads((killed / f"devices{devices}" / "metrics.jsonl").read_text())
        losses.append(line["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


def test_more_devices_than_a_batch_has_images_is_one_sentence(killed: Path) -> None:
    done = run(command(killed, "three", "--devices", "3"))
    assert done.returncode == 2
    assert "shared evenly by 3 devices" in done.stderr
    assert not (killed / "three").exists()
