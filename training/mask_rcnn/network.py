"""The detector as one Keras model: what it learns by, and what it finds."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from perception.types import Size
from training.mask_rcnn.boxes import all_anchors, decode
from training.mask_rcnn.heads import PREFIX, box_head, mask_head, proposal_network, pyramid
from training.mask_rcnn.losses import detector_loss
from training.mask_rcnn.roi_align import level_of, roi_align
from training.mask_rcnn.settings import BOX_BINS, BOX_WEIGHTS, MASK_BINS, MASK_SIDE, THINGS, DetectorSettings
from training.mask_rcnn.suppression import suppress
from training.mask_rcnn.targets import TargetLayout
from training.models.light_unet import WIDTHS, LightUNetWidths

Tensor = Any


@keras.saving.register_keras_serializable("roadcast")
class MaskRCNN(keras.Model):  # type: ignore[misc]  # keras is untyped
    """Mask R-CNN on the light U-Net, which keeps its labels: its layers do not learn.

    Args:
        widths: of the light U-Net: a name, or (context, decoder at strides 16, 8, 4, 2).
        encoder: the light U-Net's.
    """

    def __init__(self, widths: str | list[Any] = "large", encoder: str = "lite0", **options: Any) -> None:
        super().__init__(**{"name": "mask_rcnn", **options})
        self._given = (widths, encoder)
        self.detector = DetectorSettings()
        self.trunk = pyramid(_widths(widths), encoder)
        self.rpn, self.box_head, self.mask_head = proposal_network(), box_head(), mask_head()
        for layer in self.trunk.layers:
            layer.trainable = layer.name.startswith(PREFIX)
        self.built = True
        self._layout: TargetLayout | None = None
        self._share = 1.0

    def call(self, frames: Tensor, training: bool = False) -> list[Tensor]:
        """Frames (B, H, W, 3) u8, sides in multiples of 32 from 64 on, to all maps, as ``first_stage`` takes them."""
        return list(self.trunk(frames, training=training))

    def first_stage(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors (A, 4), their logits (B, A) and codes (B, A, 4), of the five levels of the pyramid."""
        logits, codes = zip(*(self.rpn(level) for level in levels))
        shapes = [ops.shape(level)[1:3] for level in levels]
        return (
            all_anchors(shapes, ops),
            ops.concatenate([ops.reshape(one, (ops.shape(one)[0], -1)) for one in logits], axis=1),
            ops.concatenate([ops.reshape(one, (ops.shape(one)[0], -1, 4)) for one in codes], axis=1),
        )

    def propose(self, anchors: Tensor, logits: Tensor, codes: Tensor, size: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
        """(B, P, 4) the likeliest boxes after suppression, inside a frame of ``size`` (h, w), and their logits (B, P).

        Where fewer remain the last are empty ones: no gradient goes through any (Ren et al. 2015, section 3.2).
        """
        best, index = ops.top_k(logits, self.detector.looked_at)
        chosen = ops.take_along_axis(codes, ops.expand_dims(index, -1), axis=1)
        boxes = inside(decode(chosen, ops.take(anchors, index, axis=0), ops), size)
        boxes, best = ops.stop_gradient(boxes), ops.stop_gradient(best)
        kept = suppress(boxes, ops.ones_like(best), self.detector.proposal_overlap)
        score = ops.where(kept > 0, best, -1e9)
        score, index = ops.top_k(score, self.detector.proposals)
        boxes = ops.take_along_axis(boxes, ops.expand_dims(index, -1), axis=1)
        return ops.where(ops.expand_dims(score > -1e8, -1), boxes, 0.0), score

    def read_boxes(self, levels: list[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, R, 1 + classes) and codes (B, R, 4) of boxes (B, R, 4)."""
        count = ops.shape(boxes)[1]
        features = roi_align(levels[:4], boxes, BOX_BINS, level_of(boxes))
        logits, codes = self.box_head(ops.reshape(features, (-1, *features.shape[2:])))
        return ops.reshape(logits, (-1, count, 1 + THINGS)), ops.reshape(codes, (-1, count, 4))

    def read_masks(self, levels: list[Tensor], boxes: Tensor) -> Tensor:
        """(B, R, 28, 28, classes) logits of the masks inside boxes (B, R, 4)."""
        features = roi_align(levels[:4], boxes, MASK_BINS, level_of(boxes))
        logits = self.mask_head(ops.reshape(features, (-1, *features.shape[2:])))
        return ops.reshape(logits, (-1, ops.shape(boxes)[1], MASK_SIDE, MASK_SIDE, THINGS))

    def detect(self, maps: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is in frames of ``size`` (h, w), of the maps that ``call`` gives.

        Returns:
            Boxes (B, K, 4) in network pixels, scores (B, K), best first, 0 for none, classes (B, K) i32 from 0, and
            probabilities (B, K, 28, 28) of the masks inside the boxes.
        """
        levels, settings = maps[1:], self.detector
        proposals, scores = self.propose(*self.first_stage(levels), size)
        logits, codes = self.read_boxes(levels, proposals)
        there = ops.expand_dims(ops.cast(scores > -1e8, "float32"), -1)
        probability = ops.softmax(logits, axis=-1)[..., 1:] * there
        boxes = inside(decode(codes, proposals, ops, BOX_WEIGHTS), size)
        count = settings.proposals
        sorted_scores, index = ops.top_k(ops.transpose(probability, (0, 2, 1)), count)  # (B, classes, P)
        flat = ops.reshape(index, (-1, THINGS * count))
        flat_boxes = ops.take_along_axis(boxes, ops.expand_dims(flat, -1), axis=1)
        likely = ops.cast(sorted_scores > settings.threshold, "float32")
        by_class = ops.reshape(flat_boxes, (-1, count, 4))
        kept = suppress(by_class, ops.reshape(likely, (-1, count)), settings.overlap)
        final = ops.reshape(kept, (-1, THINGS * count)) * ops.reshape(sorted_scores, (-1, THINGS * count))
        found, place = ops.top_k(final, settings.most)
        found_boxes = ops.take_along_axis(flat_boxes, ops.expand_dims(place, -1), axis=1)
        class_ids = ops.cast(place // count, "int32")
        masks = ops.sigmoid(self.read_masks(levels, found_boxes))
        chosen = ops.one_hot(class_ids, THINGS, dtype="float32")[:, :, None, None, :]
        return found_boxes, found, class_ids, ops.sum(masks * chosen, axis=-1)

    def learn_on(self, size: Size, share: float) -> None:
        """From now on targets are those of crops of ``size`` (w, h), and the loss counts ``share``."""
        self._layout, self._share = TargetLayout(size), share

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The sum of the five terms; ``y`` are the packed targets, twice, as the loader hands them over."""
        del x, sample_weight, training
        assert self._layout is not None  # learn_on was called
        return self._share * sum(detector_loss(self, y_pred[1:], self._layout, y[0]).values())

    def get_config(self) -> dict[str, Any]:
        """What is needed to build this model again."""
        return {"widths": self._given[0], "encoder": self._given[1], "name": self.name}


def inside(boxes: Tensor, size: tuple[Any, Any]) -> Tensor:
    """Boxes (..., 4) cut at the edges of a frame of ``size`` (h, w)."""
    height, width = (ops.cast(side, "float32") for side in size)
    return ops.maximum(ops.minimum(boxes, ops.stack([width, height, width, height])), 0.0)


def _widths(given: str | list[Any]) -> LightUNetWidths:
    if isinstance(given, str):
        return WIDTHS[given]  # type: ignore[index]  # a name of Width, or a KeyError
    return LightUNetWidths(given[0], tuple(given[1]))
