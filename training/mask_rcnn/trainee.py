"""The detector made ready to learn, by the settings of a run."""

from __future__ import annotations

from training.devices import loss_share
from training.mask_rcnn.network import MaskRCNN
from training.optimizer import optimizer_of
from training.settings import FitConfig


def build_detector_trainee(config: FitConfig) -> MaskRCNN:
    """A compiled detector on a trunk, which learns nothing and wants weights."""
    model = MaskRCNN(config.width, config.encoder)
    model.learn_on(config.crop, loss_share())
    optimizer = optimizer_of(config)
    model.compile(optimizer, jit_compile=False)  # compiling it takes longer than a short training
    optimizer.build(model.trainable_variables)
    return model
