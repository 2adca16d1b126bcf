"""The detector made ready to learn, by the settings of a run."""

from __future__ import annotations

from collections.abc import Callable

from training.devices import loss_share
from training.mask_rcnn.network import MaskRCNN
from training.optimizer import build_optimizer
from training.settings import FitConfig


def build_detector_trainee(config: FitConfig, tell: Callable[[str], None]) -> MaskRCNN:
    """A compiled detector on the trunk of ``initial_weights``, which learns nothing.

    Raises:
        ModelError: the model to start from is missing or does not fit.
    """
    model = MaskRCNN(config.width, config.encoder)
    assert config.initial_weights is not None  # the settings see to it
    tell(str(model.start_from(config.initial_weights)))
    model.learn_on(config.crop, loss_share())
    optimizer = build_optimizer(
        rate=config.rate,
        encoder_rate=config.encoder_rate,
        steps=config.epochs * config.steps,
        ema=config.ema,
        decay=config.decay,
    )
    model.compile(optimizer, jit_compile=False)  # compiling it takes longer than a short training
    optimizer.build(model.trainable_variables)
    return model
