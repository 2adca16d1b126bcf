"""Prepare on the GPU: the resize of ``perception.stages.prepare`` as kernels that give the very bytes of OpenCV's.

Shrinking averages areas, anything else interpolates bilinearly, both with OpenCV's own arithmetic: areas in float32
in its order of summation, or in whole numbers where the factor is whole; bilinear in 11-bit fixed point. The tables of
which source pixel counts how much are made here once for a pair of sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.types import Size

_COEFFICIENT = 2048  # fixed-point one of the bilinear weights
_LEAST_SHARE = 1e-3  # a smaller part of a source pixel does not count

# Each thread computes one destination pixel (x, y) of one image; rows of images follow each other, so y counts on.
# A table entry list is [first entry of pixel 0, of pixel 1, ..., end], then per entry a source index and a weight.
SOURCE = r"""
#define PIXEL \
    int x = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y; \
    if (x >= width || row >= rows) return; \
    int y = row % height; \
    const unsigned char *from = source + (long long)(row / height) * source_width * source_height * 3; \
    unsigned char *to = target + ((long long)row * width + x) * 3;

extern "C" __global__ void resize_area(
    const unsigned char *source, unsigned char *target, const int *x_first, const int *x_index, const float *x_weight,
    const int *y_first, const int *y_index, const float *y_weight,
    int source_width, int source_height, int width, int height, int rows)
{
    PIXEL
    float sum[3] = {0, 0, 0};
    for (int j = y_first[y]; j < y_first[y + 1]; j++) {
        const unsigned char *line = from + (long long)y_index[j] * source_width * 3;
        float across[3] = {0, 0, 0};
        for (int i = x_first[x]; i < x_first[x + 1]; i++)
            for (int c = 0; c < 3; c++) across[c] += line[x_index[i] * 3 + c] * x_weight[i];
        for (int c = 0; c < 3; c++) sum[c] += across[c] * y_weight[j];
    }
    for (int c = 0; c < 3; c++) to[c] = (unsigned char)fminf(255.f, rintf(sum[c]));
}

extern "C" __global__ void resize_whole(
    const unsigned char *source, unsigned char *target,
    int source_width, int source_height, int width, int height, int rows)
{
    PIXEL
    int across = source_width / width, down = source_height / height, sum[3] = {0, 0, 0};
    for (int j = 0; j < down; j++)
        for (int i = 0; i < across; i++)
            for (int c = 0; c < 3; c++)
                sum[c] += from[((long long)(y * down + j) * source_width + x * across + i) * 3 + c];
    float share = 1.f / (across * down);
    for (int c = 0; c < 3; c++)
        to[c] = across == 2 && down == 2 ? (sum[c] + 2) >> 2 : (unsigned char)fminf(255.f, rintf(sum[c] * share));
}

extern "C" __global__ void resize_linear(
    const unsigned char *source, unsigned char *target, const int *x_index, const int *x_weight,
    const int *y_index, const int *y_weight,
    int source_width, int source_height, int width, int height, int rows)
{
    PIXEL
    int left = x_index[2 * x] * 3, right = x_index[2 * x + 1] * 3;
    const unsigned char *upper = from + (long long)y_index[2 * y] * source_width * 3;
    const unsigned char *lower = from + (long long)y_index[2 * y + 1] * source_width * 3;
    for (int c = 0; c < 3; c++) {
        int above = upper[left + c] * x_weight[2 * x] + upper[right + c] * x_weight[2 * x + 1];
        int below = lower[left + c] * x_weight[2 * x] + lower[right + c] * x_weight[2 * x + 1];
        to[c] = (((y_weight[2 * y] * (above >> 4)) >> 16) + ((y_weight[2 * y + 1] * (below >> 4)) >> 16) + 2) >> 2;
    }
}
"""


@dataclass(frozen=True)
class ResizePlan:
    """Which kernel brings one size to another, and the tables it takes, in the order of its arguments."""

    kernel: str
    tables: tuple[npt.NDArray[Any], ...]  # int32 or float32, one axis


def plan_resize(source: Size, target: Size) -> ResizePlan:
    """How frames of (w, h) ``source`` become ``target``: the rule of ``prepare``."""
    pairs = list(zip(source, target))
    if any(longer < shorter for longer, shorter in pairs):
        across, down = _linear_tables(*pairs[0], exact_border=True), _linear_tables(*pairs[1], exact_border=False)
        return ResizePlan("resize_linear", (*across, *down))
    if all(longer % shorter == 0 for longer, shorter in pairs):
        return ResizePlan("resize_whole", ())
    return ResizePlan("resize_area", tuple(table for pair in pairs for table in _area_tables(*pair)))


def _linear_tables(
    source: int, target: int, *, exact_border: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """(2 target,) indices and weights: of every target pixel the source pixels before and after it.

    Beyond the border both are the border's pixel. OpenCV gives it the whole weight across, but both weights down
    (``exact_border`` false), which rounds differently.
    """
    at = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    before = np.floor(at).astype(np.int32)
    share = (at - before).astype(np.float32)
    if exact_border:
        share[(before < 0) | (before >= source - 1)] = 0
    after = np.clip(before + 1, 0, source - 1)
    before = np.clip(before, 0, source - 1)
    weights = np.stack([np.float32(1) - share, share], axis=1) * np.float32(_COEFFICIENT)
    indices = np.stack([before, after], axis=1).ravel().astype(np.int32)
    return indices, np.rint(weights).astype(np.int32).ravel()


def _area_tables(source: int, target: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """(target + 1,) first entries, then source indices and float32 weights of all entries."""
    scale = source / target
    first, indices, weights = [0], [], []
    for pixel in range(target):
        start = pixel * scale
        end = start + scale
        cell = min(scale, source - start)
        last = min(int(np.floor(end)), source - 1)
        begin = min(int(np.ceil(start)), last)
        if begin - start > _LEAST_SHARE:
            indices.append(begin - 1)
            weights.append((begin - start) / cell)
        indices += range(begin, last)
        weights += [1.0 / cell] * (last - begin)
        if end - last > _LEAST_SHARE:
            indices.append(last)
            weights.append(min(end - last, 1.0, cell) / cell)
        first.append(len(indices))
    return np.array(first, np.int32), np.array(indices, np.int32), np.array(weights, np.float32)
