"""The loss on the decision that grouping takes: which centre a cell goes to."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from training.data.centres import ACROSS, DOWN, HEAT, UNKNOWN, WAY_WEIGHT, CentreTargets  # noqa: E402
from training.losses.assignment import assignment  # noqa: E402

CAR = 13000


def value(targets: np.ndarray, heat: np.ndarray, offsets: np.ndarray) -> float:
    return float(assignment(*(keras.ops.convert_to_tensor(one, "float32") for one in (targets, heat, offsets))))


def quiet(targets: np.ndarray) -> np.ndarray:
    """A heat map (B, h, w) without a single peak."""
    return np.full(targets.shape[:3], -9.0, np.float32)


@pytest.fixture
def ids() -> np.ndarray:
    """Two boxes that touch, ten cells wide each, and a border of what is unknown."""
    ids = np.zeros((1, 32, 64), np.uint16)
    ids[0, 4:24, 4:24] = CAR + 1
    ids[0, 4:24, 24:44] = CAR + 2
    ids[0, :, 56:] = UNKNOWN
    return ids


@pytest.fixture
def targets(ids: np.ndarray) -> np.ndarray:
    return np.stack([CentreTargets().of(one) for one in ids])


def test_it_is_the_cross_entropy_of_a_soft_max_over_distances(targets: np.ndarray) -> None:
    random = np.random.default_rng(5)
    offsets = random.normal(scale=4, size=(*targets.shape[:3], 2)).astype(np.float32)
    centres = np.argwhere(targets[0, ..., HEAT] == 1)
    rows, columns = np.nonzero(targets[0, ..., WAY_WEIGHT])
    cells = np.stack([rows, columns], axis=1)
    own = ((cells + targets[0, rows, columns, DOWN : ACROSS + 1])[:, None] - centres) ** 2
    logits = -2 * np.linalg.norm((cells + offsets[0, rows, columns])[:, None] - centres, axis=-1)
    missed = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(cells)), own.sum(axis=-1).argmin(axis=1)]
    weight = targets[0, rows, columns, WAY_WEIGHT]
    expected = (weight * missed).sum() / weight.sum()
    assert expected > 0.3
    assert value(targets, quiet(targets), offsets) == pytest.approx(expected, rel=1e-3)


def test_an_error_costs_where_it_sends_a_cell_to_another_object_and_next_to_nothing_elsewhere(
    targets: np.ndarray,
) -> None:
    true = targets[..., DOWN : ACROSS + 1]
    assert value(targets, quiet(targets), true) < 1e-3
    away, astray = true.copy(), true.copy()
    left = (targets[..., WAY_WEIGHT] > 0) & (np.arange(targets.shape[2]) < 12)
    away[left] -= (0, 3)  # farther from the other object
    astray[left] += (0, 7)  # beyond the middle between the two
    assert value(targets, quiet(targets), away) < 1e-3
    assert value(targets, quiet(targets), astray) > 1


def test_a_peak_that_is_no_object_s_centre_takes_cells_away(targets: np.ndarray) -> None:
    offsets = targets[..., DOWN : ACROSS + 1] * np.float32(0.2)  # cells hardly leave where they are
    before = value(targets, quiet(targets), offsets)
    rival = quiet(targets)
    rival[0, 3, 3] = 2.0
    assert value(targets, rival, offsets) > before + 0.2
    rival[0, 3, 3] = -2.0  # below the threshold
    assert value(targets, rival, offsets) == pytest.approx(before)
    centre = quiet(targets)
    for row, column in np.argwhere(targets[0, ..., HEAT] == 1):
        centre[0, row, column + 1] = 2.0  # a cell beside the true one: the same object
    assert value(targets, centre, offsets) == pytest.approx(before)
    unknown = quiet(targets)
    unknown[0, 7, 30] = 2.0
    assert value(targets, unknown, offsets) == pytest.approx(before)


def test_of_more_objects_than_there_is_room_for_the_others_do_not_count() -> None:
    ids = np.zeros((1, 64, 128), np.uint16)
    for number in range(60):
        top, left = 8 * (number // 15), 8 * (number % 15)
        ids[0, top : top + 4, left : left + 4] = CAR + 1 + number
    targets = np.stack([CentreTargets().of(one) for one in ids])
    assert (targets[..., HEAT] == 1).sum() == 60
    true = targets[..., DOWN : ACROSS + 1]
    assert value(targets, quiet(targets), true) < 0.01
    nothing = np.stack([CentreTargets().of(np.zeros((64, 128), np.uint16))])
    assert value(nothing, quiet(nothing), true) == 0


def test_it_teaches_offsets_and_not_the_heat_map(targets: np.ndarray) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken by TensorFlow here")
    random = np.random.default_rng(6)
    heat = tensorflow.constant(random.normal(size=targets.shape[:3]), "float32")
    offsets = tensorflow.constant(targets[..., DOWN : ACROSS + 1])  # at distance 0 the root has no slope
    with tensorflow.GradientTape() as tape:
        tape.watch([heat, offsets])
        loss = assignment(tensorflow.constant(targets), heat, offsets)
    of_heat, of_offsets = tape.gradient(loss, [heat, offsets])
    assert of_heat is None
    assert np.isfinite(of_offsets).all()
