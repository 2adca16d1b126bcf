"""Train a head that tells objects apart on a trunk that stays as it is, so that the labels stay, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from training.data.boundaries import BoundaryTargets
from training.data.centres import CentreTargets
from training.data.instance_samples import InstanceSampler, Targeting
from training.data.samples import Mixture
from training.devices import loss_share
from training.losses.boundary import BoundaryLoss
from training.losses.centres import CentreLoss
from training.mask_rcnn.targets import DetectionTargets
from training.mask_rcnn.trainee import build_detector_trainee
from training.models.instance_decoder import PREFIX
from training.models.network import build_network
from training.optimizer import optimizer_of
from training.settings import FitConfig

Tensor = Any
HeadLoss = Callable[[Tensor, list[Tensor]], Tensor]
_OUTPUTS = ("centres", "offsets", "boundary")


class Trainee(keras.Model):  # type: ignore[misc]  # keras is untyped
    """A functional model of logits and a head's outputs that learns by the loss of the head alone."""

    def learn_by(self, loss: HeadLoss) -> None:
        """From now on, ``loss(targets, answers)`` of all outputs but the first is what is minimised."""
        self._head_loss = loss

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The head's loss; ``y`` are its targets, twice, as the loader hands them over."""
        del x, sample_weight, training
        return self._head_loss(y[0], y_pred[1:])


def build_trainee(config: FitConfig) -> keras.Model:
    """The network with its head, compiled: the trunk, which learns nothing and wants weights, and a new head.

    Frozen, a batch normalisation uses the statistics it has.
    """
    share = loss_share()
    if config.head == "mask-rcnn":
        return build_detector_trainee(config)
    network = build_network(config.network, width=config.width, encoder=config.encoder, head=config.head_or_none)
    model = Trainee(network.inputs, network.outputs)
    for layer in model.layers:
        layer.trainable = layer.name.startswith(PREFIX) or layer.name in _OUTPUTS
    loss: HeadLoss = CentreLoss() if config.head == "centre" else BoundaryLoss()
    model.learn_by(lambda targets, answers: share * loss(targets, answers))
    optimizer = optimizer_of(config)
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
    return model


def instance_sampler(config: FitConfig, mixture: Mixture) -> InstanceSampler:
    """What draws the batches of the head that is to be trained."""
    targets: Targeting = CentreTargets() if config.head == "centre" else BoundaryTargets()
    if config.head == "mask-rcnn":
        targets = DetectionTargets(config.crop)
    return InstanceSampler(mixture, config.crop, config.batch, config.seed, targets)
