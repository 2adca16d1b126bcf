"""``roadcast run`` with ``--refine`` and ``--smooth``: what a subscriber gets that it would not get without."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from commands import environment
from tiny_model import CAR, SKY, VEGETATION, write_model

from perception.client import ReceivedScene, Subscriber
from perception.refinement.settings import CARD_KEY
from perception.types import Image

PATIENCE_S = 60.0
SIZE = 128, 64  # of the pictures and, as tiny models take 128x64 pixels, of the maps
FRAMES = 8
FLICKERS_AT = 5
# Blue, green, red: the class is that of the largest, the confidence its value.
SURE_SKY, UNSURE_CAR, NEARLY_THAT = (230, 60, 60), (60, 128, 130), (60, 130, 128)
CAR_BEFORE, PLANT_FOR_ONCE = (60, 128, 180), (60, 145, 140)
SPOT = np.s_[24:40, 48:80]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("refining") / "tiny.onnx", metadata={"roadcast.pixels": "8192"})


def film(path: Path, images: Sequence[Image]) -> Path:
    """A video of 25 frames a second that holds these pictures as they are."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=Fraction(25))
        video.width, video.height, video.pix_fmt = *SIZE, "bgr0"
        for image in images:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="bgr0")))
        container.mux(video.encode(None))
    return path


def speckled() -> list[Image]:
    """Sky above, below it a car of which every twentieth pixel looks a little more like a plant."""
    chance, images = np.random.default_rng(3), []
    for _ in range(FRAMES):
        image = np.full((SIZE[1], SIZE[0], 3), SURE_SKY, np.uint8)
        image[32:] = np.where(chance.random((32, SIZE[0], 1)) < 0.05, NEARLY_THAT, UNSURE_CAR)
        images.append(image)
    return images


def flickering() -> list[Image]:
    """A still picture; a spot of it is a car, and for one frame a plant of which the network is less sure."""
    ground = np.full((SIZE[1], SIZE[0], 3), SURE_SKY, np.uint8)
    ground[::8] = ground[:, ::8] = (200, 30, 30)  # something by which motion can be told
    images = []
    for number in range(FRAMES):
        image = ground.copy()
        image[SPOT] = PLANT_FOR_ONCE if number == FLICKERS_AT else CAR_BEFORE
        images.append(image)
    return images


def published(source: Path, model: Path, *flags: str) -> tuple[list[ReceivedScene], dict[str, float]]:
    """All that a node publishes as labels with these flags, and how long its stages took, in milliseconds."""
    endpoint = f"ipc://{source.parent}/node.ipc"
    command = [sys.executable, "-m", "perception", "run", str(source), "--model", str(model), "--publish", endpoint]
    command += ["--engine", "onnxruntime", "--threads", "1", "--pace", "max", "--wait-subscribers", "1", "--json"]
    with subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            with Subscriber(endpoint, kinds=["labels", "confidence"], timeout=PATIENCE_S) as subscriber:
                scenes = list(subscriber.scenes())
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert [scene.number for scene in scenes] == list(range(FRAMES))
    return scenes, {name: spent["p50"] for name, spent in json.loads(out)["stages_ms"].items()}


def share(scene: ReceivedScene, class_id: int) -> float:
    """Of the lower half of the map."""
    return float((scene.labels[32:] == class_id).mean())


def test_refined_labels_follow_the_picture(tmp_path: Path, model: Path) -> None:
    source = film(tmp_path / "speckled.mkv", speckled())
    plain, stages = published(source, model)
    assert "refine" not in stages
    assert all(0.02 < share(scene, VEGETATION) < 0.08 for scene in plain)
    refined, stages = published(source, model, "--refine", "crf")
    assert "refine" in stages
    for before, scene in zip(plain, refined, strict=True):
        assert "refine" in scene.header.frame.latency_us
        assert share(scene, VEGETATION) < share(before, VEGETATION) / 10  # they look like the car around them
        assert share(scene, CAR) > 0.99
        assert (scene.labels[:32] == SKY).all()
        assert scene.confidence is not None
        assert (scene.confidence != before.confidence).any()  # it is that of the refined label
    weightless, _ = published(source, model, "--refine", "crf", "--refine-weight", "0")
    for before, scene in zip(plain, weightless, strict=True):
        assert (scene.labels == before.labels).all()


def test_smoothed_labels_do_not_flicker(tmp_path: Path, model: Path) -> None:
    source = film(tmp_path / "flickering.mkv", flickering())
    plain, stages = published(source, model)
    assert "smooth" not in stages
    spots = [set(np.unique(scene.labels[SPOT])) for scene in plain]
    assert spots == [{VEGETATION} if number == FLICKERS_AT else {CAR} for number in range(FRAMES)]
    smoothed, stages = published(source, model, "--smooth")
    assert "smooth" in stages
    assert [set(np.unique(scene.labels[SPOT])) for scene in smoothed] == [{CAR}] * FRAMES
    assert all("smooth" in scene.header.frame.latency_us for scene in smoothed)
    for before, scene in zip(plain, smoothed, strict=True):
        around = np.ones(SIZE[::-1], bool)
        around[SPOT] = False
        assert (scene.labels[around] == before.labels[around]).all()


def test_both_together_and_from_a_file(tmp_path: Path, model: Path) -> None:
    settings = tmp_path / "node.toml"
    settings.write_text('refine = "crf"\nsmooth = true\n')
    source = film(tmp_path / "speckled.mkv", speckled())
    scenes, stages = published(source, model, "--config", str(settings))
    assert list(stages).index("refine") < list(stages).index("smooth")  # in the order in which they run
    assert all(share(scene, CAR) > 0.99 for scene in scenes)


@pytest.mark.parametrize(
    ("flags", "variables", "says"),
    [
        (["--refine", "sharpen"], {}, "--refine must be one of crf, crf-reference; got 'sharpen'."),
        (["--refine-weight", "-1"], {}, "--refine-weight must be"),
        (["--refine", "crf"], {}, "refines its maps itself"),
        (["--refine", "crf-reference"], {}, "needs the library pydensecrf2"),
        ([], {"ROADCAST_SMOOTH": "perhaps"}, "ROADCAST_SMOOTH"),
        ([], {"ROADCAST_REFINE": "1"}, "ROADCAST_REFINE"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    tmp_path: Path, flags: list[str], variables: dict[str, str], says: str
) -> None:
    card = {CARD_KEY: "crf"} if flags == ["--refine", "crf"] else {}
    source = film(tmp_path / "speckled.mkv", speckled()[:1])
    made = write_model(tmp_path / "tiny.onnx", metadata=card)
    # A library of that name which cannot be imported, whether or not the real one is installed.
    (tmp_path / "pydensecrf").mkdir()
    (tmp_path / "pydensecrf" / "__init__.py").write_text("raise ImportError\n")
    command = [sys.executable, "-m", "perception", "run", str(source), "--model", str(made), "--engine", "onnxruntime"]
    done = subprocess.run(
        [*command, "--publish", f"ipc://{tmp_path}/node.ipc", *flags],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**environment(), "PYTHONPATH": str(tmp_path), **variables},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert [says in line for line in done.stderr.splitlines() if line.startswith("roadcast: error: ")] == [True]
