"""Losses against numpy references, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.errors import ConfigError
from training.data.taxonomy import CLASSES, membership, set_values_from_camvid
from training.settings import FitConfig

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
losses = pytest.importorskip("training.losses")

VOID = 255
CAR_SET = int(set_values_from_camvid()[8])  # car, truck, bus or train
CAR_MEMBERS = [13, 14, 15, 16]


def numpy_of(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def example(seed: int = 0, *, sets: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(labels, logits) of two small maps, some pixels coarse, some void."""
    random = np.random.default_rng(seed)
    known = [*range(CLASSES), *(np.flatnonzero(membership().sum(axis=1) > 1) if sets else []), VOID, VOID]
    labels = random.choice(known, (2, 6, 8)).astype(np.uint8)
    return labels, random.normal(0, 2, (2, 6, 8, CLASSES)).astype(np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def reference_cross_entropy(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    inside = (probabilities(logits) * membership()[labels]).sum(axis=-1)
    return np.where(labels == VOID, 0, -np.log(np.where(labels == VOID, 1, inside)))


def gradient(function: Callable[[Any], Any], logits: np.ndarray) -> np.ndarray:
    """The gradient of a scalar function by the backend's own means."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(logits))
    if keras.backend.backend() == "torch":
        variable = keras.ops.convert_to_tensor(logits).clone().requires_grad_()
        function(variable).backward()
        return np.asarray(variable.grad)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        variable = tf.constant(logits)
        tape.watch(variable)
        value = function(variable)
    return np.asarray(tape.gradient(value, variable))


def cross_entropy(labels: np.ndarray, logits: Any, weights: np.ndarray | None = None) -> Any:
    return losses.set_cross_entropy(losses.target_sets(labels), logits, weights)


def test_set_cross_entropy_is_minus_the_log_of_the_set_s_probability() -> None:
    labels, logits = example()
    assert numpy_of(cross_entropy(labels, logits)) == pytest.approx(reference_cross_entropy(labels, logits), abs=1e-4)


def test_with_single_classes_it_is_ordinary_cross_entropy() -> None:
    labels, logits = example(sets=False)
    known = np.where(labels == VOID, 0, labels)
    ordinary = numpy_of(keras.ops.sparse_categorical_crossentropy(known, logits, from_logits=True))
    found = numpy_of(cross_entropy(labels, logits))
    assert found[labels != VOID] == pytest.approx(ordinary[labels != VOID], abs=1e-4)


def test_void_costs_nothing_and_teaches_nothing() -> None:
    labels, logits = example()
    assert (numpy_of(cross_entropy(labels, logits))[labels == VOID] == 0).all()
    loss = losses.SegmentationLoss(hard_share=0.4)
    found = gradient(lambda x: loss(labels, x), logits)
    assert np.isfinite(found).all()
    assert (found[labels == VOID] == 0).all()


def test_an_image_of_void_alone_is_finite() -> None:
    labels, logits = np.full((1, 6, 8), VOID, np.uint8), example()[1][:1]
    loss = losses.SegmentationLoss(hard_share=0.35)
    assert np.isfinite(numpy_of(loss(labels, logits)))
    assert (gradient(lambda x: loss(labels, x), logits) == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_never_pushes_a_member_of_the_set_down(seed: int) -> None:
    labels, logits = example(seed)
    found = gradient(lambda x: keras.ops.sum(cross_entropy(labels, x)), logits)
    allowed = membership()[labels].astype(bool)
    assert (found[allowed] <= 1e-6).all()
    assert (found[~allowed] >= -1e-6).all()


def test_within_a_set_the_network_keeps_its_own_opinion() -> None:
    """Members are pushed up in proportion to their probability: the loss does not choose among them."""
    labels, logits = np.full((1, 1, 1), CAR_SET, np.uint8), example()[1][:1, :1, :1]
    found = gradient(lambda x: keras.ops.sum(cross_entropy(labels, x)), logits)[0, 0, 0, CAR_MEMBERS]
    expected = probabilities(logits)[0, 0, 0, CAR_MEMBERS]
    assert found / found.sum() == pytest.approx(expected / expected.sum(), rel=1e-4)


@pytest.mark.parametrize("margin", [30.0, 100.0, 1000.0])
def test_however_wrong_a_pixel_is_it_is_still_taught(margin: float) -> None:
    logits = np.zeros((1, 1, 1, CLASSES), np.float32)
    logits[..., 0] = margin
    labels = np.full((1, 1, 1), CAR_SET, np.uint8)
    assert float(numpy_of(cross_entropy(labels, logits)).item()) == pytest.approx(margin - np.log(4), rel=1e-3)
    found = gradient(lambda x: keras.ops.sum(cross_entropy(labels, x)), logits)[0, 0, 0]
    assert found[CAR_MEMBERS] == pytest.approx([-0.25] * 4, abs=1e-3)


def test_class_weights_are_averaged_over_a_set() -> None:
    labels, logits = example()
    weights = np.linspace(0.5, 3, CLASSES).astype(np.float32)
    sets = membership()[labels]
    expected = (sets * weights).sum(axis=-1) / np.maximum(1, sets.sum(axis=-1))
    found = numpy_of(cross_entropy(labels, logits, weights))
    assert found == pytest.approx(reference_cross_entropy(labels, logits) * expected, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": np.ones(11, np.float32)}, "class_weights"),
        ({"dice": -0.1}, "dice -0.1"),
        ({"lovasz": float("nan")}, "lovasz nan"),
        ({"cross_entropy": 0, "dice": 0}, "above zero"),
    ],
)
def test_a_sum_that_makes_no_loss_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.SegmentationLoss(**settings)


def test_a_run_without_any_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn from"):
        FitConfig(out=Path("run"), cross_entropy=0, dice=0, lovasz=0)
    assert FitConfig(out=Path("run"), cross_entropy=0, dice=0, lovasz=1).lovasz == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_a_pixel_s_own_weight_is_added_to_that_of_its_class(weighted: bool) -> None:
    labels, logits = example()
    extra = np.random.default_rng(3).integers(0, 160, labels.shape).astype(np.uint8)
    weights = np.linspace(0.5, 3, CLASSES).astype(np.float32) if weighted else None
    sets = membership()[labels]
    of_class = (sets * weights).sum(axis=-1) / np.maximum(1, sets.sum(axis=-1)) if weighted else 1.0
    known = labels != VOID
    expected = (reference_cross_entropy(labels, logits) * (of_class + extra / 16))[known].mean()
    loss = losses.SegmentationLoss(hard_share=1, dice=0, class_weights=weights)
    assert float(numpy_of(loss(np.stack([labels, extra], axis=-1), logits))) == pytest.approx(expected, rel=1e-4)
    nothing = np.stack([labels, np.zeros_like(labels)], axis=-1)
    assert float(numpy_of(loss(nothing, logits))) == pytest.approx(float(numpy_of(loss(labels, logits))), rel=1e-6)


TERMS = ("cross_entropy", "dice", "lovasz")


def one_term(name: str, **settings: Any) -> Any:
    return losses.SegmentationLoss(**{**dict.fromkeys(TERMS, 0.0), name: 1.0}, **settings)


def test_the_whole_is_the_weighted_sum_of_its_terms() -> None:
    labels, logits = example()
    weights = {"cross_entropy": 0.6, "dice": 0.3, "lovasz": 1.7}
    expected = sum(weights[name] * float(numpy_of(one_term(name)(labels, logits))) for name in TERMS)
    assert float(numpy_of(losses.SegmentationLoss(**weights)(labels, logits))) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(TERMS), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0]), st.floats(-30, 30))
def test_whatever_is_predicted_at_void_changes_nothing(term: str, seed: int, share: float, by: float) -> None:
    labels, logits = example(seed)
    other = logits.copy()
    noise = np.random.default_rng(seed).normal(0, 5, logits.shape)
    other[labels == VOID] += (by + noise)[labels == VOID].astype(np.float32)
    loss = one_term(term, hard_share=share)
    assert float(numpy_of(loss(labels, other))) == float(numpy_of(loss(labels, logits)))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_hardest_mean_takes_the_hardest_share_of_each_image_s_known_pixels(share: float) -> None:
    random = np.random.default_rng(1)
    pixel_loss = random.permuted(np.tile(np.arange(1, 401, dtype=np.float32), (2, 1)), axis=1).reshape(2, 20, 20)
    pixel_loss[1] += 1000  # a harder image must not take the other's share
    valid = np.ones((2, 20, 20), np.float32)
    valid[0, :10] = 0
    pixel_loss[valid == 0] = 0
    kept = [np.sort(loss[known > 0])[::-1] for loss, known in zip(pixel_loss, valid)]
    expected = np.concatenate([values[: int(np.ceil(share * len(values)))] for values in kept]).mean()
    assert float(numpy_of(losses.hardest_mean(pixel_loss, valid, share))) == pytest.approx(expected, rel=1e-5)


def test_hardest_mean_of_everything_is_the_mean_of_what_is_known() -> None:
    valid = np.ones((1, 4, 4), np.float32)
    valid[0, 0] = 0
    pixel_loss = np.full((1, 4, 4), 7, np.float32)
    pixel_loss[0, 0] = 99
    assert float(numpy_of(losses.hardest_mean(pixel_loss, valid, 1.0))) == pytest.approx(7)


def test_on_large_maps_the_cut_is_estimated_closely() -> None:
    pixel_loss = np.random.default_rng(0).exponential(1, (2, 144, 192)).astype(np.float32)
    pixel_loss[:, :, ::16] *= 3  # a column that a sample in step with the width would see too often, or never
    cut = np.quantile(pixel_loss, 0.65, axis=(1, 2), keepdims=True)
    expected = pixel_loss[pixel_loss >= cut].mean()
    found = float(numpy_of(losses.hardest_mean(pixel_loss, np.ones_like(pixel_loss), 0.35)))
    assert found == pytest.approx(expected, rel=0.04)


def test_dice_lies_between_nothing_and_one_and_is_nothing_for_a_perfect_answer() -> None:
    labels, logits = example(sets=False)
    assert 0 < float(numpy_of(losses.soft_dice(losses.target_sets(labels), logits))) < 1
    perfect = np.where(membership()[labels] > 0, 50, -50).astype(np.float32)
    assert float(numpy_of(losses.soft_dice(losses.target_sets(labels), perfect))) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("epsilon", [1.0, 1e-3])
def test_dice_is_the_formula_of_the_textbook(epsilon: float) -> None:
    labels, logits = example(sets=False)
    truth = membership()[labels]
    found = probabilities(logits) * (labels != VOID)[..., None]
    overlap, total = (found * truth).sum(axis=(1, 2)), (found + truth).sum(axis=(1, 2))
    expected = 1 - ((2 * overlap + epsilon) / (total + epsilon)).mean()
    value = losses.soft_dice(losses.target_sets(labels), logits, epsilon)
    assert float(numpy_of(value)) == pytest.approx(expected, abs=1e-5)


def test_dice_is_satisfied_with_any_division_of_a_set() -> None:
    labels = np.full((1, 4, 4), CAR_SET, np.uint8)
    for shares in ([0.0, 0, -50, -50], [0.0, -50, -50, -50], [0.0, 1, 2, 3]):
        logits = np.full((1, 4, 4, CLASSES), -50, np.float32)
        logits[..., CAR_MEMBERS] = shares
        assert float(numpy_of(losses.soft_dice(losses.target_sets(labels), logits))) == pytest.approx(0, abs=1e-4)


def test_dice_teaches_pixels_that_are_hopelessly_wrong() -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    logits = np.zeros((1, 4, 4, CLASSES), np.float32)
    logits[..., 1] = 30  # the truth's probability is 1e-13
    assert float(numpy_of(losses.soft_dice(losses.target_sets(labels), logits))) == pytest.approx(
        1 - (1 / 17 + 1 / 17 + 17) / 19, abs=1e-5
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "terms", [*({name: 1.0} for name in TERMS), {"cross_entropy": 1.0, "dice": 0.5, "lovasz": 0.3}]
)
def test_the_gradient_is_the_slope(terms: dict[str, float], weighted: bool) -> None:
    labels, logits = example(sets=False)  # dice holds the division of a set fixed, which no difference can
    weights = np.linspace(0.5, 3, CLASSES).astype(np.float32) if weighted else None
    loss = losses.SegmentationLoss(**(dict.fromkeys(TERMS, 0.0) | terms), hard_share=1.0, class_weights=weights)
    found = gradient(lambda x: loss(labels, x), logits)
    random = np.random.default_rng(2)
    for _ in range(4):
        direction = random.normal(0, 1, logits.shape).astype(np.float32)
        step = np.float32(0.01)
        ahead, behind = (float(numpy_of(loss(labels, logits + s * direction))) for s in (step, -step))
        assert (ahead - behind) / (2 * step) == pytest.approx(float((found * direction).sum()), rel=0.02, abs=1e-3)


def test_logits_of_another_size_are_brought_to_the_labels() -> None:
    labels = np.zeros((1, 8, 8), np.uint8)
    small = np.zeros((1, 2, 2, CLASSES), np.float32)
    small[..., 0] = 3
    large = np.repeat(np.repeat(small, 4, axis=1), 4, axis=2)
    loss = losses.SegmentationLoss()
    assert float(numpy_of(loss(labels, small))) == pytest.approx(float(numpy_of(loss(labels, large))), rel=1e-5)
