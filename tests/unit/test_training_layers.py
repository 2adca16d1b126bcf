"""The layers made for these networks: unpooling, bilinear up-sampling, dropout that resumes, the context module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from training.models.arithmetic import bilinear_kernel  # noqa: E402
from training.models.blocks import Bilinear, CropLike, SavedDropout, up_score  # noqa: E402
from training.models.dilated import CentreIdentity, context_field, dilated  # noqa: E402
from training.models.unpooling import MaxPoolWithPlace, MaxUnpool  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def test_pooling_remembers_the_first_of_equal_maxima() -> None:
    window = np.array([[1, 3, 5, 5], [2, 0, 5, 5], [0, 0, -1, -9], [0, 7, -3, -2]], np.float32)
    maxima, places = (array(part)[0, ..., 0] for part in MaxPoolWithPlace()(window[None, ..., None]))
    assert maxima.tolist() == [[3, 5], [7, -1]]
    assert places.tolist() == [[1, 0], [3, 0]]


def test_unpooling_puts_each_value_back_and_leaves_zeros() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
    maxima, places = MaxPoolWithPlace()(x)
    assert array(maxima) == pytest.approx(array(keras.layers.MaxPooling2D(2)(x)))
    values = np.random.default_rng(1).normal(size=(2, 3, 4, 3)).astype(np.float32)
    large = array(MaxUnpool()([values, places]))
    windows = large.reshape(2, 3, 2, 4, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 3, 4, 3, 4)
    assert (windows != 0).sum(axis=-1).max() == 1
    assert windows.sum(axis=-1) == pytest.approx(values)
    again = array(MaxUnpool()([maxima, places]))
    assert (again[again != 0] == x[again != 0]).all()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_scores_start_out_interpolated_channel_by_channel(factor: int) -> None:
    frame = keras.Input((None, None, 5))
    model = keras.Model(frame, up_score(frame, factor, "up"))
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 5)).astype(np.float32)
    one = np.zeros_like(x)
    one[..., 2] = x[..., 2]
    out = array(model(one))
    assert out.shape == (1, 4 * factor, 6 * factor, 5)
    assert np.abs(out[..., [0, 1, 3, 4]]).max() == 0
    assert out[..., 2] == pytest.approx(array(model(x))[..., 2])
    constant = array(model(np.ones_like(x)))[:, factor:-factor, factor:-factor]
    assert constant == pytest.approx(np.ones_like(constant))


def test_initial_kernels_refuse_shapes_they_cannot_have() -> None:
    kernel = array(Bilinear()((4, 4, 3, 3)))
    assert (kernel[..., 1, 1] == bilinear_kernel(2)).all()
    assert kernel[..., 0, 1].max() == 0
    for shape in ((3, 3, 2, 2), (4, 4, 2, 3), (4, 2, 2, 2)):
        with pytest.raises(ValueError, match="bilinear kernel"):
            Bilinear()(shape)
    for shape in ((2, 2, 3, 3), (3, 3, 2, 3)):
        with pytest.raises(ValueError, match="identity kernel"):
            CentreIdentity()(shape)


def test_cropping_keeps_the_beginning() -> None:
    x = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)
    assert (array(CropLike()([x, np.zeros((1, 3, 5, 9))])) == x[:, :3, :5]).all()


def with_dropout() -> Any:
    frame = keras.Input((8,))
    return keras.Model(frame, SavedDropout(0.5, name="drop")(keras.layers.Dense(64, name="dense")(frame)))


def test_a_resumed_model_drops_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    x = np.ones((4, 8), np.float32)
    model, other = with_dropout(), with_dropout()
    assert [v.path for v in model.variables] == [v.path for v in other.variables]
    first = array(model(x, training=True))
    model.save_weights(tmp_path / "m.weights.h5")
    second = array(model(x, training=True))
    other.load_weights(tmp_path / "m.weights.h5")
    assert (array(other(x, training=True)) == second).all()
    assert (first != second).any()
    assert 0.3 < (second == 0).mean() < 0.7
    assert array(model(x, training=False)) == pytest.approx(array(model.get_layer("dense")(x)))


def field_of(model: Any, layer: str, source: str, size: int) -> int:
    """Rows of ``source`` that reach the middle of ``layer``, found by an impulse: each row is disturbed in turn.

    Every kernel is made positive and constant, so that nothing that is seen can cancel.
    """
    part = keras.Model(model.get_layer(source).output, model.get_layer(layer).output)
    for weighted in part.layers:
        weights = weighted.get_weights()
        if weights:
            weighted.set_weights([np.full_like(weights[0], 1.0 / weights[0][..., 0].size), np.zeros_like(weights[1])])
    channels = model.get_layer(source).output.shape[-1]
    frames = np.zeros((size, size, 3, channels), np.float32)
    frames[np.arange(size), np.arange(size)] = 1.0
    middle = array(part(frames))[:, size // 2]
    return int((middle.max(axis=(1, 2)) > 0).sum())


def test_the_context_module_sees_what_its_function_says() -> None:
    model = dilated((2, 2, 2, 2, 2), head=2, classes=2)
    assert context_field() == 67  # Yu & Koltun 2016, table 1
    assert field_of(model, "context8", "front", 91) == context_field()


def test_the_context_module_starts_as_the_identity() -> None:
    model = dilated((2, 2, 2, 2, 2), head=2, classes=3)
    part = keras.Model(model.get_layer("front").output, model.get_layer("context8").output)
    scores = np.random.default_rng(0).uniform(0, 1, (1, 40, 40, 3)).astype(np.float32)
    assert array(part(scores)) == pytest.approx(scores, abs=1e-6)
