"""Grouping by centres: the reference on maps made by hand and of the street, and the graph against the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.classes import CITYSCAPES
from perception.errors import ConfigError, ShapeError
from perception.stages.centres import CentreSettings, find_centres, group_by_centres
from perception.stages.objects import separate
from perception.stages.votes import Grouped
from perception.synth import Street
from perception.types import Segmentation

ROAD, PERSON, CAR, TRUCK = 0, 11, 13, 14
SETTINGS = CentreSettings()
Floats = npt.NDArray[np.float32]
Maps = dict[str, npt.NDArray[Any]]


def perfect(ids: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Heat map and offsets that a perfect network would give for a map of ids of twice the cells' resolution."""
    cells = ids[::2, ::2]
    height, width = cells.shape
    heat, offsets = np.full((height, width), -8, np.float32), np.zeros((2, height, width), np.float32)
    for rank, one in enumerate(np.unique(cells[cells > 0])):
        ys, xs = np.nonzero(cells == one)
        y, x = ys.mean(), xs.mean()
        row, column = round(y), round(x)
        heat[row, column] = 4 - rank / 256
        offsets[0, ys, xs], offsets[1, ys, xs] = y - ys, x - xs
    return heat, offsets


def grouped(labels: npt.NDArray[np.uint8], heat: Floats, offsets: Floats, **changes: Any) -> Grouped:
    sure = np.full(labels.shape, 200, np.uint8)
    return group_by_centres(labels, sure, heat, offsets, CITYSCAPES.thing_ids(), replace(SETTINGS, **changes))


def two_cars() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    labels, ids = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.int32)
    labels[8:24, 8:56] = CAR
    ids[8:24, 8:32], ids[8:24, 32:56] = 1, 2
    return labels, ids


def test_two_cars_that_touch_are_two() -> None:
    labels, ids = two_cars()
    found = grouped(labels, *perfect(ids))
    assert sorted(np.unique(found.ids)) == [0, 1, 2]
    assert (found.ids == ids).all()  # numbered by brightness
    assert (found.labels == labels).all()
    assert (found.id_scores[:2] > 0.9).all()
    assert not found.id_scores[2:].any()


def test_the_class_of_most_pixels_wins_and_the_others_lose_their_confidence() -> None:
    labels, ids = two_cars()
    labels[8:14, 8:32] = TRUCK
    found = grouped(labels, *perfect(ids))
    assert (found.labels[found.ids > 0] == CAR).all()
    assert found.confidence is not None
    assert (found.confidence == np.where(labels == TRUCK, 0, 200)).all()


def test_no_objects_at_all() -> None:
    labels, ids = two_cars()
    found = grouped(labels, np.full((16, 32), -8, np.float32), np.zeros((2, 16, 32), np.float32))
    assert not found.ids.any()
    assert not found.id_scores.any()
    assert (found.labels == labels).all()
    stuff = grouped(np.zeros_like(labels), *perfect(ids))  # centres, but nothing there that could be an object
    assert not stuff.ids.any()
    assert not stuff.labels.any()


def test_one_object_over_the_whole_frame() -> None:
    found = grouped(np.full((64, 128), CAR, np.uint8), *perfect(np.ones((64, 128), np.int32)))
    assert (found.ids == 1).all()


def test_an_offset_that_misses_by_more_than_the_reach_claims_nothing() -> None:
    labels = np.full((32, 128), CAR, np.uint8)
    heat, offsets = np.full((16, 64), -8, np.float32), np.zeros((2, 16, 64), np.float32)
    heat[8, 4] = 4
    found = grouped(labels, heat, offsets, reach=3)
    claimed = np.nonzero(found.ids[16, ::2])[0]
    assert claimed.tolist() == list(range(2, 8))  # of blocks of two cells, and 4 lies left in its own
    offsets[1] = 4 - np.arange(64) + 8  # all point 8 cells too far
    assert grouped(labels, heat, offsets, reach=3).ids[16, 80]  # from 36 cells away that is near enough
    assert not grouped(labels, heat, offsets, reach=3).ids[16, 20]


