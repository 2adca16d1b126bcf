"""Panoptic quality: against the benchmark's own evaluator, and what must always hold."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_instance_score import CAR, HEIGHT, PERSON, VOID, WIDTH, ids_of, instance_ids, truth_of
from tiny_data import write_png

from perception.classes import CITYSCAPES
from perception.synth.palette import LABEL_IDS
from training.metrics import InstanceTruth, PanopticTally

THINGS = CITYSCAPES.thing_ids()


def picture_of(random: np.random.Generator) -> tuple[InstanceTruth, Any, Any, Any]:
    """A truth with several kinds of stuff, and a prediction near it, with things that belong to no object."""
    truth = truth_of(random)
    labels = np.where((truth.labels == 0) & (np.arange(HEIGHT)[:, None] < 20), 10, truth.labels)
    labels = np.where((labels == 0) & (np.arange(WIDTH) < 9), 1, labels).astype(np.uint8)
    truth = InstanceTruth(labels, truth.instances)
    ids, classes = ids_of(truth)
    shift = tuple(random.integers(-2, 3, 2))
    ids, predicted = (np.roll(a, shift, axis=(0, 1)) for a in (ids, labels))
    predicted = np.where(predicted == VOID, random.choice([0, CAR, VOID]), predicted).astype(np.uint8)
    lost = random.random(len(classes) + 1) < 0.15
    ids = np.where(lost[ids], 0, ids)
    classes = np.where(random.random(len(classes)) < 0.1, PERSON, classes)
    return truth, predicted, ids, classes


def official_score(folder: Path, pictures: list[tuple[InstanceTruth, Any, Any, Any]]) -> Any:
    """The evaluator's figures of the same pictures, written as files in its format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip(
            "cityscapesscripts.evaluation.evalPanopticSemanticLabeling", reason="needs cityscapesScripts"
        )
        from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
    names = [f"aachen_000000_{number:06d}" for number in range(len(pictures))]
    for name, (truth, *_) in zip(names, pictures):
        write_png(folder / "gtFine/val/aachen" / f"{name}_gtFine_instanceIds.png", instance_ids(truth))
    convert2panoptic(str(folder / "gtFine"), setNames=["val"])
    gt = json.loads((folder / "gtFine" / "cityscapes_panoptic_val.json").read_text())
    annotations = []
    for name, (_, labels, ids, classes) in zip(names, pictures):
        # A number for every segment, in the three channels of a picture; OpenCV writes them in reverse.
        numbers = np.where(ids > 0, ids + 1000, np.where(np.isin(labels, THINGS) | (labels == VOID), 0, labels + 1))
        rgb = np.stack([numbers // 65536, numbers // 256 % 256, numbers % 256], axis=-1)
        write_png(folder / f"{name}.png", rgb.astype(np.uint8))
        of = {int(n): int(classes[n - 1001]) if n > 1000 else int(n - 1) for n in np.unique(numbers) if n}
        segments = [{"id": n, "category_id": LABEL_IDS[class_id]} for n, class_id in of.items()]
        annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments})
    categories = {row["id"]: row for row in gt["categories"]}
    counts = module.pq_compute_single_core(
        0,
        list(zip(gt["annotations"], annotations)),
        str(folder / "gtFine" / "cityscapes_panoptic_val"),
        str(folder),
        categories,
    )
    return counts, module.average_pq(counts, categories)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_we_score_as_the_benchmark_does(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = [picture_of(random) for _ in range(6)]
    counts, figures = official_score(tmp_path, pictures)
    tally = PanopticTally()
    for picture in pictures:
        tally.add(*picture)
    score = tally.score()
    for class_id, label_id in enumerate(LABEL_IDS):
        expected = counts[label_id]
        found = score.hits[class_id], score.wrong[class_id], score.missed[class_id]
        assert found == (expected.tp, expected.fp, expected.fn), CITYSCAPES.name(class_id)
        assert score.iou[class_id] == pytest.approx(expected.iou, abs=1e-9)
    for name, things in (("All", None), ("Things", True), ("Stuff", False)):
        expected_means = [figures[name][key] for key in ("pq", "sq", "rq")]
        np.testing.assert_allclose(score.mean(things), expected_means, atol=1e-9)
    assert (score.hits > 0).sum() >= 4
    assert score.wrong.any()
    assert score.missed.any()


def known(truth: InstanceTruth) -> InstanceTruth:
    """Without the part that nobody has to find."""
    groups = np.isin(truth.labels, THINGS) & (truth.instances == 0)
    return InstanceTruth(np.where(groups, VOID, truth.labels).astype(np.uint8), truth.instances)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_truth_itself_is_perfect(seed: int) -> None:
    truth = known(truth_of(np.random.default_rng(seed)))
    tally = PanopticTally()
    tally.add(truth, truth.labels, *ids_of(truth))
    np.testing.assert_array_equal(tally.score().mean(), [1.0, 1.0, 1.0])


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_other_numbers_for_the_same_objects_change_nothing(seed: int, shuffle: int) -> None:
    truth, labels, ids, classes = picture_of(np.random.default_rng(seed))
    order = np.random.default_rng(shuffle).permutation(len(classes))
    renumbered = np.append(0, np.argsort(order) + 1)[ids]
    one, other = PanopticTally(), PanopticTally()
    one.add(truth, labels, ids, classes)
    other.add(truth, labels, renumbered, classes[order])
    np.testing.assert_allclose(one.score().quality(), other.score().quality())


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_quality_is_the_product_of_its_parts_and_lies_between_0_and_1(seed: int) -> None:
    tally = PanopticTally()
    tally.add(*picture_of(np.random.default_rng(seed)))
    table = tally.score().quality()
    table = table[np.isfinite(table[:, 0])]
    np.testing.assert_allclose(table[:, 0], table[:, 1] * table[:, 2])
    assert ((table >= 0) & (table <= 1)).all()


def test_pictures_without_a_known_pixel_have_no_figure() -> None:
    void = InstanceTruth(np.full((4, 4), VOID, np.uint8), np.zeros((4, 4), np.int32))
    tally = PanopticTally()
    tally.add(void, np.zeros((4, 4), np.uint8), np.zeros((4, 4), int), np.zeros(0))
    assert tally.score().to_json()["pq"] is None
    assert tally.score().to_json()["classes"] == {}


def test_maps_of_two_sizes_are_refused() -> None:
    truth = truth_of(np.random.default_rng(0))
    with pytest.raises(ValueError, match="agree"):
        PanopticTally().add(truth, truth.labels, np.zeros((2, 2), int), np.zeros(0))
    with pytest.raises(ValueError, match="agree"):
        PanopticTally().add(truth, truth.labels[1:], np.zeros((HEIGHT - 1, WIDTH), int), np.zeros(0))
