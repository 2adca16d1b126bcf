"""The loader's worker processes: the same batches whoever draws them, and an end in every case."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import write_camvid, write_png

from perception.errors import RoadcastError, SourceError
from training.data.mixture import open_mixture
from training.data.samples import Sampler

pytest.importorskip("keras", reason="training needs Keras and a backend")
loader_module = pytest.importorskip("training.data.loader")

STEPS = 3


def sampler_in(folder: Path) -> Sampler:
    return Sampler(open_mixture([f"camvid:{write_camvid(folder)}"]), (64, 64), 2, seed=3)


def assert_same(batch: Any, expected: tuple[np.ndarray, np.ndarray]) -> None:
    images, (labels, again) = batch
    assert (images == expected[0]).all()
    assert (labels == expected[1]).all()
    assert (again == expected[1]).all()
    assert again is not labels


@pytest.mark.timeout(120)
def test_batches_are_the_same_from_one_worker_from_two_and_from_this_process(tmp_path: Path) -> None:
    sampler = sampler_in(tmp_path)
    with loader_module.Loader(sampler, STEPS, workers=1) as one, loader_module.Loader(sampler, STEPS) as two:
        assert len(one) == STEPS
        for epoch in (0, 1):
            one.start_epoch(epoch)
            two.start_epoch(epoch)
            for index in (0, 1, 0, 1, 2):  # a backend asks for the first ones twice
                expected = sampler.draw(epoch, index)
                assert_same(one[index], expected)
                assert_same(two[index], expected)
    assert not multiprocessing.active_children()


@pytest.mark.timeout(120)
def test_a_resumed_loader_starts_where_its_epoch_starts(tmp_path: Path) -> None:
    sampler = sampler_in(tmp_path)
    with loader_module.Loader(sampler, STEPS, workers=1, first_epoch=4) as loader:
        assert_same(loader[0], sampler.draw(4, 0))


@pytest.mark.timeout(120)
def test_an_error_in_a_worker_comes_out_as_it_was_raised(tmp_path: Path) -> None:
    sampler = sampler_in(tmp_path)
    for path in (tmp_path / "trainannot").iterdir():
        write_png(path, np.zeros((10, 10), np.uint8))
    with loader_module.Loader(sampler, STEPS, workers=1) as loader:
        with pytest.raises(SourceError, match="must agree") as caught:
            loader[0]
        assert loader.failure is caught.value
    assert not multiprocessing.active_children()


@pytest.mark.timeout(120)
def test_a_worker_that_dies_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    with loader_module.Loader(sampler_in(tmp_path), STEPS, workers=1) as loader:
        loader[0]
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(30)
        loader.start_epoch(5)  # nothing of this one was drawn ahead
        with pytest.raises(RoadcastError, match="worker process"):
            loader[0]


KILLED_TRAINER = """
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from training.data.samples import start_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), start_worker, (None,))
    for _ in range(2):
        pool.submit(os.getpid).result()
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.timeout(120)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_workers_end_with_a_trainer_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(KILLED_TRAINER)
    # Workers hold the pipes of their parent, so the output goes to a file: a pipe would wait for them.
    with (tmp_path / "out").open("w") as out:
        code = subprocess.run([sys.executable, script], stdout=out, check=False).returncode
    assert code == -signal.SIGKILL
    workers = [int(pid) for pid in (tmp_path / "out").read_text().split()]
    assert workers
    deadline = time.monotonic() + 30
    while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if is_running(pid)]
