"""The losses of the heads that tell objects apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from training.data.boundaries import BoundaryTargets  # noqa: E402
from training.data.centres import HEAT, HEAT_WEIGHT, UNKNOWN, WAY_WEIGHT, CentreTargets  # noqa: E402
from training.losses.assignment import assignment  # noqa: E402
from training.losses.boundary import BoundaryLoss  # noqa: E402
from training.losses.centres import CentreLoss  # noqa: E402

CAR = 13000


@pytest.fixture
def ids() -> np.ndarray:
    """Two maps: two boxes that touch beside what is unknown, and nothing."""
    ids = np.zeros((2, 32, 48), np.uint16)
    ids[0, 4:24, 4:20] = CAR + 1
    ids[0, 4:24, 20:36] = CAR + 2
    ids[0, :, 44:] = UNKNOWN
    return ids


def value(loss: Any, targets: np.ndarray, *answers: np.ndarray) -> float:
    return float(loss(targets, [keras.ops.convert_to_tensor(answer, "float32") for answer in answers]))


def centre_answers(targets: np.ndarray, sure: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """What a perfect head would say."""
    logits = np.where(targets[..., HEAT : HEAT + 1] > 0.99, sure, -sure)
    return logits, targets[..., 2:4].copy()


def test_a_perfect_centre_head_costs_next_to_nothing_and_any_change_costs_more(ids: np.ndarray) -> None:
    targets = np.stack([CentreTargets().of(one) for one in ids])
    heat, ways = centre_answers(targets)
    best = value(CentreLoss(), targets, heat, ways)
    assert 0 <= best < 1e-3
    assert value(CentreLoss(), targets, -heat, ways) > 1
    off = ways + np.float32(1.5) * (targets[..., WAY_WEIGHT:] > 0)
    distance = CentreLoss(assignment=0)
    assert value(distance, targets, heat, off) == pytest.approx(best + 3.0, abs=1e-3)  # 1.5 down and across
    assert value(CentreLoss(offsets=2.0, assignment=0), targets, heat, off) == pytest.approx(best + 6.0, abs=1e-3)
    astray = -5 * ways
    missed = float(assignment(*(keras.ops.convert_to_tensor(a, "float32") for a in (targets, heat[..., 0], astray))))
    assert missed > 1
    both = value(CentreLoss(assignment=3.0), targets, heat, astray)
    assert both == pytest.approx(value(distance, targets, heat, astray) + 3 * missed, rel=1e-5)


def test_the_focal_term_is_the_formula_of_the_paper(ids: np.ndarray) -> None:
    """Zhou, Wang, Krähenbühl 2019, equation 1, with alpha 2 and beta 4."""
    targets = np.stack([CentreTargets(sigma=2.0).of(one) for one in ids])
    logits = np.random.default_rng(1).normal(size=(*targets.shape[:3], 1)).astype(np.float32)
    p, y, known = 1 / (1 + np.exp(-logits[..., 0])), targets[..., HEAT], targets[..., HEAT_WEIGHT]
    peaks = y == 1
    terms = np.where(peaks, (1 - p) ** 2 * np.log(p), (1 - y) ** 4 * p**2 * np.log(1 - p))
    expected = -(terms * known).sum() / peaks.sum()
    focal = CentreLoss(offsets=0, assignment=0)
    assert value(focal, targets, logits, targets[..., 2:4]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["centre", "boundary"])
def test_what_is_answered_where_nothing_is_known_changes_nothing(ids: np.ndarray, kind: str) -> None:
    made: Any = CentreTargets() if kind == "centre" else BoundaryTargets()
    targets = np.stack([made.of(one) for one in ids])
    random = np.random.default_rng(2)
    answers = [random.normal(size=(*targets.shape[:3], width)) for width in ((1, 2) if kind == "centre" else (2,))]
    loss: Any = CentreLoss() if kind == "centre" else BoundaryLoss()
    before = value(loss, targets, *answers)
    unknown = targets[..., HEAT_WEIGHT if kind == "centre" else -1] == 0
    assert unknown.any()
    for answer in answers:
        answer[unknown] = 5.0
    assert value(loss, targets, *answers) == pytest.approx(before, rel=1e-6)
    answers[0][0, 4, 5] += 3.0
    assert value(loss, targets, *answers) != pytest.approx(before, rel=1e-6)


def test_a_batch_without_objects_is_finite(ids: np.ndarray) -> None:
    nothing = np.stack([CentreTargets().of(ids[1])])
    assert np.isfinite(value(CentreLoss(), nothing, *centre_answers(nothing)))
    unknown = np.stack([BoundaryTargets().of(np.full((32, 48), UNKNOWN, np.uint16))])
    assert np.isfinite(value(BoundaryLoss(), unknown, np.zeros((1, 16, 24, 2))))


def test_the_boundary_loss_is_the_recipe_s_mix(ids: np.ndarray) -> None:
    targets = np.stack([BoundaryTargets().of(one) for one in ids])
    logits = np.random.default_rng(3).normal(size=(*targets.shape[:3], 2)).astype(np.float32)
    p, truth, weight = 1 / (1 + np.exp(-logits)), targets[..., :2], targets[..., 2:]
    entropy = -(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    entropy = (entropy * weight).sum() / (2 * weight.sum())
    overlap, total = (truth * p * weight).sum(axis=(0, 1, 2)), ((truth + p) * weight).sum(axis=(0, 1, 2))
    body, border = 1 - (2 * overlap + 1) / (total + 1)
    expected = 0.6 * entropy + 0.2 * body + 0.2 * border
    assert value(BoundaryLoss(), targets, logits) == pytest.approx(expected, rel=1e-4)
    perfect = value(BoundaryLoss(), targets, np.where(truth > 0, 12.0, -12.0))
    assert perfect < 1e-3


@pytest.mark.parametrize("loss", [CentreLoss, BoundaryLoss])
def test_weights_that_make_no_loss_are_refused(loss: Any) -> None:
    name = next(iter(loss.__dataclass_fields__))
    with pytest.raises(ValueError, match="finite and not negative"):
        loss(**{name: -1.0})
    with pytest.raises(ValueError, match="finite and not negative"):
        loss(**{name: float("nan")})
