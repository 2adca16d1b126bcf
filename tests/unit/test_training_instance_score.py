"""Average precision of objects: against the benchmark's own evaluator, and what must always hold."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import write_png

from perception.synth.palette import LABEL_IDS
from training.cli import object_scores
from training.metrics import InstanceTally, InstanceTruth
from training.metrics.average_precision import average_precision

PERSON, CAR, VOID = 11, 13, 255
HEIGHT, WIDTH = 60, 80


def truth_of(random: np.random.Generator, objects: int = 9) -> InstanceTruth:
    """A road with void, two groups and objects of all sizes, some smaller than counts."""
    labels, instances = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.int32)
    for number in range(objects + 4):
        y, x = random.integers(0, HEIGHT - 4), random.integers(0, WIDTH - 4)
        place = np.s_[y : y + random.integers(3, 30), x : x + random.integers(3, 30)]
        class_id = int(random.choice([PERSON, CAR]))
        labels[place], instances[place] = class_id, class_id * 1000 + number
        if number >= objects:
            instances[place] = 0
        if number == objects:
            labels[place] = VOID
    distances = {int(code): float(random.uniform(5, 150)) for code in np.unique(instances) if code}
    return InstanceTruth(labels, instances, distances)


def predictions_of(truth: InstanceTruth, random: np.random.Generator) -> tuple[list[Any], Any, Any]:
    """Overlapping masks: true objects moved a little, some twice, groups, and some where nothing is."""
    masks, classes = [], []
    for code in [*np.unique(truth.codes())] * 2:
        if code >= 1000 or code in (PERSON, CAR, VOID):
            shift = tuple(random.integers(-3, 4, 2))
            masks.append(np.roll(truth.codes() == code, shift, axis=(0, 1)))
            classes.append(code // 1000 if code >= 1000 and random.random() < 0.9 else random.choice([PERSON, CAR]))
    for _ in range(4):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[random.integers(0, 50) :, : random.integers(1, 80)] = True
        masks.append(mask)
        classes.append(CAR)
    # Few different scores, so that several predictions share one.
    return masks, np.array(classes, np.uint8), random.integers(1, 9, len(masks)) / 8


def instance_ids(truth: InstanceTruth) -> Any:
    """The Cityscapes file of it: label id * 1000 + n for objects, else the label id."""
    table = np.zeros(256, np.int32)
    table[: len(LABEL_IDS)] = LABEL_IDS
    objects = table[truth.instances // 1000] * 1000 + truth.instances % 1000
    return np.where(truth.instances > 0, objects, table[truth.labels]).astype(np.uint16)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The benchmark's evaluator."""
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    with warnings.catch_warnings():  # it is older than some of what it imports
        warnings.simplefilter("ignore")
        module = pytest.importorskip(
            "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling", reason="needs cityscapesScripts"
        )
        # NumPy 2.4 has dropped a function that the evaluator asks for by its old name.
        monkeypatch.setattr(module.np, "in1d", np.isin, raising=False)
        yield module


def official_matches(
    official: Any, folder: Path, pictures: list[tuple[InstanceTruth, Any, Any, Any]], args: Any
) -> dict[str, Any]:
    """What the evaluator makes of the same pictures, written as files for it."""
    truths, predictions = [], []
    for number, (truth, masks, classes, scores) in enumerate(pictures):
        truths.append(str(folder / f"{number}_gtFine_instanceIds.png"))
        predictions.append(str(folder / f"{number}.txt"))
        write_png(Path(truths[-1]), instance_ids(truth))
        lines = []
        for k, (mask, class_id, score) in enumerate(zip(masks, classes, scores)):
            write_png(folder / f"{number}_{k}.png", mask.astype(np.uint8) * 255)
            lines.append(f"{number}_{k}.png {LABEL_IDS[class_id]} {score}\n")
        Path(predictions[-1]).write_text("".join(lines))
    found = official.instances2dict(truths, False)
    for (truth, *_), path in zip(pictures, truths):
        for rows in found[path].values():
            for row in rows:
                code = LABEL_IDS.index(row["labelID"]) * 1000 + row["instID"] % 1000 if row["instID"] >= 1000 else None
                row["medDist"], row["distConf"] = truth.distances.get(code, -1.0), float(code in truth.distances)
    return official.matchGtWithPreds(predictions, truths, found, args)


