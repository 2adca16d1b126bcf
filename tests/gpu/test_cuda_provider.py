"""ONNX Runtime's CUDA provider against its CPU, on the model that ships."""

from __future__ import annotations

import numpy as np
import pytest

from perception.engines.open import open_engine
from perception.synth import Street

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_a_gpu() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime-gpu and an NVIDIA GPU")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs an NVIDIA GPU and onnxruntime-gpu: this ONNX Runtime has no CUDAExecutionProvider")


def test_cuda_agrees_with_the_cpu() -> None:
    frame = Street(seed=3, size=(576, 320)).render(10).image[None]
    labels = {}
    for device in ("cpu", "cuda"):
        engine = open_engine("onnxruntime", device=device)
        labels[device] = engine.submit(frame).result()["labels"]
        engine.close()
    assert np.mean(labels["cpu"] == labels["cuda"]) >= 0.995


def test_frames_keep_their_order_on_the_gpu() -> None:
    engine = open_engine("onnxruntime", device="cuda")
    street = Street(seed=3, size=(576, 320))
    frames = [street.render(number).image[None] for number in range(0, 60, 10)]
    alone = [engine.submit(frame).result()["labels"] for frame in frames]
    pending = []
    together = []
    for frame in frames:
        pending.append(engine.submit(frame))
        if len(pending) == engine.slots:
            together.append(pending.pop(0).result()["labels"])
    together += [batch.result()["labels"] for batch in pending]
    engine.close()
    assert all(np.array_equal(one, other) for one, other in zip(alone, together))
