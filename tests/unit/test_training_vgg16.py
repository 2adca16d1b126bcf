"""VGG-16's weights out of every kind of file that Keras has written, and out of files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
h5py = pytest.importorskip("h5py")

from perception.errors import ModelError  # noqa: E402
from training.models import vgg16  # noqa: E402
from training.models.dilated import dilated  # noqa: E402
from training.models.fcn import fcn  # noqa: E402
from training.models.network import load_encoder  # noqa: E402
from training.models.segnet import segnet  # noqa: E402

CHANNELS = (2, 3, 4, 5, 5)  # of a trunk as VGG-16's, but narrow


def trunk_weights(seed: int = 0) -> dict[str, np.ndarray]:
    random, before, weights = np.random.default_rng(seed), 3, {}
    for block, (width, depth) in enumerate(zip(CHANNELS, vgg16.DEPTHS), 1):
        for index in range(1, depth + 1):
            weights[f"block{block}_conv{index}/kernel"] = random.normal(size=(3, 3, before, width)).astype(np.float32)
            weights[f"block{block}_conv{index}/bias"] = random.normal(size=width).astype(np.float32)
            before = width
    return weights


def write_named_groups(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """As ``keras.applications`` has published them: a folder for each layer, the dense ones at the end."""
    with h5py.File(path, "w") as file:
        for name, array in weights.items():
            layer, part = name.split("/")
            file[f"{layer}/{layer}_{'W' if part == 'kernel' else 'b'}_1:0"] = array
        file["predictions/predictions_W_1:0"] = np.zeros((4, 4), np.float32)
    return path


def write_numbered(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """As Keras 3 writes a network around these layers: counted, the names in attributes; other layers beside them."""
    with h5py.File(path, "w") as file:
        for index, name in enumerate(sorted({name.split("/")[0] for name in weights})):
            group = file.create_group(f"{name[:6]}/layers/conv2d_{index}/vars")
            group.attrs["name"] = name
            group["0"], group["1"] = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        other = file.create_group("dsn1/vars")
        other.attrs["name"] = "conv2d"
        other["0"], other["1"] = np.zeros((1, 1, 2, 1), np.float32), np.zeros(1, np.float32)
    return path


@pytest.mark.parametrize("write", [write_named_groups, write_numbered])
@pytest.mark.parametrize("name", ["fcn8s", "dilated", "segnet"])
def test_the_trunk_is_filled_layer_by_layer(tmp_path: Path, write: Any, name: Any) -> None:
    weights = trunk_weights()
    models: dict[str, Any] = {
        "fcn8s": lambda: fcn(8, channels=CHANNELS, head=2),
        "dilated": lambda: dilated(CHANNELS, head=2),
        "segnet": lambda: segnet(CHANNELS),
    }
    model = models[name]()
    load_encoder(model, name, write(tmp_path / "w.h5", weights))
    for block, depth in enumerate(vgg16.DEPTHS, 1):
        for index in range(1, depth + 1):
            layer = model.get_layer(f"encoder_block{block}_{index}_conv")
            kernel, *bias = layer.get_weights()
            assert (kernel == weights[f"block{block}_conv{index}/kernel"]).all()
            if bias:
                assert (bias[0] == weights[f"block{block}_conv{index}/bias"]).all()
            else:
                assert name == "segnet"  # its normalisation would take any bias out again


def test_features_are_those_of_keras_own_vgg16() -> None:
    """Channels' order, mean and padding: the same picture gives the same features, at random weights."""
    theirs = keras.applications.VGG16(weights=None, include_top=False)
    for layer in theirs.layers:
        if layer.weights:  # large enough that the answer is no rounding error
            layer.set_weights([w * 2 if w.ndim == 4 else w + 0.1 for w in layer.get_weights()])
    model = fcn(32, head=2)
    for block, depth in enumerate(vgg16.DEPTHS, 1):
        for index in range(1, depth + 1):
            source = theirs.get_layer(f"block{block}_conv{index}")
            model.get_layer(f"encoder_block{block}_{index}_conv").set_weights(source.get_weights())
    frame = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    rgb = frame[..., ::-1].astype(np.float32)
    expected = np.asarray(theirs(keras.applications.vgg16.preprocess_input(rgb.copy())))
    ours = np.asarray(keras.Model(model.input, model.get_layer("encoder_pool5").output)(frame))
    assert np.abs(expected).max() > 0.1
    assert ours == pytest.approx(expected, abs=1e-3 * float(np.abs(expected).max()))


def test_dense_layers_become_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """fc1 reads a flattened 7x7 map; as a convolution it gives the same at the map's middle."""
    random = np.random.default_rng(0)
    shapes = (("fc1", "fc6_conv", (7, 7, 5, 6)), ("fc2", "fc7_conv", (1, 1, 6, 6)))
    monkeypatch.setattr(vgg16, "HEAD", shapes)
    dense = {"fc1": random.normal(size=(7 * 7 * 5, 6)), "fc2": random.normal(size=(6, 6))}
    weights = trunk_weights() | {f"{name}/kernel": kernel.astype(np.float32) for name, kernel in dense.items()}
    weights |= {f"{name}/bias": random.normal(size=6).astype(np.float32) for name in dense}
    monkeypatch.setattr(vgg16, "_downloaded", lambda: weights)
    model = fcn(32, channels=CHANNELS, head=6)
    vgg16.load_vgg16(model, vgg16.IMAGENET)
    pooled = random.normal(size=(1, 7, 7, 5)).astype(np.float32)
    expected = np.maximum(pooled.reshape(1, -1) @ weights["fc1/kernel"] + weights["fc1/bias"], 0)
    expected = np.maximum(expected @ weights["fc2/kernel"] + weights["fc2/bias"], 0)
    part = keras.Model(model.get_layer("encoder_pool5").output, model.get_layer("fc7_relu").output)
    assert np.asarray(part(pooled))[0, 3, 3] == pytest.approx(expected[0], rel=1e-4, abs=1e-4)


def test_a_file_without_a_convolution_says_which(tmp_path: Path) -> None:
    weights = trunk_weights()
    del weights["block3_conv2/kernel"], weights["block5_conv1/bias"]
    with pytest.raises(ModelError, match="lacks block3_conv2, block5_conv1"):
        vgg16.load_vgg16(fcn(8, channels=CHANNELS, head=2), write_named_groups(tmp_path / "w.h5", weights))


def test_another_width_is_refused(tmp_path: Path) -> None:
    path = write_named_groups(tmp_path / "w.h5", trunk_weights())
    with pytest.raises(ModelError, match=r"w\.h5 do not fit this network") as caught:
        vgg16.load_vgg16(fcn(8, channels=(2, 3, 4, 5, 6), head=2), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 64])
def test_what_is_no_hdf5_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.h5 cannot be read") as caught:
        vgg16.load_vgg16(fcn(8, channels=CHANNELS, head=2), path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_downloads_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fcn(8, channels=CHANNELS, head=2)
    with pytest.raises(ModelError, match="no weights file"):
        vgg16.load_vgg16(model, tmp_path / "missing.h5")

    def no_network(**_options: Any) -> Any:
        raise OSError("URL fetch failure: no route")

    monkeypatch.setattr(keras.applications, "VGG16", no_network)
    with pytest.raises(ModelError, match=r"cannot fetch VGG-16: URL fetch failure: no route\. Give a file"):
        vgg16.load_vgg16(model, vgg16.IMAGENET)