@pytest.mark.parametrize("seed", range(4))
def test_we_score_as_the_benchmark_does(tmp_path: Path, official: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(5):
        truth = truth_of(random)
        pictures.append((truth, *predictions_of(truth, random)))
    names = {PERSON: "person", CAR: "car"}
    args = SimpleNamespace(**vars(official.args))
    args.instLabels, args.quiet, args.predictionPath = list(names.values()), True, str(tmp_path)
    args.distanceAvailable = True
    args.minRegionSizes = np.array([100, 1000, 1000])
    matches = official_matches(official, tmp_path, pictures, args)
    everything, within_100, within_50 = official.evaluateMatches(matches, args)
    args.distanceAvailable, args.minRegionSizes = False, np.array([1000])
    (large,) = official.evaluateMatches(matches, args)

    tally = InstanceTally(classes=tuple(names))
    for truth, masks, classes, scores in pictures:
        tally.add_masks(truth, masks, classes, scores)
    score = tally.score()
    np.testing.assert_allclose(score.ap, everything, rtol=0, atol=1e-12)
    np.testing.assert_allclose(score.ap_large, large, rtol=0, atol=1e-12)
    np.testing.assert_allclose(score.ap_near[100.0], within_100, rtol=0, atol=1e-12)
    np.testing.assert_allclose(score.ap_near[50.0], within_50, rtol=0, atol=1e-12)
    assert 0 < score.mean() < 1, "no figure that could be wrong was compared"
    averages = official.computeAverages(everything[None], args)
    assert score.mean() == pytest.approx(averages["allAp"], abs=1e-12)
    assert score.mean(score.ap[:, :1]) == pytest.approx(averages["allAp50%"], abs=1e-12)
    assert score.of(CAR) == pytest.approx((averages["classes"]["car"]["ap"], averages["classes"]["car"]["ap50%"]))


def ids_of(truth: InstanceTruth) -> tuple[Any, Any]:
    """The truth as a prediction: an id map and the classes."""
    codes = np.unique(truth.instances[truth.instances > 0])
    ids = np.searchsorted(codes, truth.instances) + 1
    return np.where(truth.instances > 0, ids, 0), codes // 1000


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_truth_itself_is_perfect_at_every_threshold(seed: int) -> None:
    truth = truth_of(np.random.default_rng(seed))
    ids, classes = ids_of(truth)
    tally = InstanceTally()
    tally.add(truth, ids, classes, np.ones(len(classes)))
    score = tally.score()
    present = score.objects > 0
    assert (score.ap[present] == 1).all()
    assert np.isnan(score.ap[~present]).all()
    assert score.touching.separated == score.touching.pairs == score.touching.met


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_neither_the_order_of_objects_nor_that_of_pictures_matters(seed: int, shuffle: int) -> None:
    random, order = np.random.default_rng(seed), np.random.default_rng(shuffle)
    pictures = []
    for _ in range(3):
        truth = truth_of(random)
        pictures.append((truth, *predictions_of(truth, random)))
    one, other = InstanceTally(), InstanceTally()
    for truth, masks, classes, scores in pictures:
        one.add_masks(truth, masks, classes, scores)
    for k in order.permutation(3):
        truth, masks, classes, scores = pictures[k]
        places = order.permutation(len(masks))
        other.add_masks(truth, [masks[p] for p in places], classes[places], scores[places])
    np.testing.assert_allclose(one.score().ap, other.score().ap)
    assert one.score().to_json()["touching"] == other.score().to_json()["touching"]


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_masks_that_do_not_overlap_score_as_the_map_they_make(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = truth_of(random)
    ids = np.roll(ids_of(truth)[0], (1, 2), axis=(0, 1))
    classes, scores = ids_of(truth)[1], random.random(len(ids_of(truth)[1]))
    one, other = InstanceTally(), InstanceTally()
    one.add(truth, ids, classes, scores)
    other.add_masks(truth, [ids == k + 1 for k in range(len(classes))], classes, scores)
    np.testing.assert_array_equal(one.score().ap, other.score().ap)


def test_a_prediction_on_void_or_a_group_is_not_counted_as_wrong() -> None:
    labels, instances = np.zeros((40, 80), np.uint8), np.zeros((40, 80), np.int32)
    labels[:, :20], instances[:, :20] = CAR, CAR * 1000 + 1
    labels[:, 20:40] = VOID
    labels[:, 40:60] = CAR  # a group
    truth = InstanceTruth(labels, instances)
    ids = np.repeat(np.array([1, 2, 3, 0]), 20)[None].repeat(40, axis=0)
    tally = InstanceTally()
    tally.add(truth, ids, np.full(3, CAR), np.array([0.1, 0.9, 0.8]))
    assert tally.score().of(CAR) == (1.0, 1.0)
    tally.add(truth, np.where(ids == 0, 2, ids % 2), np.full(2, CAR), np.array([0.1, 0.9]))  # one on the road
    assert tally.score().of(CAR)[1] < 1


def test_small_objects_are_neither_demanded_nor_wrong() -> None:
    labels, instances = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.int32)
    labels[:10, :9], instances[:10, :9] = CAR, CAR * 1000 + 1  # 90 pixels
    labels[20:, :20], instances[20:, :20] = CAR, CAR * 1000 + 2
    truth = InstanceTruth(labels, instances)
    ids = (instances == CAR * 1000 + 2).astype(np.uint16)
    for found in (ids, np.where(instances == CAR * 1000 + 1, 2, ids)):
        tally = InstanceTally()
        tally.add(truth, found, np.full(found.max(), CAR), np.ones(found.max()))
        assert tally.score().of(CAR) == (1.0, 1.0)
        assert tally.score().objects.sum() == 1
    demanding = InstanceTally(min_area=90)
    demanding.add(truth, ids, np.array([CAR]), np.ones(1))
    assert demanding.score().of(CAR)[1] == pytest.approx(0.5)


def test_pictures_without_objects_have_no_figure_and_those_without_predictions_score_nothing() -> None:
    empty = InstanceTruth(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int32))
    tally = InstanceTally()
    tally.add(empty, np.zeros((4, 4), int), np.zeros(0), np.zeros(0))
    assert tally.score().to_json()["ap"] is None
    tally.add(truth_of(np.random.default_rng(0)), np.zeros((HEIGHT, WIDTH), int), np.zeros(0), np.zeros(0))
    assert tally.score().to_json()["ap"] == 0
    assert tally.score().to_json()["touching"]["separated"] in (0, None)


