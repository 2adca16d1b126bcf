"""A whole, narrow Mask R-CNN: it learns two frames by heart, its file says the same as Keras, and a node runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
onnx = pytest.importorskip("onnx", reason="export needs ONNX")
ort = pytest.importorskip("onnxruntime")

from perception.classes import CITYSCAPES  # noqa: E402
from perception.engines.open import open_engine  # noqa: E402
from perception.errors import ModelError  # noqa: E402
from perception.types import CaptureTime, Frame  # noqa: E402
from training.card import ModelCard  # noqa: E402
from training.evaluate_objects import engine_finder, whole_masks  # noqa: E402
from training.mask_rcnn.export import detector_proto, export_detector  # noqa: E402
from training.mask_rcnn.losses import detector_loss  # noqa: E402
from training.mask_rcnn.network import MaskRCNN  # noqa: E402
from training.mask_rcnn.saved import is_detector, load_detector, start_detector  # noqa: E402
from training.mask_rcnn.settings import THING_IDS  # noqa: E402
from training.mask_rcnn.targets import DetectionTargets, TargetLayout  # noqa: E402
from training.metrics import InstanceTally, InstanceTruth  # noqa: E402
from training.models.saved import load_model  # noqa: E402

# Keras writes its files, and reads PyTorch's tensors, with an older idiom of numpy's.
pytestmark = [
    pytest.mark.usefixtures("shallow"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.timeout(600),
]

SIZE = (128, 96)
NARROW: list[Any] = [16, [16, 16, 16, 8]]
CARD = ModelCard("test", SIZE[0] * SIZE[1], instances="mask-rcnn")
CAR, PERSON = 13, 11
STEPS = 400
Frames = npt.NDArray[np.uint8]


def plain(tensor: Any) -> npt.NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def scenes() -> tuple[Frames, npt.NDArray[np.int32]]:
    """Two frames (H, W, 3) of flat colours, and their instance maps: a car and a person, and two cars."""
    frames = np.full((2, SIZE[1], SIZE[0], 3), 90, np.uint8)
    truth = np.zeros((2, SIZE[1], SIZE[0]), np.int32)
    for frame, top, left, high, wide, value, colour in (
        (0, 30, 10, 30, 44, CAR * 1000 + 1, (30, 40, 200)),
        (0, 20, 90, 56, 22, PERSON * 1000 + 1, (200, 180, 40)),
        (1, 44, 16, 34, 50, CAR * 1000 + 1, (40, 200, 60)),
        (1, 10, 70, 26, 40, CAR * 1000 + 2, (30, 40, 200)),
    ):
        centre = (left + wide // 2, top + high // 2)
        drawn = np.zeros(SIZE[::-1], np.uint8)
        cv2.ellipse(drawn, centre, (wide // 2, high // 2), 0, 0, 360, 1, -1)
        frames[frame][drawn > 0], truth[frame][drawn > 0] = colour, value
    return frames, truth


def targets_of(truth: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    return np.stack([DetectionTargets(SIZE).of(one[::2, ::2].astype(np.uint16)) for one in truth])


@pytest.fixture(scope="module")
def trained() -> tuple[MaskRCNN, list[float]]:
    """The model after ``STEPS`` steps on two frames, and the losses on the way."""
    keras.utils.set_random_seed(3)
    model = MaskRCNN(NARROW)
    model.learn_on(SIZE, 1.0)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, STEPS)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0), jit_compile=False)
    frames, truth = scenes()
    vectors = targets_of(truth)
    return model, [float(model.train_on_batch(frames, (vectors, vectors.copy()))) for _ in range(STEPS)]


def test_the_trunk_stays_and_all_else_learns(trained: tuple[MaskRCNN, list[float]]) -> None:
    model, losses = trained
    assert np.isfinite(losses).all()  # so were the gradients: the weights they moved gave the next
    assert np.mean(losses[-5:]) < 0.2 * losses[0]
    keras.utils.set_random_seed(3)
    fresh = MaskRCNN(NARROW)
    learning = {variable.path for variable in model.trainable_variables}
    assert not any(path.startswith(("encoder", "decoder", "context", "logits")) for path in learning)
    for before, after in zip(fresh.variables, model.variables):
        assert before.path == after.path
        if after.path not in learning:
            np.testing.assert_array_equal(plain(before), plain(after))
        else:
            assert np.isfinite(plain(after)).all()
            assert (plain(before) != plain(after)).any(), after.path


def test_every_term_of_the_loss_is_finite_without_any_object() -> None:
    keras.utils.set_random_seed(3)
    model = MaskRCNN(NARROW)
    vectors = targets_of(np.zeros((1, SIZE[1], SIZE[0]), np.int32))
    maps = model(scenes()[0][:1])
    terms = {name: float(plain(v)) for name, v in detector_loss(model, maps[1:], TargetLayout(SIZE), vectors).items()}
    assert set(terms) == {"objectness", "proposal", "class", "box", "mask"}
    assert np.isfinite(list(terms.values())).all()
    assert terms["proposal"] == terms["box"] == terms["mask"] == 0


def test_two_frames_are_learnt_by_heart_and_a_node_finds_their_objects(
    trained: tuple[MaskRCNN, list[float]], tmp_path: Path
) -> None:
    frames, truth = scenes()
    export_detector(trained[0], tmp_path / "m.onnx", CARD, label_stride=2, size=None)
    engine = open_engine("onnxruntime", tmp_path / "m.onnx", mode="latency")
    tally = InstanceTally(20)
    try:
        find = engine_finder(engine, size=SIZE)
        shots = [Frame("a", k, CaptureTime.now(clock="virtual"), frame) for k, frame in enumerate(frames)]
        for scene, ids in zip(find(shots), truth):
            assert scene.segmentation is not None
            assert scene.instances is not None
            objects = scene.instances
            masks = [
                mask.repeat(2, axis=0).repeat(2, axis=1)
                for mask in whole_masks(objects, scene.segmentation.labels.shape)
            ]
            labels = (ids // 1000).astype(np.uint8)
            tally.add_masks(InstanceTruth(labels, ids, {}), masks, objects.class_ids, objects.scores)
    finally:
        engine.close()
    score = tally.score()
    assert score.mean(score.ap[:, :1]) > 0.7


def test_the_file_says_what_keras_says(trained: tuple[MaskRCNN, list[float]]) -> None:
    model, (height, width) = trained[0], (96, 160)  # not the size that it was trained at
    session = ort.InferenceSession(
        detector_proto(model, CARD, label_stride=2, halve_weights=False).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    frames[:, :, :128] = scenes()[0]
    names = [one.name for one in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"frame": frames})))
    maps = model(frames, training=False)
    boxes, scores, class_ids, masks = (plain(one) for one in model.detect(maps, (height, width)))
    np.testing.assert_allclose(found["scores"], scores, atol=1e-3)
    assert (scores > 0.3).sum() >= 2
    agreed = (plain(maps[0]).argmax(axis=-1) == found["labels"]).mean()
    assert agreed >= 0.999
    assert found["boxes"].shape == (2, model.detector.most, 4)
    same = total = 0
    for frame, row in zip(*np.nonzero(scores > 0.06)):  # the order of equals may differ
        total += 1
        off = np.abs(found["boxes"][frame] - boxes[frame, row]).max(axis=1)
        off[found["class_ids"][frame] != THING_IDS[class_ids[frame, row]]] = np.inf
        twin = int(off.argmin())
        same += off[twin] < 0.05 and np.abs(found["masks"][frame, twin] - masks[frame, row]).max() < 5e-3
    assert same >= 0.97 * total
    assert CITYSCAPES.thing_ids()[0] <= found["class_ids"].min()


def test_a_saved_detector_is_the_same_one(trained: tuple[MaskRCNN, list[float]], tmp_path: Path) -> None:
    model, frames = trained[0], scenes()[0]
    model.save(tmp_path / "m.keras")
    assert is_detector(tmp_path / "m.keras")
    again = load_detector(tmp_path / "m.keras")
    for one, other in zip(model.detect(model(frames), SIZE[::-1]), again.detect(again(frames), SIZE[::-1])):
        np.testing.assert_array_equal(plain(one), plain(other))
    model.trunk.save(tmp_path / "trunk.keras")
    assert not is_detector(tmp_path / "trunk.keras")
    with pytest.raises(ModelError, match="no Mask R-CNN"):
        load_detector(tmp_path / "trunk.keras")
    assert not is_detector(tmp_path / "missing.keras")


def test_where_a_network_is_wanted_a_detector_is_named_as_what_it_is(tmp_path: Path) -> None:
    MaskRCNN(NARROW).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"m\.keras is a Mask R-CNN, which `roadcast-train export` takes"):
        load_model(tmp_path / "m.keras")


def test_a_detector_goes_on_from_another_one(tmp_path: Path) -> None:
    old, new = MaskRCNN(NARROW), MaskRCNN(NARROW)
    old.save(tmp_path / "m.keras")
    start = start_detector(new, tmp_path / "m.keras")
    assert not start.new
    assert not start.left
    for one, other in zip(old.get_weights(), new.get_weights()):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ModelError, match="does not fit"):
        start_detector(MaskRCNN("large"), tmp_path / "m.keras")


def test_what_cannot_be_exported(trained: tuple[MaskRCNN, list[float]], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fp32"):
        export_detector(
            trained[0], tmp_path / "m.onnx", ModelCard("a", 128 * 64, precision="fp16"), label_stride=2, size=None
        )
    with pytest.raises(ModelError, match="64 pixels"):
        export_detector(trained[0], tmp_path / "m.onnx", CARD, label_stride=2, size=(128, 32))
    assert not list(tmp_path.iterdir())