def test_of_a_far_claim_only_pixels_of_the_object_s_class_follow() -> None:
    labels = np.full((32, 128), CAR, np.uint8)
    labels[:, 80:] = CAR + 1
    labels[12:20, 10:14] = CAR + 1
    heat, offsets = np.full((16, 64), -8, np.float32), np.zeros((2, 16, 64), np.float32)
    heat[8, 6] = 4
    found = grouped(labels, heat, offsets, reach=64)
    assert (found.labels[12:20, 10:14] == CAR).all()  # the object votes on what is near
    assert (found.ids[:, :80] == 1).all()
    assert (found.labels[:, 80:] == CAR + 1).all()  # and not on what nobody found
    assert not found.ids[:, 80:].any()
    offsets[0], offsets[1] = 8 - np.arange(16)[:, None], 6 - np.arange(64)
    assert (grouped(labels, heat, offsets, reach=64).labels == CAR).all()  # these cells point at the centre


@pytest.mark.parametrize("level", [0.0, 0.37])
def test_of_equal_neighbours_one_is_the_centre(level: float) -> None:
    heat = np.full((16, 16), -8, np.float32)
    heat[4:6, 4:6] = level
    ys, xs, scores = find_centres(heat, SETTINGS)
    assert (scores > 0).sum() == 1
    assert 4 <= ys[0] <= 5
    assert 4 <= xs[0] <= 5
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-level)), abs=0.001)


def test_centres_are_the_brightest_in_their_order_and_no_more_than_asked_for() -> None:
    heat = np.full((64, 64), -8, np.float32)
    heat[::3, ::3] = np.random.default_rng(0).permutation(22 * 22).reshape(22, 22) / 100
    _, _, scores = find_centres(heat, CentreSettings(most=32))
    assert len(scores) == 32
    assert (np.diff(scores) <= 0).all()
    assert scores[-1] == pytest.approx(1 / (1 + np.exp(-4.52)), abs=0.001)


def test_what_2000_tiny_objects_leave_over_is_not_run_together() -> None:
    ids = np.zeros((256, 512), np.int32)
    ys, xs = np.mgrid[2:242:6, 2:502:10]
    for k, (y, x) in enumerate(zip(ys.ravel(), xs.ravel()), start=1):
        ids[y : y + 4, x : x + 4] = k
    labels = np.where(ids > 0, PERSON, ROAD).astype(np.uint8)
    found = grouped(labels, *perfect(ids))
    assert len(np.unique(found.ids)) == SETTINGS.most + 1
    assert np.bincount(found.ids.ravel())[1:].max() == 16
    whole = separate(Segmentation(found.labels, found.confidence, found.ids, found.id_scores), CITYSCAPES, min_area=0)
    assert len(whole) == len(np.unique(ids)) - 1 == 2000
    assert set(whole.areas.tolist()) == {16}