def test_what_does_not_fit_together_is_refused() -> None:
    truth, tally = truth_of(np.random.default_rng(0)), InstanceTally()
    ids = np.ones((HEIGHT, WIDTH), np.uint16)
    with pytest.raises(ValueError, match="agree"):
        tally.add(truth, ids[1:], np.array([CAR]), np.ones(1))
    with pytest.raises(ValueError, match="reach to 1"):
        tally.add(truth, ids, np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="2 scores"):
        tally.add(truth, ids, np.array([CAR]), np.ones(2))
    with pytest.raises(ValueError, match="agree"):
        tally.add_masks(truth, [np.zeros((2, 2), bool)], np.array([CAR]), np.ones(1))


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.booleans()), max_size=12), st.integers(0, 4))
def test_the_area_under_the_curve_is_that_of_its_definition(pairs: list[tuple[float, bool]], missed: int) -> None:
    scores, right = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], bool)
    points = [(0.0, 1.0)]
    for threshold in sorted(set(scores), reverse=True):
        chosen = right[scores >= threshold]
        points.append((chosen.sum() / max(1, right.sum() + missed), chosen.mean()))
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    assert average_precision(scores, right, missed) == pytest.approx(area)


def test_where_there_is_no_figure_the_command_prints_a_dash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small car alone: no AP of large ones, none of near ones, and in an empty picture none at all."""
    labels, instances = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.int32)
    scores = {}
    for name, side, count in (("empty", 0, 0), ("small", 20, 1)):
        labels[:side, :side], instances[:side, :side] = CAR, CAR * 1000 + 1
        tally = InstanceTally(100)
        truth = InstanceTruth(labels.copy(), instances.copy(), {CAR * 1000 + 1: 20.0})
        tally.add(truth, (instances > 0).astype(np.int32), np.full(count, CAR, np.uint8), np.ones(count))
        scores[name] = tally.score()
    monkeypatch.setattr(object_scores, "_object_scores", lambda _args, _texts: scores)
    assert object_scores.run_objects(Namespace(task="instances", json=False), list(scores)) == 0
    printed = capsys.readouterr().out
    assert "empty: AP -, AP50 - over 1 images, 0 objects" in printed
    assert "small: AP 1.0000, AP50 1.0000 over 1 images, 1 objects" in printed
    assert "car                  1 1.0000 1.0000      -" in printed
    assert "AP within 50 m: -" in printed
    assert "nan" not in printed
