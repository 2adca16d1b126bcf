"""Lovász-softmax against its definition, set by set, and its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from test_training_losses import CAR_MEMBERS, CAR_SET, VOID, example, gradient, numpy_of, probabilities

from training.data.taxonomy import CAMVID_SETS, CLASSES, membership

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
lovasz = pytest.importorskip("training.losses.lovasz")
losses = pytest.importorskip("training.losses")

CAR, TRUCK, PERSON, ROAD = 13, 14, 11, 0


def jaccard_loss(wrong: set[int], inside: set[int]) -> float:
    """1 - IoU if the pixels ``wrong`` were classified wrongly: equation 5 of the paper."""
    return len(wrong) / len(inside | wrong) if inside | wrong else 0.0


def extension(errors: np.ndarray, inside: set[int]) -> float:
    """The Lovász extension of :func:`jaccard_loss` at ``errors``: equation 8."""
    total, wrong = 0.0, set()
    for pixel in np.argsort(-errors, kind="stable"):
        before = jaccard_loss(wrong, inside)
        wrong = wrong | {int(pixel)}
        total += errors[pixel] * (jaccard_loss(wrong, inside) - before)
    return total


def reference(labels: np.ndarray, logits: np.ndarray) -> float:
    """Written down group by group from the rules in the docstring."""
    sets = [frozenset(np.flatnonzero(membership()[value])) for value in labels.ravel()]
    found = probabilities(logits).reshape(-1, CLASSES)
    groups = [frozenset([c]) for c in range(CLASSES)] + [frozenset(s) for s in CAMVID_SETS if len(s) > 1]
    per_group = []
    for group in groups:
        if group not in sets:
            continue
        counted = [i for i, s in enumerate(sets) if s and (s <= group or not s & group)]
        inside = {k for k, i in enumerate(counted) if sets[i] <= group}
        member = found[counted][:, sorted(group)].sum(axis=1)
        errors = np.array([1 - m if k in inside else m for k, m in enumerate(member)])
        per_group.append(extension(errors, inside))
    return float(np.mean(per_group)) if per_group else 0.0


def value_of(labels: np.ndarray, logits: np.ndarray, **options: int) -> float:
    return float(numpy_of(losses.lovasz_softmax(labels, logits, **options)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sets", [False, True])
def test_it_is_the_lovasz_extension_of_the_jaccard_loss(seed: int, sets: bool) -> None:
    labels, logits = example(seed, sets=sets)
    assert value_of(labels, logits) == pytest.approx(reference(labels, logits), abs=1e-5)


def test_at_hard_predictions_it_is_one_minus_the_iou() -> None:
    labels = np.array([[[ROAD, ROAD, ROAD, CAR, CAR, VOID]]], np.uint8)
    predicted = np.array([[[ROAD, ROAD, CAR, CAR, ROAD, CAR]]])
    logits = np.where(np.arange(CLASSES) == predicted[..., None], 60.0, 0.0).astype(np.float32)
    road, car = 2 / 4, 1 / 3
    assert value_of(labels, logits) == pytest.approx(1 - (road + car) / 2, abs=1e-5)


def test_a_perfect_answer_costs_nothing_and_an_image_of_void_is_finite() -> None:
    labels, _ = example(sets=False)
    perfect = np.where(membership()[labels] > 0, 60, 0).astype(np.float32)
    assert value_of(labels, perfect) == pytest.approx(0, abs=1e-5)
    void, logits = np.full((1, 6, 8), VOID, np.uint8), example()[1][:1]
    assert value_of(void, logits) == 0
    assert (gradient(lambda x: losses.lovasz_softmax(void, x), logits) == 0).all()


def test_a_coarse_label_is_satisfied_with_any_division_of_its_set() -> None:
    labels = np.full((1, 2, 4), CAR_SET, np.uint8)
    labels[..., 2:] = ROAD
    for shares in ([0.0, 0, -50, -50], [0.0, -50, -50, -50], [0.0, 1, 2, 3]):
        logits = np.full((1, 2, 4, CLASSES), -50, np.float32)
        logits[:, :, :2, CAR_MEMBERS] = shares
        logits[:, :, 2:, ROAD] = 50
        assert value_of(labels, logits) == pytest.approx(0, abs=1e-5)


def test_pixels_of_a_coarse_label_are_background_of_other_classes_only() -> None:
    """Taking a car or truck for a person costs; taking it for a truck costs nothing, beside a truck or not."""
    labels = np.array([[[CAR_SET, TRUCK, PERSON, CAR_SET]]], np.uint8)
    logits = np.where(np.arange(CLASSES) == np.array([[[CAR, TRUCK, PERSON, TRUCK]]])[..., None], 60.0, 0.0)
    logits = logits.astype(np.float32)
    assert value_of(labels, logits) == pytest.approx(0, abs=1e-5)
    logits[0, 0, 3] = np.where(np.arange(CLASSES) == PERSON, 60.0, 0.0)
    # person: 1 hit, 1 too many; the set of cars: 2 of 3 (the truck belongs to it); truck: all right
    assert value_of(labels, logits) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3, abs=1e-5)


def test_void_teaches_nothing() -> None:
    labels, logits = example()
    found = gradient(lambda x: losses.lovasz_softmax(labels, x), logits)
    assert (found[labels == VOID] == 0).all()
    assert np.abs(found).max() > 0
    other = logits.copy()
    other[labels == VOID] += 7
    assert value_of(labels, other) == value_of(labels, logits)


@pytest.mark.parametrize("sets", [False, True])
def test_the_gradient_is_the_slope(sets: bool) -> None:
    labels, logits = example(3, sets=sets)
    found = gradient(lambda x: losses.lovasz_softmax(labels, x), logits)
    random = np.random.default_rng(2)
    for _ in range(6):
        direction = random.normal(0, 1, logits.shape).astype(np.float32)
        step = np.float32(2e-3)
        # float64 by the reference: the slope between two points so near that no two errors change places
        ahead, behind = (reference(labels, logits + s * direction) for s in (step, -step))
        assert (ahead - behind) / (2 * step) == pytest.approx(float((found * direction).sum()), rel=0.02, abs=1e-4)


def test_large_maps_are_sampled_from_another_start_each_time_and_estimated_closely() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.repeat(random.choice([ROAD, CAR, PERSON], (2, 12, 16)), 8, axis=1), 8, axis=2)
    labels = labels.astype(np.uint8)
    logits = random.normal(0, 1, (*labels.shape, CLASSES)).astype(np.float32) + 3 * membership()[labels]
    whole, sampled = value_of(labels, logits, sampling=1), value_of(labels, logits)
    assert sampled == pytest.approx(whole, rel=0.05)
    seen = []
    for start in range(lovasz.SAMPLING):
        moved = labels.copy()
        moved[0, 0, :start] = VOID - 1  # an unused value: void, but it moves the start
        found = gradient(lambda x, y=moved: losses.lovasz_softmax(y, x), logits)
        seen.append(np.flatnonzero(np.abs(found).max(axis=-1).ravel())[0] % lovasz.SAMPLING)
    assert len(set(seen)) > 1


def test_as_part_of_the_sum_it_counts_as_often_as_its_weight_says() -> None:
    labels, logits = example()
    without, with_it = (
        float(numpy_of(losses.SegmentationLoss(lovasz=weight)(labels, logits))) for weight in (0.0, 0.7)
    )
    assert with_it - without == pytest.approx(0.7 * reference(labels, logits), abs=1e-4)
