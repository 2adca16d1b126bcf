"""Grouping by boundaries: the recipe, its form for graphs, and how far they agree."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.classes import CITYSCAPES
from perception.stages.boundaries import by_flooding, group_by_boundaries, probabilities
from perception.stages.centres import CentreSettings
from training.watershed import by_watershed

CAR = 13
MOST = 32
Floats = npt.NDArray[np.float32]


def heads_of(ids: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Body and border as a good head gives them: the border is where two objects meet, all edges are soft."""
    kernel = np.ones((3, 3), np.uint8)
    largest = cv2.dilate(ids.astype(np.uint16), kernel)
    smallest = cv2.erode(np.where(ids > 0, ids, 65535).astype(np.uint16), kernel)
    border = (largest != smallest) & (smallest < 65535) & (ids > 0)
    maps = [np.where(mask, np.float32(6), np.float32(-6)) for mask in ((ids > 0) & ~border, border)]
    body, edge = (cv2.GaussianBlur(one, (0, 0), 0.6).astype(np.float32) for one in maps)
    return body, edge


def two_cars() -> npt.NDArray[np.int32]:
    ids = np.zeros((32, 64), np.int32)
    ids[8:24, 8:32], ids[8:24, 32:56] = 1, 2
    return ids


def by_flood(body: Floats, border: Floats) -> npt.NDArray[np.int32]:
    return by_flooding(probabilities(body), probabilities(border), MOST).ids


def by_shed(body: Floats, border: Floats) -> npt.NDArray[np.int32]:
    pytest.importorskip("skimage", reason="the recipe's watershed is scikit-image's")
    return by_watershed(probabilities(body), probabilities(border)).ids


@pytest.mark.parametrize("separate", [by_flood, by_shed])
def test_two_cars_that_touch_are_two(separate: Any) -> None:
    truth = two_cars()
    found = separate(*heads_of(truth))
    assert sorted(np.unique(found)) == [0, 1, 2]
    for one in (1, 2):
        best = np.bincount(found[truth == one], minlength=3).argmax()
        assert ((found == best) & (truth == one)).sum() / ((found == best) | (truth == one)).sum() > 0.85


@pytest.mark.parametrize("separate", [by_flood, by_shed])
def test_nothing_one_over_everything_and_specks(separate: Any) -> None:
    nothing = np.zeros((24, 40), np.int32)
    assert not separate(*heads_of(nothing)).any()
    assert (separate(*heads_of(nothing + 1)) == 1).all()
    specks = nothing.copy()
    specks[::4, ::4] = np.arange(1, 61).reshape(6, 10)  # less than ten cells each
    assert not separate(*heads_of(specks)).any()


def test_both_forms_agree_where_a_head_is_good() -> None:
    pytest.importorskip("skimage", reason="the recipe's watershed is scikit-image's")
    random = np.random.default_rng(5)
    truth = np.zeros((96, 160), np.int32)
    for number in range(1, 25):
        y, x = random.integers(0, (80, 140))
        truth[y : y + random.integers(6, 24), x : x + random.integers(6, 40)] = number
    body, border = (probabilities(one) for one in heads_of(truth))
    one, other = by_flooding(body, border, 64).ids, by_watershed(body, border).ids
    both = (one > 0) & (other > 0)
    assert both.sum() / ((one > 0) | (other > 0)).sum() > 0.9
    pairs = np.unique(np.stack([one[both], other[both]]), axis=1, return_counts=True)
    best = [pairs[1][pairs[0][0] == number].max() for number in np.unique(one[both])]
    assert sum(best) / both.sum() > 0.95


@pytest.fixture(scope="module")
def session() -> Any:
    """The graph's form in ONNX Runtime."""
    pytest.importorskip("onnx", reason="export needs ONNX")
    ort = pytest.importorskip("onnxruntime")
    from training.grouping_model import grouping_model

    model = grouping_model("boundary", CentreSettings(most=MOST)).SerializeToString()
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 2), height=st.integers(1, 4), width=st.integers(1, 6))
def test_the_graph_gives_the_bytes_of_its_reference(
    session: Any, seed: int, frames: int, height: int, width: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (frames, 8 * height, 8 * width)
    labels = random.choice([0, 11, CAR, 14], shape).repeat(2, 1).repeat(2, 2).astype(np.uint8)
    sure = random.integers(0, 256, labels.shape, np.uint8)
    body, border = (
        np.stack([cv2.GaussianBlur(random.normal(m, 12, shape[1:]).astype(np.float32), (0, 0), s) for _ in labels])
        for m, s in ((1, 2), (-4, 1))
    )
    names = ["labels", "confidence", "ids", "id_scores"]
    given_maps = {"labels_in": labels, "confidence_in": sure, "boundary": np.stack([body, border], axis=1)}
    found = session.run(names, given_maps)
    for frame, maps in enumerate(zip(labels, sure, body, border)):
        wanted = group_by_boundaries(*maps, CITYSCAPES.thing_ids(), MOST)
        for name, array in zip(names, found):
            assert (array[frame] == getattr(wanted, name)).all(), name
