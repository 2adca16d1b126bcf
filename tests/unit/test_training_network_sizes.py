"""Every network: sizes by the formulas of the chapter, frames of odd sizes, names and widths, arithmetic cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
pytest.importorskip("onnx", reason="export needs ONNX")

from tiny_networks import narrow  # noqa: E402

from perception.errors import ModelError  # noqa: E402
from training.card import ModelCard  # noqa: E402
from training.export import export_onnx  # noqa: E402
from training.models.analysis import count_flops, logits_size  # noqa: E402
from training.models.arithmetic import convolved_size, transposed_size  # noqa: E402
from training.models.fcn import fcn  # noqa: E402
from training.models.names import Network  # noqa: E402
from training.models.network import build_network, load_encoder  # noqa: E402
from training.models.unet import unet, valid_output_size  # noqa: E402

CARD = ModelCard("sizes", 64 * 64)


def shape_of(model: Any, width: int, height: int) -> tuple[int, ...]:
    return tuple(model(np.zeros((1, height, width, 3), np.uint8), training=False).shape)


def chain(size: int, steps: list[tuple[str, int, int, int]]) -> int:
    """A size through (kind, kernel, stride, padding), by the formulas of ``arithmetic``."""
    for kind, kernel, stride, padding in steps:
        function = transposed_size if kind == "up" else convolved_size
        size = function(size, kernel, stride, padding)
    return size


DOWN: tuple[str, int, int, int] = ("down", 2, 2, 0)
CONV: tuple[str, int, int, int] = ("conv", 3, 1, 1)
UP: tuple[str, int, int, int] = ("up", 2, 2, 0)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("fcn32s", [*[CONV, DOWN] * 5, ("conv", 7, 1, 3), ("up", 64, 32, 16)]),
        ("fcn16s", [*[CONV, DOWN] * 5, ("up", 4, 2, 1), ("up", 32, 16, 8)]),
        ("fcn8s", [*[CONV, DOWN] * 5, ("up", 4, 2, 1), ("up", 4, 2, 1), ("up", 16, 8, 4)]),
        ("unet", [*[CONV, DOWN] * 3, CONV, *[UP, CONV] * 3]),
        ("segnet", [*[CONV, DOWN] * 5, *[UP, CONV] * 5]),
        ("dilated", [*[CONV, DOWN] * 3, ("up", 8, 4, 2)]),
        ("light", [*[("conv", 3, 2, 1), CONV] * 5, *[UP, CONV] * 4]),
    ],
)
def test_outputs_have_the_sizes_of_the_formulas(name: str, steps: list[tuple[str, int, int, int]]) -> None:
    model = narrow(name)
    for width, height in ((96, 64), (32, 160)):
        expected = (1, chain(height, steps), chain(width, steps), 19)
        assert shape_of(model, width, height) == expected
        assert logits_size(model, (width, height)) == expected[2:0:-1]


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(96, 64), (97, 65), (50, 33), (63, 31), (5, 3)])
def test_fcn_takes_frames_of_any_size(stride: Any, size: tuple[int, int]) -> None:
    model = fcn(stride, channels=(2, 2, 2, 2, 2), head=2)
    assert shape_of(model, *size) == (1, size[1], size[0], 19)


@pytest.mark.parametrize(("depth", "size"), [(4, 572), (3, 92), (2, 44), (1, 20)])
def test_a_valid_unet_gives_the_middle_of_the_frame(depth: int, size: int) -> None:
    model = unet(2, depth, padding="valid", norm=False)
    expected = valid_output_size(size, depth)
    assert shape_of(model, size, size) == (1, expected, expected, 19)
    if depth == 4:
        assert expected == 388  # figure 1 of the paper


def test_a_valid_unet_refuses_sizes_that_do_not_halve_and_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pools a map of 135"):
        valid_output_size(568)
    with pytest.raises(ModelError, match="328x328 logits for a 512x512 frame"):
        export_onnx(unet(2, padding="valid"), tmp_path / "m.onnx", CARD, label_stride=1)


def test_nearest_up_sampling_has_the_same_sizes() -> None:
    assert shape_of(unet(4, 2, up="nearest"), 48, 32) == (1, 32, 48, 19)


@pytest.mark.parametrize("name", get_args(Network))
def test_the_second_output_is_all_that_auxiliary_adds(name: Network) -> None:
    plain, double = build_network(name, width="small"), build_network(name, width="small", auxiliary=True)
    shapes = {variable.path: tuple(variable.shape) for variable in plain.variables}
    more = {variable.path: tuple(variable.shape) for variable in double.variables}
    assert shapes.items() <= more.items()
    assert {path.partition("/")[0] for path in more.keys() - shapes.keys()} <= {"auxiliary"}
    logits, second = double.compute_output_shape((2, 64, 96, 3))
    assert logits == plain.compute_output_shape((2, 64, 96, 3))
    assert second[-1] == 19
    assert second[1] < logits[1]


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="no network 'fcn4s'; there are light, fcn32s"):
        build_network("fcn4s")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no width 'huge'; there are small, medium, large"):
        build_network("unet", width="huge")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no pretrained weights for unet"):
        load_encoder(unet(2, 1), "unet", Path("vgg16.h5"))


@pytest.mark.parametrize("name", get_args(Network))
def test_classes_are_as_many_as_asked_for(name: Network) -> None:
    model = build_network(name, width="small", classes=7)
    assert model.output_shape[-1] == 7


def test_the_small_ones_fit_eight_megabytes(tmp_path: Path) -> None:
    for name in ("fcn8s", "unet"):
        path = tmp_path / "m.onnx"
        export_onnx(build_network(name, width="small"), path, CARD, label_stride=2)  # type: ignore[arg-type]
        assert path.stat().st_size <= 8e6


def test_flops_are_those_counted_by_hand() -> None:
    frame = keras.Input((None, None, 3))
    layers = keras.layers
    x = layers.Conv2D(8, 3, 2, padding="same")(frame)  # 16x24: 3 * 3 * 3 * 8 each
    x = layers.DepthwiseConv2D(5, padding="same")(x)  # 16x24: 25 * 8
    x = layers.Conv2D(8, 1, groups=2)(x)  # 16x24: 4 * 8
    x = layers.Conv2DTranspose(2, 4, 2, padding="same")(x)  # 16x24: 16 * 8 * 2
    expected = 2 * 16 * 24 * (216 + 200 + 32 + 256)
    assert count_flops(keras.Model(frame, layers.ReLU()(x)), (48, 32)) == expected


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "gigaflops", "megabytes"), [("fcn8s", 444.9, 270), ("unet", 771.9, 63)])
def test_the_full_size_networks_have_the_published_cost_and_export(
    tmp_path: Path, name: Network, gigaflops: float, megabytes: float
) -> None:
    model = build_network(name, width="large")
    assert count_flops(model, (1024, 512)) / 1e9 == pytest.approx(gigaflops, abs=0.05)
    path = tmp_path / "full.onnx"
    export_onnx(model, path, CARD, label_stride=1)
    assert path.stat().st_size / 1e6 == pytest.approx(megabytes, rel=0.02)
    path.unlink()
