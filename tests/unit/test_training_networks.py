"""Every network, narrow: eight frames learnt by heart, the exported file, TensorRT, another process."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
pytest.importorskip("onnx", reason="export needs ONNX")
pytest.importorskip("onnxruntime")

from tiny_networks import narrow  # noqa: E402

from perception.engines.open import open_engine  # noqa: E402
from perception.errors import EngineUnavailable  # noqa: E402
from perception.synth.street import Street  # noqa: E402
from training.answers import engine_answer, keras_answer  # noqa: E402
from training.card import ModelCard  # noqa: E402
from training.export import export_onnx  # noqa: E402
from training.losses import SegmentationLoss  # noqa: E402
from training.models.analysis import logits_stride  # noqa: E402
from training.parity import compare  # noqa: E402

# Keras writes its files with an older idiom of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SIDE = 64
STEPS = {"segnet": 180}
USUAL_STEPS = 120
CARD = ModelCard("tiny", SIDE * SIDE, facts={"data": "rendered", "licence": "none"})
# What each is asked to reach on eight frames; FCN-32s and 16s are held back by their strides.
GOALS: dict[str, float] = {
    "fcn32s": 0.80,
    "fcn16s": 0.90,
    "fcn8s": 0.95,
    "unet": 0.95,
    "segnet": 0.95,
    "dilated": 0.95,
    "light": 0.95,
}


@dataclass(frozen=True)
class Learnt:
    """A network that was shown eight frames until it knew them."""

    name: str
    model: Any
    frames: np.ndarray  # (8, 64, 64, 3) u8
    accuracy: float


@pytest.fixture(scope="module")
def eight() -> tuple[np.ndarray, np.ndarray]:
    """Pieces of eight frames of a rendered street and their labels."""
    street = Street(3, (400, 240))
    rendered = [street.render(40 * number) for number in range(8)]
    piece = (slice(100, 100 + SIDE), slice(60, 60 + SIDE))
    return np.stack([frame.image[piece] for frame in rendered]), np.stack([frame.labels[piece] for frame in rendered])


@pytest.fixture(scope="module", params=GOALS)
def learnt(request: pytest.FixtureRequest, eight: tuple[np.ndarray, np.ndarray]) -> Learnt:
    name: str = request.param
    keras.utils.set_random_seed(1)
    model = narrow(name)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # its averages follow within these few steps
    frames, labels = eight
    stride = logits_stride(model)
    labels = labels[:, ::stride, ::stride]
    steps = STEPS.get(name, USUAL_STEPS)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, steps, alpha=0.02)
    model.compile(keras.optimizers.Adam(rate), SegmentationLoss(hard_share=1.0, dice=0.0))
    for _ in range(steps):  # not epochs of one batch, whose bookkeeping takes longer than the step
        model.train_on_batch(frames, labels)
    predicted = np.asarray(model.predict_on_batch(frames)).argmax(axis=-1)
    return Learnt(name, model, frames, float((predicted == labels).mean()))


@pytest.mark.timeout(600)
def test_eight_frames_are_learnt_by_heart(learnt: Learnt) -> None:
    assert learnt.accuracy >= GOALS[learnt.name]


@pytest.fixture
def exported(learnt: Learnt, tmp_path: Path) -> Path:
    path = tmp_path / f"{learnt.name}.onnx"
    export_onnx(learnt.model, path, CARD, label_stride=2)
    return path


@pytest.mark.timeout(600)
def test_the_exported_file_gives_the_same_labels(learnt: Learnt, exported: Path) -> None:
    with closing(open_engine("onnxruntime", exported, mode="latency", threads=1)) as engine:
        result = compare(keras_answer(learnt.model), engine_answer(engine), learnt.frames, engine.spec.network_size)
    assert result.label_agreement >= 0.999
    assert result.confidence_difference < 1


@pytest.mark.timeout(600)
def test_tensorrt_compiles_the_exported_file(exported: Path) -> None:
    from perception.engines.tensorrt.build import Recipe, build_plan
    from perception.engines.tensorrt.library import load_library
    from perception.engines.tensorrt.shapes import Shapes

    try:
        library = load_library("tensorrt_rtx")
    except EngineUnavailable as error:
        pytest.skip(f"TensorRT for RTX is not here: {error}")
    shapes = Shapes((1, 1, 2), ((SIDE, SIDE), (SIDE, SIDE), (2 * SIDE, SIDE)))
    built = build_plan(library, exported, Recipe("sm89", shapes))
    assert len(built.plan) > 10_000
    assert built.layers


@pytest.mark.timeout(300)
def test_saved_models_open_in_another_process(tmp_path: Path) -> None:
    models = {name: narrow(name) for name in ("fcn8s", "segnet", "dilated")}  # they have every layer of our own
    frame = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "frame.npy", frame)
    script = (
        "import sys, pathlib, numpy as np\n"
        "from training.models.saved import load_model\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for path in folder.glob('*.keras'):\n"
        "    answer = load_model(path)(np.load(folder / 'frame.npy'), training=False)\n"
        "    np.save(path.with_suffix('.npy'), np.asarray(answer))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    for name, model in models.items():
        wanted = np.asarray(model(frame, training=False))
        assert np.load(tmp_path / f"{name}.npy") == pytest.approx(wanted, abs=1e-3), name
