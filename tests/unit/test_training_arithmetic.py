"""The arithmetic of convolutions against Keras' own layers: sizes, zero insertion, bilinear kernels, fields of view."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from training.models.arithmetic import (  # noqa: E402
    bilinear_kernel,
    convolve,
    convolved_size,
    insert_zeros,
    receptive_field,
    transposed_convolution,
    transposed_size,
)

layers = keras.layers


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [7, 8, 13])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 1, 1), (2, 2, 0, 1), (5, 3, 2, 1), (3, 1, 2, 2), (3, 2, 0, 3)],
)
def test_a_convolution_s_output_has_the_size_of_the_formula(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    padded = np.pad(values(1, size, size, 2), ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    if stride > 1 and dilation > 1:  # Keras takes one of the two: every second of the undivided output
        out = layers.Conv2D(3, kernel, dilation_rate=dilation)(padded)[:, ::stride, ::stride]
    else:
        out = layers.Conv2D(3, kernel, stride, dilation_rate=dilation)(padded)
    assert tuple(out.shape[1:3]) == (convolved_size(size, kernel, stride, padding, dilation),) * 2


@given(size=st.integers(1, 200), kernel=st.integers(1, 9), stride=st.integers(1, 5), data=st.data())
def test_the_inverse_gives_the_smallest_size_that_leads_back(size: int, kernel: int, stride: int, data: Any) -> None:
    padding = data.draw(st.integers(0, (kernel - 1) // 2))
    larger = transposed_size(size, kernel, stride, padding)
    assert convolved_size(larger, kernel, stride, padding) == size
    assert larger + 2 * padding == kernel or convolved_size(larger - 1, kernel, stride, padding) == size - 1


def test_a_kernel_larger_than_its_input_has_no_output() -> None:
    with pytest.raises(ValueError, match="reaches over 7 pixels"):
        convolved_size(4, 3, padding=1, dilation=3)


@given(stride=st.integers(1, 3), surplus=st.integers(0, 3), seed=st.integers(0, 99), same=st.booleans())
@settings(max_examples=15, deadline=None)
def test_zero_insertion_equals_the_transposed_convolution_value_for_value(
    stride: int, surplus: int, seed: int, same: bool
) -> None:
    kernel_size = stride + (2 * surplus if same else surplus)  # 'same' cuts the surplus off, half at each end
    x, kernel = values(4, 5, 3, seed=seed), values(kernel_size, kernel_size, 2, 3, seed=seed + 1)
    layer = layers.Conv2DTranspose(2, kernel_size, stride, padding="same" if same else "valid", use_bias=False)
    layer.build((1, 4, 5, 3))
    layer.set_weights([kernel])
    expected = np.asarray(keras.ops.convert_to_numpy(layer(x[None])))[0]
    padding = surplus if same else 0
    ours = transposed_convolution(x, kernel, stride, padding)
    assert ours.shape[:2] == tuple(transposed_size(n, kernel_size, stride, padding) for n in (4, 5))
    assert ours == pytest.approx(expected, abs=1e-4)


def test_zero_insertion_alone() -> None:
    x = np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1)
    wide = insert_zeros(x, 2)[..., 0]
    assert wide.tolist() == [[1, 0, 2, 0, 3], [0, 0, 0, 0, 0], [4, 0, 5, 0, 6]]


def test_convolving_is_what_a_layer_does() -> None:
    x, layer = values(6, 7, 3), layers.Conv2D(4, 3, use_bias=False)
    expected = np.asarray(keras.ops.convert_to_numpy(layer(x[None])))[0]
    assert convolve(x, layer.get_weights()[0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("stride", [2, 3, 4, 8])
def test_the_bilinear_kernel_interpolates(stride: int) -> None:
    """Away from the border, where the layer reads zeros, it is the resizing that everybody means."""
    x = values(6, 8, 1)
    kernel = bilinear_kernel(stride)
    padding = (len(kernel) - stride) // 2
    larger = transposed_convolution(x, kernel[:, :, None, None], stride, padding)[..., 0]
    expected = cv2.resize(x[..., 0], (8 * stride, 6 * stride), interpolation=cv2.INTER_LINEAR)
    inside = slice(stride, -stride)
    assert larger[inside, inside] == pytest.approx(expected[inside, inside], abs=1e-5)


def test_receptive_fields_of_known_chains() -> None:
    vgg = [(3, 1, 1)] * 2 + [(2, 2, 1)]
    vgg = vgg + vgg + ([(3, 1, 1)] * 3 + [(2, 2, 1)]) * 3
    assert receptive_field(vgg) == (212, 32)
    assert receptive_field([*vgg, (7, 1, 1)]) == (404, 32)  # FCN, Long et al. 2015, table 1
    assert receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)]) == (15, 1)  # Yu & Koltun 2016, figure 1
