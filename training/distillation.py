"""Learning from a teacher: its softened answers are a second target for every pixel, labelled or not.

Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2: cross-entropy with the
teacher's distribution at a raised temperature, times the temperature squared, which keeps its gradients on
the scale of the labels'. The entropy of the teacher, a constant, is taken off, so that 0 is agreement.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


def soft_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Mean over pixels of KL(teacher || student), both (B, h, w, C) logits, at ``temperature``, times its square."""
    target = ops.log_softmax(ops.cast(teacher, "float32") / temperature, axis=-1)
    answer = ops.log_softmax(ops.cast(student, "float32") / temperature, axis=-1)
    return temperature**2 * ops.mean(ops.sum(ops.exp(target) * (target - answer), axis=-1))


class Student(keras.Model):  # type: ignore[misc]  # keras is untyped
    """A functional model whose loss has the teacher's part added; its layers and weights are those of the model."""

    def learn_from(self, teacher: keras.Model, *, weight: float, temperature: float) -> None:
        """From now on, ``weight`` times the divergence from ``teacher``'s logits (its first output) is learnt."""

        # A closure: an attribute would make the teacher a part of the student, checkpoints and all.
        def divergence(frames: Tensor, logits: Tensor) -> Tensor:
            answer = teacher(frames, training=False)
            soft = ops.stop_gradient(answer[0] if isinstance(answer, (list, tuple)) else answer)
            if soft.shape[1:3] != logits.shape[1:3]:
                soft = ops.image.resize(soft, logits.shape[1:3], interpolation="bilinear")
            return weight * soft_divergence(soft, logits, temperature)

        self._divergence = divergence

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The labels' loss plus the teacher's."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + self._divergence(x, y_pred[0])
