"""Runs that begin with another run's model: the same network, and FCN in stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from perception.errors import ModelError  # noqa: E402
from training.models.fcn import fcn  # noqa: E402
from training.models.start import start_from  # noqa: E402

# Keras writes its files with an older idiom of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def tiny(stride: Any, width: int = 4, *, auxiliary: bool = False) -> Any:
    return fcn(stride, channels=(width,) * 5, head=width, norm=True, auxiliary=auxiliary)


def saved(path: Path, stride: int) -> Any:
    """An FCN whose class scores are no longer zero, and its file."""
    model, random = tiny(stride), np.random.default_rng(stride)
    for layer in model.layers:
        if layer.name.startswith("score"):
            layer.set_weights([random.normal(size=one.shape) for one in layer.get_weights()])
    model.save(path)
    return model


@pytest.mark.parametrize(
    ("stride", "finer", "new"),
    [(32, 16, ["up16", "score16", "up_from16"]), (16, 8, ["up8", "score8", "up_from8"])],
)
def test_a_finer_fcn_begins_with_the_coarser_one_s_answers(
    tmp_path: Path, stride: int, finer: int, new: list[str]
) -> None:
    """Section 4.2: the new skip scores zero; interpolating in two steps instead of one changes little."""
    coarse = saved(tmp_path / "coarse.keras", stride)
    fine = tiny(finer, auxiliary=True)
    start = start_from(fine, tmp_path / "coarse.keras")
    assert set(start.new) == {*new, "auxiliary"}
    assert start.left == [f"up_from{stride}"]
    assert set(start.copied) == {layer.name for layer in coarse.layers if layer.weights} - set(start.left)
    for name in start.copied:
        for one, other in zip(coarse.get_layer(name).get_weights(), fine.get_layer(name).get_weights()):
            assert (one == other).all()
    frame = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), np.uint8)
    one, other = (np.asarray(logits)[0, 64:96, 64:96] for logits in (coarse(frame), fine(frame)[0]))
    assert np.abs(one).max() > 0
    assert np.abs(one - other).mean() < 0.2 * np.abs(one).mean()


def test_what_was_copied_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "coarse.keras", 32)
    told = str(start_from(tiny(16), tmp_path / "coarse.keras"))
    assert " layers copied (encoder_block1_1_conv .. score32); new: " in told
    assert told.endswith("; left behind: up_from32")
    same = str(start_from(tiny(32), tmp_path / "coarse.keras"))
    assert "new" not in same
    assert "left" not in same


def test_a_coarser_a_wider_and_a_foreign_network_are_refused_by_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    saved(path, 16)
    with pytest.raises(ModelError, match=r"its layer '(up16|score16)' does not fit"):
        start_from(tiny(32), path)
    with pytest.raises(ModelError, match="its layer 'encoder_block1_1_conv' does not fit"):
        start_from(tiny(16, width=5), path)
    frame = keras.Input((None, None, 3), dtype="uint8")
    keras.Model(frame, keras.layers.Conv2D(19, 1, name="other")(keras.layers.Rescaling(1.0)(frame))).save(path)
    with pytest.raises(ModelError, match="its layer 'other' does not fit"):
        start_from(tiny(16), path)


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    frame = keras.Input((None, None, 19), dtype="uint8")
    keras.Model(frame, keras.layers.Rescaling(1.0)(frame)).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="no layer with weights"):
        start_from(tiny(32), tmp_path / "m.keras")
