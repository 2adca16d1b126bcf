"""Train a head that tells objects apart: on a trunk that stays as it is, labels bit for bit, or together with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from training.data.boundaries import BoundaryTargets
from training.data.centres import CentreTargets
from training.data.instance_samples import InstanceSampler, Targeting
from training.data.samples import Mixture
from training.devices import loss_share
from training.label_loss import label_losses
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
LabelLoss = Callable[[Tensor, Tensor], Tensor]
_OUTPUTS = ("centres", "offsets", "boundary")


class Trainee(keras.Model):  # type: ignore[misc]  # keras is untyped
    """A functional model of logits and a head's outputs that learns by the loss of the head, and of the labels."""

    def learn_by(self, head_loss: HeadLoss, label_loss: LabelLoss | None = None) -> None:
        """From now on, ``head_loss(targets, answers)`` is what is minimised, its answers all outputs but the first.

        With ``label_loss(labels, logits)`` the sum of both is.
        """
        self._head_loss, self._label_loss = head_loss, label_loss

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """``y`` are the labels and the head's targets, or these twice, as the loader hands them over."""
        del x, sample_weight, training
        loss = self._head_loss(y[1], y_pred[1:])
        return loss if self._label_loss is None else loss + self._label_loss(y[0], y_pred[0])


def build_trainee(config: FitConfig, mixture: Mixture) -> keras.Model:
    """The network with its head, compiled: the trunk, which wants weights, and a new head.

    Frozen, a batch normalisation uses the statistics it has.
    """
    if config.head == "mask-rcnn":
        return build_detector_trainee(config)
    network = build_network(config.network, width=config.width, encoder=config.encoder, head=config.head_or_none)
    model = Trainee(network.inputs, network.outputs)
    joint = config.trunk == "learns"
    for layer in model.layers:
        layer.trainable = joint or layer.name.startswith(PREFIX) or layer.name in _OUTPUTS
    head_loss: HeadLoss = CentreLoss() if config.head == "centre" else BoundaryLoss()
    share = loss_share()
    if joint:
        label_loss, weight = label_losses(config, mixture)[0], share * config.head_weight
        model.learn_by(
            lambda targets, answers: weight * head_loss(targets, answers),
            lambda labels, logits: share * label_loss(labels, logits),
        )
    else:
        model.learn_by(lambda targets, answers: share * head_loss(targets, answers))
    optimizer = optimizer_of(config)
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
    return model


def instance_sampler(config: FitConfig, mixture: Mixture) -> InstanceSampler:
    """What draws the batches of the head that is to be trained."""
    targets: Targeting = CentreTargets() if config.head == "centre" else BoundaryTargets()
    if config.head == "mask-rcnn":
        targets = DetectionTargets(config.crop)
    return InstanceSampler(mixture, config.crop, config.batch, config.seed, targets, labels=config.trunk == "learns")
