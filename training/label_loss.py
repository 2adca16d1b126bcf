"""What a run minimises of the labels, by its settings."""

from __future__ import annotations

from training.data.samples import Mixture
from training.data.statistics import class_weights, count_classes
from training.losses import SegmentationLoss
from training.settings import FitConfig


def label_losses(config: FitConfig, mixture: Mixture) -> tuple[SegmentationLoss, SegmentationLoss]:
    """The loss of the logits and that of an auxiliary head, with weights by how often each class occurs.

    The auxiliary head, which is dropped at export, does without the costly term, or learns by cross-entropy.

    Raises:
        SourceError: labels cannot be read.
    """
    counts = count_classes(pair for part in mixture.parts for pair in part)
    weights = class_weights(counts, config.weighting, config.weight_power)
    loss, auxiliary = (
        SegmentationLoss(
            cross_entropy=config.cross_entropy or float(not (config.dice or lovasz)),
            dice=config.dice,
            lovasz=lovasz,
            hard_share=config.hard_share,
            class_weights=weights,
        )
        for lovasz in (config.lovasz, 0.0)
    )
    return loss, auxiliary
