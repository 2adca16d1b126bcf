"""Sizes of convolutions, pooling and their inverses (Dumoulin & Visin 2016, "A guide to convolution arithmetic").

Sizes are pixels along one axis, kernel k, stride s, padding p on each side, dilation d.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


def convolved_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """H_o = floor((H - k' + 2p) / s) + 1 with k' = d (k - 1) + 1; also that of pooling.

    Raises:
        ValueError: the kernel does not fit into the padded input.
    """
    reach = dilation * (kernel - 1) + 1
    if size + 2 * padding < reach:
        raise ValueError(f"a kernel that reaches over {reach} pixels does not fit into {size} + 2 * {padding}")
    return (size - reach + 2 * padding) // stride + 1


def transposed_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """H_o = s (H - 1) + k - 2p: the smallest size that ``convolved_size`` maps back to ``size``."""
    return stride * (size - 1) + kernel - 2 * padding


def insert_zeros(x: Array, stride: int) -> Array:
    """(H, W, C) to (s (H - 1) + 1, s (W - 1) + 1, C): s - 1 zeros between neighbouring rows and columns."""
    height, width, channels = x.shape
    wide = np.zeros((stride * (height - 1) + 1, stride * (width - 1) + 1, channels), x.dtype)
    wide[::stride, ::stride] = x
    return wide


def convolve(x: Array, kernel: Array) -> Array:
    """(H, W, C) with (k, k, C, C') to (H - k + 1, W - k + 1, C'): as networks do, without turning the kernel."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))  # (H', W', C, k, k)
    return np.asarray(np.einsum("hwcij,ijco->hwo", windows, kernel))


def transposed_convolution(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """A transposed convolution as an ordinary one: insert zeros, pad by k - 1 - p, convolve with the turned kernel.

    ``x`` is (H, W, C); ``kernel`` is (k, k, C', C), the layout of Conv2DTranspose: that of the convolution
    from C' to C channels whose gradient this is.
    """
    margin = kernel.shape[0] - 1 - padding
    wide = np.pad(insert_zeros(x, stride), ((margin, margin), (margin, margin), (0, 0)))
    return convolve(wide, kernel[::-1, ::-1].transpose(0, 1, 3, 2))


def receptive_field(steps: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
    """(pixels seen along one axis, stride) of a chain of (kernel, stride, dilation).

    Each layer adds d (k - 1) steps of its input's stride (Araujo, Norris, Sim 2019, "Computing Receptive
    Fields of Convolutional Neural Networks").
    """
    field, jump = 1, 1
    for kernel, stride, dilation in steps:
        field += dilation * (kernel - 1) * jump
        jump *= stride
    return field, jump


def bilinear_kernel(stride: int) -> npt.NDArray[np.float32]:
    """(k, k), k = 2s - s mod 2: the transposed convolution of this stride that interpolates bilinearly.

    A triangle whose centre lies between two taps where k is even (Long, Shelhamer, Darrell 2015, section 3.3).
    """
    size = 2 * stride - stride % 2
    centre = (size - 1) / 2
    triangle = 1 - np.abs(np.arange(size) - centre) / stride
    return np.outer(triangle, triangle).astype(np.float32)
