"""Dense CRFs: the fast one against its definition and against the library, and what the stage makes of them."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import SPEC, make_scene

from perception.choices import check_refinement
from perception.classes import CITYSCAPES, ClassTable
from perception.config import NodeConfig
from perception.engines.answers import check_outputs
from perception.errors import ConfigError, EngineError
from perception.refinement.mean_field import refine
from perception.refinement.reference import refine_by_reference
from perception.refinement.settings import CARD_KEY, CrfSettings, Refinement
from perception.stages.refine import refined
from perception.types import VOID, Scene, Segmentation

ROAD, CAR = 0, 13


def picture(height: int = 48, width: int = 64, edge: int = 30) -> npt.NDArray[np.uint8]:
    """Dark on the left of the edge, light on the right."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, edge:] = 180
    return image


def coarse(height: int = 48, width: int = 64, edge: int = 24, doubtful: int = 10) -> Segmentation:
    """A network's answer whose edge is elsewhere, and which is unsure there."""
    labels = np.full((height, width), ROAD, np.uint8)
    labels[:, edge:] = CAR
    confidence = np.full((height, width), 250, np.uint8)
    confidence[:, edge - doubtful : edge + doubtful] = 130
    return Segmentation(labels, confidence)


def random_answer(seed: int, height: int, width: int, classes: int) -> tuple[Segmentation, npt.NDArray[np.uint8]]:
    """Patches of classes with probabilities, and a picture of patches that lie elsewhere."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (classes, height // 8 + 1, width // 8 + 1)).repeat(8, 1).repeat(8, 2)[:, :height, :width]
    logits += rng.normal(0, 0.5, logits.shape)
    exponentials = np.exp(logits)
    probabilities = (exponentials / exponentials.sum(axis=0)).astype(np.float16)
    image = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3)).repeat(5, 0).repeat(5, 1)[:height, :width]
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    confidence = np.rint(probabilities.max(axis=0).astype(np.float32) * 255).astype(np.uint8)
    return Segmentation(labels, confidence, probabilities=probabilities), image.astype(np.uint8)


def by_definition(
    found: Segmentation, image: npt.NDArray[np.uint8], settings: CrfSettings
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Labels and their probability from loops over pixels and keys, in f64."""
    assert found.probabilities is not None
    unary = np.log(np.maximum(found.probabilities.astype(np.float64), 1e-4))
    height, width = found.labels.shape
    apart = settings.tile // 2
    keys = [(y, x) for y in range(apart // 2, height, apart) for x in range(apart // 2, width, apart)]
    colours = image.astype(np.float64)

    def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        exponentials = np.exp(scores - scores.max())
        return np.asarray(exponentials / exponentials.sum())

    def updated(y: int, x: int, beliefs: dict[tuple[int, int], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        heard, total = np.zeros(len(unary)), 0.0
        for (v, u), belief in beliefs.items():
            if abs(v // settings.tile - y // settings.tile) > 1 or abs(u // settings.tile - x // settings.tile) > 1:
                continue
            far = ((v - y) ** 2 + (u - x) ** 2) / settings.spread**2
            other = np.square(colours[v, u] - colours[y, x]).sum() / settings.colour**2
            kernel = np.exp(-0.5 * (far + other))
            heard, total = heard + kernel * belief, total + kernel
        return np.asarray(unary[:, y, x] + settings.weight * heard / (total + (2 / settings.tile) ** 2))

    state = {key: unary[(slice(None), *key)] for key in keys}
    for _ in range(settings.rounds - 1):
        beliefs = {key: softmax(scores) for key, scores in state.items()}
        state = {key: updated(*key, beliefs) for key in keys}
    beliefs = {key: softmax(scores) for key, scores in state.items()}
    answers = np.array([[softmax(updated(y, x, beliefs)) for x in range(width)] for y in range(height)])
    return answers.argmax(axis=-1), answers.max(axis=-1)


def test_labels_go_to_the_edge_of_the_picture() -> None:
    out = refine(coarse(), picture(), CrfSettings(), classes=19)
    expected = np.where(np.arange(64) < 30, ROAD, CAR)
    np.testing.assert_array_equal(out.labels, np.broadcast_to(expected, (48, 64)))
    assert out.confidence is not None
    assert out.confidence[:, 24:30].min() > 130, "the neighbours' word makes it surer"


@pytest.mark.parametrize(("height", "width"), [(24, 32), (21, 30), (17, 31)])
def test_it_is_mean_field_as_defined(height: int, width: int) -> None:
    settings = CrfSettings(spread=6, colour=40, weight=3, rounds=3, tile=8)
    found, image = random_answer(5, height, width, 4)
    labels, probability = by_definition(found, image, settings)
    out = refine(found, image, settings, classes=4)
    np.testing.assert_array_equal(out.labels, labels)
    assert (out.labels != found.labels).mean() > 0.05, "a test in which something changes"
    assert out.confidence is not None
    np.testing.assert_allclose(out.confidence, probability * 255, atol=1.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 45), st.integers(1, 45), st.booleans())
def test_sizes_void_and_classes_stay_as_they_are(seed: int, height: int, width: int, probabilities: bool) -> None:
    found, image = random_answer(seed, height, width, 5)
    labels = found.labels.copy()
    labels[np.random.default_rng(seed).random(labels.shape) < 0.1] = VOID
    before = replace(found, labels=labels, probabilities=found.probabilities if probabilities else None)
    out = refine(before, image, CrfSettings(), classes=5)
    assert out.labels.shape == labels.shape
    np.testing.assert_array_equal(out.labels == VOID, labels == VOID)
    assert set(np.unique(out.labels)) <= set(np.unique(labels))


def test_maps_of_one_opinion_are_left_alone() -> None:
    found = Segmentation(np.full((40, 40), CAR, np.uint8), np.full((40, 40), 77, np.uint8))
    out = refine(found, picture(40, 40), CrfSettings(), classes=19)
    np.testing.assert_array_equal(out.labels, found.labels)
    np.testing.assert_array_equal(out.confidence, found.confidence)
    without = refine(Segmentation(coarse().labels), picture(), CrfSettings(), classes=19)
    assert without.confidence is None


def test_the_library_agrees_about_the_edge() -> None:
    pytest.importorskip("pydensecrf", reason="pydensecrf2, the extra [crf], is not installed")
    found = coarse()
    labels = found.labels.copy()
    labels[:4] = VOID
    out = refine_by_reference(replace(found, labels=labels), picture(), class_ids=range(19))
    np.testing.assert_array_equal(out.labels == VOID, labels == VOID)
    ours = refine(found, picture(), CrfSettings(), classes=19)
    assert (out.labels[4:] == ours.labels[4:]).mean() > 0.98
    assert (found.labels[4:] == ours.labels[4:]).mean() < 0.92


@pytest.mark.parametrize("how", ["crf", "crf-reference"])
def test_ids_of_a_table_with_gaps_stay_what_they_are(how: Refinement) -> None:
    if how == "crf-reference":
        pytest.importorskip("pydensecrf", reason="pydensecrf2, the extra [crf], is not installed")
    table = ClassTable(tuple(row for row in CITYSCAPES.rows if row.id in (ROAD, CAR)))
    (out,) = refined(how, lambda _: table)([scene_of(coarse())])
    assert out.segmentation is not None
    assert (out.segmentation.labels[:, :20] == ROAD).all()
    assert (out.segmentation.labels[:, 40:] == CAR).all()


def test_the_reference_without_its_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.delitem(sys.modules, "pydensecrf.densecrf", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'roadcast\[crf\]'"):
        refined("crf-reference", lambda _: CITYSCAPES)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"spread": 0.0}, {"weight": -1.0}, {"rounds": 0}, {"tile": 12}):
        with pytest.raises(ConfigError):
            CrfSettings(**wrong)  # type: ignore[arg-type]


def scene_of(found: Segmentation) -> Scene:
    scene = make_scene(0)
    return replace(scene, frame=replace(scene.frame, image=picture()), segmentation=found, instances=None)


def test_the_stage_takes_what_changed_out_of_the_objects() -> None:
    found = coarse()
    ids = np.where(found.labels == CAR, np.int32(1), np.int32(0))
    before = replace(found, ids=ids, id_scores=np.ones(1, np.float32))
    (out,) = refined("crf", lambda _: CITYSCAPES)([scene_of(before)])
    assert out.segmentation is not None
    assert "refine" in out.latency.spent_ns
    assert out.segmentation.ids is not None
    inside = out.segmentation.labels[out.segmentation.ids == 1]
    assert inside.size == 48 * (64 - 30)
    assert set(inside) == {CAR}
    assert (ids == 1).sum() == 48 * (64 - 24), "a stage replaces, it never edits"


def test_a_scene_without_maps_passes_untouched() -> None:
    scene = replace(make_scene(0), segmentation=None)
    assert next(refined("crf", lambda _: CITYSCAPES)([scene])) is scene


def test_a_model_that_refines_itself_is_not_refined_again() -> None:
    itself = replace(SPEC, card={CARD_KEY: "crf"})
    check_refinement(NodeConfig(source="0"), itself)
    check_refinement(NodeConfig(source="0", refine="crf"), SPEC)
    with pytest.raises(ConfigError, match="leave --refine out"):
        check_refinement(NodeConfig(source="0", refine="crf"), itself)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((1, 19, 8, 16), True), ((1, 18, 8, 16), False), ((1, 19, 16, 8), False), ((2, 19, 8, 16), False)],
)
def test_probabilities_have_a_channel_for_every_class_id(shape: tuple[int, ...], fits: bool) -> None:
    outputs = {"labels": np.zeros((1, 8, 16), np.uint8), "probabilities": np.zeros(shape, np.float16)}
    with nullcontext() if fits else pytest.raises(EngineError, match="a channel for each id"):
        check_outputs(SPEC, (1, 16, 32, 3), outputs)