def test_what_a_head_learns_tells_touching_pairs_of_the_street_apart() -> None:
    """The training targets as they are, taken for a network's answers. Few pairs have their centres in one place."""
    from training.data.centres import DOWN, HEAT, CentreTargets
    from training.metrics.overlaps import overlaps_of_ids
    from training.metrics.touching import TouchingTally

    by_centres, by_components = TouchingTally(min_area=40), TouchingTally(min_area=40)
    for seed in (3, 11):
        street = Street(seed, (512, 256))
        for number in (0, 90):
            frame = street.render(number)
            labels, truth = frame.labels, frame.instances
            codes = np.where(truth >= 1000, labels * np.int32(1000) + truth % 1000, labels)
            _, ids = np.unique(np.where(truth >= 1000, truth, 0), return_inverse=True)
            targets = CentreTargets().of(ids.reshape(truth.shape).astype(np.uint16))
            with np.errstate(divide="ignore"):
                heat = np.log(targets[..., HEAT] / (1 - targets[..., HEAT])).astype(np.float32)
            found = grouped(labels, heat, np.ascontiguousarray(targets[..., DOWN : DOWN + 2].transpose(2, 0, 1)))
            one = Segmentation(found.labels, None, found.ids, found.id_scores)
            for tally, segmentation in ((by_centres, one), (by_components, Segmentation(labels))):
                whole = separate(segmentation, CITYSCAPES, min_area=0)
                assert whole.ids is not None
                tally.add(codes, overlaps_of_ids(codes, whole.ids, len(whole)), whole.class_ids)
    assert sum(by_centres.score().pairs.values()) >= 10
    assert by_centres.score().share >= 0.8
    assert by_components.score().share <= 0.1  # connected components do where a pole parts two halves of one


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"apart": 0}, {"most": 100}, {"reach": -1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        CentreSettings(**wrong)


def test_maps_that_do_not_fit_each_other_are_refused() -> None:
    labels, ids = two_cars()
    heat, offsets = perfect(ids)
    with pytest.raises(ShapeError, match="whole multiple"):
        grouped(labels[:, :60], heat, offsets)
    with pytest.raises(ShapeError, match="offsets"):
        grouped(labels, heat, offsets[:1])


def random_maps(seed: int, shape: tuple[int, int, int], factor: int) -> Maps:
    """Maps of N frames with (H, W) cells, as unlike what a network gives as they come."""
    random = np.random.default_rng(seed)
    frames, height, width = shape
    blocks = random.choice([0, 10, 11, 13, 14, 18], (frames, height // 4, width // 4))
    labels = blocks.repeat(4 * factor, 1).repeat(4 * factor, 2).astype(np.uint8)
    noise = random.random(labels.shape) < 0.1
    labels[noise] = random.integers(0, 19, noise.sum())
    heat = random.normal(-3, 2, (frames, 1, height, width)).astype(np.float32)
    if seed % 3 == 1:
        heat = np.rint(heat).astype(np.float32)  # ties
    if seed % 5 == 1:
        heat[:] = random.normal(0, 30)
    offsets = random.normal(0, random.choice([0.5, 3.0, 300.0]), (frames, 2, height, width)).astype(np.float32)
    if seed % 3 == 2:
        offsets = (np.rint(offsets * 2) / 2).astype(np.float32)  # halves are rounded to even
    sure = random.integers(0, 256, labels.shape, np.uint8)
    return {"labels_in": labels, "confidence_in": sure, "centres": heat, "offsets": offsets}


def expected(maps: Maps, chosen: CentreSettings) -> Maps:
    things = CITYSCAPES.thing_ids()
    found = [
        group_by_centres(labels, sure, heat[0], offsets, things, chosen)
        for labels, sure, heat, offsets in zip(*maps.values())
    ]
    return {name: np.stack([getattr(one, name) for one in found]) for name in NAMES}


NAMES = ("labels", "confidence", "ids", "id_scores")
CHOICES = [
    (CentreSettings(), 2),
    (CentreSettings(threshold=0.3, apart=2, most=32, reach=0), 1),
    (CentreSettings(threshold=0.02, apart=3, most=256, reach=9), 4),
    (CentreSettings(threshold=0.25, reach=64), 2),
]


@pytest.fixture(scope="module", params=range(len(CHOICES)))
def graph(request: pytest.FixtureRequest) -> tuple[Any, CentreSettings, int]:
    """A session of ONNX Runtime, and what it was made with."""
    pytest.importorskip("onnx", reason="export needs ONNX")
    ort = pytest.importorskip("onnxruntime")
    from training.grouping_model import grouping_model

    chosen, factor = CHOICES[request.param]
    model = grouping_model("centre", chosen, factor).SerializeToString()
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"]), chosen, factor


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 3),
    height=st.integers(1, 4),
    width=st.integers(1, 6),
)
def test_the_graph_gives_the_bytes_of_the_reference(
    graph: tuple[Any, CentreSettings, int], seed: int, frames: int, height: int, width: int
) -> None:
    session, chosen, factor = graph
    maps = random_maps(seed, (frames, 8 * height, 8 * width), factor)
    wanted = expected(maps, chosen)
    for name, array in zip(NAMES, session.run(list(NAMES), maps)):
        assert array.dtype == wanted[name].dtype
        assert (array == wanted[name]).all(), name


def test_openvino_gives_the_bytes_of_the_reference_in_bf16() -> None:
    pytest.importorskip("onnx", reason="export needs ONNX")
    openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    from training.grouping_model import grouping_model

    core = openvino.Core()
    shape = (2, 48, 80)
    network = core.read_model(grouping_model("centre", SETTINGS).SerializeToString())
    example = random_maps(0, shape, 2)
    network.reshape({name: list(array.shape) for name, array in example.items()})
    request = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"}).create_infer_request()
    for seed in range(15):
        maps = random_maps(seed, shape, 2)
        request.infer(maps)
        wanted = expected(maps, SETTINGS)
        for name in NAMES:
            assert (request.get_tensor(name).data == wanted[name]).all(), (name, seed)
