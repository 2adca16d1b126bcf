"""Models with heads that tell objects apart, exported: the whole file against its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
pytest.importorskip("onnx", reason="export needs ONNX")
ort = pytest.importorskip("onnxruntime")

from perception.classes import CITYSCAPES  # noqa: E402
from perception.engines.contract import read_spec  # noqa: E402
from perception.errors import ModelError  # noqa: E402
from perception.stages.boundaries import group_by_boundaries  # noqa: E402
from perception.stages.centres import group_by_centres  # noqa: E402
from training.card import ModelCard  # noqa: E402
from training.export import export_onnx  # noqa: E402
from training.graph_grouping import method_of  # noqa: E402

layers = keras.layers
HEADS = {"centre": {"centres": 1, "offsets": 2}, "boundary": {"boundary": 2}, None: {}}
OUTPUTS = ["labels", "confidence", "ids", "id_scores"]


def network(method: str | None) -> Any:
    """Logits at stride 2 and heads at stride 4, weights at random."""
    keras.utils.set_random_seed(4)
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    half = layers.AveragePooling2D(2)(layers.Rescaling(1 / 32, offset=-4.0)(frame))
    quarter = layers.AveragePooling2D(2)(half)
    outputs = [layers.Conv2D(19, 1, name="logits", kernel_initializer="random_normal")(half)]
    for name, channels in HEADS[method].items():
        start = keras.initializers.RandomNormal(stddev=2.0)
        outputs.append(layers.Conv2D(channels, 1, name=name, kernel_initializer=start)(quarter))
    return keras.Model(frame, outputs)


def export(tmp_path: Path, method: str | None, **options: Any) -> Path:
    path = tmp_path / "m.onnx"
    card = ModelCard("grouped", 64 * 32, instances=options.pop("instances", method))
    export_onnx(network(method), path, card, **({"label_stride": 2} | options))
    return path


def frames(count: int = 2) -> np.ndarray:
    noise = np.random.default_rng(1).integers(0, 256, (count, 8, 12, 3), np.uint8)
    return noise.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize("method", ["centre", "boundary"])
def test_the_file_groups_what_its_heads_say(tmp_path: Path, method: str) -> None:
    path = export(tmp_path, method)
    spec = read_spec(path)
    assert spec.outputs == tuple(OUTPUTS)
    assert spec.card["roadcast.instances"] == method
    labels, _, ids, scores = ort.InferenceSession(path).run(OUTPUTS, {"frame": frames()})
    assert labels.shape == ids.shape == (2, 32, 48)
    assert scores.shape == (2, 128)
    assert ids.max() > 1
    plain = ort.InferenceSession(export(tmp_path, method, instances=None))
    before, sure = plain.run(OUTPUTS[:2], {"frame": frames()})
    _, *heads = (np.asarray(keras.ops.convert_to_numpy(one), np.float32) for one in network(method)(frames()))
    maps = np.concatenate(heads, axis=-1).transpose(0, 3, 1, 2)
    agreement = []
    for frame in range(2):
        things = CITYSCAPES.thing_ids()
        if method == "centre":
            wanted = group_by_centres(before[frame], sure[frame], maps[frame, 0], maps[frame, 1:], things)
        else:
            wanted = group_by_boundaries(before[frame], sure[frame], maps[frame, 0], maps[frame, 1], things)
        agreement.append(((wanted.ids > 0) == (ids[frame] > 0)).mean())
        for one in np.unique(ids[frame][ids[frame] > 0]):
            assert len(np.unique(labels[frame][ids[frame] == one])) == 1
            assert labels[frame][ids[frame] == one][0] in things
    assert min(agreement) > 0.95  # weights are stored in f16


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_ids_have_the_size_of_the_labels(tmp_path: Path, stride: int) -> None:
    path = export(tmp_path, "centre", label_stride=stride, size=(96, 64))
    labels, ids, scores = ort.InferenceSession(path).run(["labels", "ids", "id_scores"], {"frame": frames(1)})
    assert labels.shape == ids.shape == (1, 64 // stride, 96 // stride)
    assert scores.shape == (1, 128)
    assert read_spec(path).fixed_size == (96, 64)


def test_what_cannot_be_grouped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="coarser than the cells"):
        export(tmp_path, "centre", label_stride=8)
    with pytest.raises(ModelError, match="need the outputs centres and offsets"):
        export(tmp_path, None, instances="centre")
    with pytest.raises(ModelError, match="known method"):
        export(tmp_path, "centre", instances="guess")


def test_a_model_tells_its_method_by_the_names_of_its_outputs() -> None:
    assert [method_of(network(method)) for method in ("centre", "boundary", None)] == ["centre", "boundary", None]
