"""The parts of Mask R-CNN, each against something written another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
onnx = pytest.importorskip("onnx", reason="export needs ONNX")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from perception.errors import ConfigError  # noqa: E402
from training.data.centres import UNKNOWN  # noqa: E402
from training.mask_rcnn.boxes import all_anchors, decode, encode, level_shapes, overlaps  # noqa: E402
from training.mask_rcnn.roi_align import level_of, roi_align  # noqa: E402
from training.mask_rcnn.sampling import POSITIVES, mask_targets, sample  # noqa: E402
from training.mask_rcnn.settings import BOX_WEIGHTS, RATIOS, SIZES, STRIDES, DetectorSettings  # noqa: E402
from training.mask_rcnn.suppression import suppress  # noqa: E402
from training.mask_rcnn.targets import ANYTHING, OBJECTS, SAMPLED, DetectionTargets, TargetLayout  # noqa: E402

# Keras writes its files, and reads PyTorch's tensors, with an older idiom of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ops = keras.ops
Floats = npt.NDArray[np.float32]
SIZE = (128, 96)


def plain(tensor: Any) -> npt.NDArray[Any]:
    return np.asarray(ops.convert_to_numpy(tensor))


def test_anchors_stand_in_the_middle_of_their_cells() -> None:
    shapes = level_shapes(96, 160)
    assert shapes == [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]
    anchors = np.asarray(all_anchors(shapes, np))
    assert anchors.dtype == np.float32
    assert len(anchors) == len(RATIOS) * sum(h * w for h, w in shapes)
    np.testing.assert_allclose(plain(all_anchors(shapes, ops)), anchors)
    begin = 0
    for (height, width), stride, side in zip(shapes, STRIDES, SIZES):
        for row, column, ratio in ((0, 0, 0), (height - 1, width - 1, 2), (height // 2, 1, 1)):
            x0, y0, x1, y1 = anchors[begin + (row * width + column) * len(RATIOS) + ratio].tolist()
            middle = (column + 0.5) * stride, (row + 0.5) * stride
            assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx(middle, abs=1e-4)
            assert (x1 - x0) * (y1 - y0) == pytest.approx(side**2, rel=1e-4)
            assert (y1 - y0) / (x1 - x0) == pytest.approx(RATIOS[ratio], rel=1e-4)
        begin += height * width * len(RATIOS)


corner = st.floats(-50, 250, width=32)
side = st.floats(1, 300, width=32)
boxes_of = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(deadline=None, max_examples=40)
@given(box=boxes_of, anchor=boxes_of, weights=st.sampled_from([(1, 1, 1, 1), BOX_WEIGHTS]))
def test_a_box_survives_its_code(box: list[float], anchor: list[float], weights: tuple[float, ...]) -> None:
    wanted, around = np.array([box], np.float32), np.array([anchor], np.float32)
    shifts = np.abs((wanted[0, :2] - around[0, :2]) / (around[0, 2:] - around[0, :2])).max()
    growth = np.log((wanted[0, 2:] - wanted[0, :2]) / (around[0, 2:] - around[0, :2])).max()
    code = encode(wanted, around, np, weights)
    back = np.asarray(decode(code, around, np, weights))
    if growth < 4:  # what grows more is cut
        np.testing.assert_allclose(back, wanted, atol=1e-2 * (1 + shifts / 100))
    np.testing.assert_allclose(plain(encode(ops.array(wanted), ops.array(around), ops, weights)), code, atol=1e-3)


def greedy(boxes: Floats, threshold: float) -> list[int]:
    kept: list[int] = []
    for k in range(len(boxes)):
        if all(float(np.asarray(overlaps(boxes[k : k + 1], boxes[j : j + 1], np))[0, 0]) <= threshold for j in kept):
            kept.append(k)
    return kept


# No two whole boxes of 12 pixels overlap by just one of these thresholds: such a tie float32 may break either way.
@settings(deadline=None, max_examples=25)
@given(
    boxes=hnp.arrays(np.int16, (2, 9, 4), elements=st.integers(0, 12)),
    threshold=st.sampled_from([0.3183, 0.5029, 0.7071]),
)
def test_suppression_is_the_greedy_one(boxes: npt.NDArray[np.int16], threshold: float) -> None:
    edges = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1).astype(np.float32)
    kept = plain(suppress(ops.array(edges), ops.ones((2, 9)), threshold))
    for frame in range(2):
        assert np.flatnonzero(kept[frame]).tolist() == greedy(edges[frame], threshold)


def test_a_chain_is_decided_from_its_best_box_on_and_who_takes_no_part_harms_nobody() -> None:
    chain = np.stack([np.array([k * 3, 0, k * 3 + 10, 10], np.float32) for k in range(12)])[None]
    kept = plain(suppress(ops.array(chain), ops.ones((1, 12)), 0.5))
    assert np.flatnonzero(kept[0]).tolist() == greedy(chain[0], 0.5) == list(range(0, 12, 2))
    valid = np.ones((1, 12), np.float32)
    valid[0, 0] = 0
    assert np.flatnonzero(plain(suppress(ops.array(chain), ops.array(valid), 0.5))[0]).tolist() == [1, 3, 5, 7, 9, 11]


def reference_align(features: Floats, box: Floats, bins: int, stride: int) -> Floats:
    """RoIAlign of one box and one map (h, w, C), point by point."""
    height, width, channels = features.shape
    found = np.zeros((bins, bins, channels))
    x0, y0, x1, y1 = (float(edge) / stride - 0.5 for edge in box)
    for i in range(bins):
        for j in range(bins):
            for a in (0.25, 0.75):
                for b in (0.25, 0.75):
                    y, x = y0 + (i + a) * (y1 - y0) / bins, x0 + (j + b) * (x1 - x0) / bins
                    if not (-1 <= y <= height and -1 <= x <= width):
                        continue
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    top, left = int(y), int(x)
                    low, right = min(top + 1, height - 1), min(left + 1, width - 1)
                    v, u = y - top, x - left
                    upper = (1 - u) * features[top, left] + u * features[top, right]
                    lower = (1 - u) * features[low, left] + u * features[low, right]
                    found[i, j] += ((1 - v) * upper + v * lower) / 4
    return found.astype(np.float32)


BOXES = np.array(
    [
        [[3, 5, 30, 40], [0, 0, 128, 96], [100, 70, 140, 110]],
        [[-9, -7, 11, 9], [60.5, 20.25, 61, 95], [17, 33, 17, 33]],
    ],
    np.float32,
)


def pyramid() -> list[Floats]:
    random = np.random.default_rng(0)
    return [random.normal(size=(2, 96 // s, 128 // s, 3)).astype(np.float32) for s in STRIDES[:4]]


@pytest.mark.parametrize("bins", [2, 7])
def test_roi_align_is_the_reference(bins: int) -> None:
    levels = pyramid()
    level = np.array([[0, 1, 2], [3, 0, 1]], np.int32)
    found = plain(roi_align([ops.array(one) for one in levels], ops.array(BOXES), bins, ops.array(level)))
    assert found.shape == (2, 3, bins, bins, 3)
    for frame, row in np.ndindex(2, 3):
        k = level[frame, row]
        wanted = reference_align(levels[k][frame], BOXES[frame, row], bins, STRIDES[k])
        np.testing.assert_allclose(found[frame, row], wanted, atol=2e-5)


def test_roi_align_is_that_of_onnx_runtime() -> None:
    levels = pyramid()
    node = helper.make_node(
        "RoiAlign",
        ["x", "rois", "frames"],
        ["y"],
        output_height=7,
        output_width=7,
        sampling_ratio=2,
        spatial_scale=1 / 8,
        mode="avg",
        coordinate_transformation_mode="half_pixel",
    )
    tensor = helper.make_tensor_value_info
    inputs = [
        tensor("x", TensorProto.FLOAT, [2, 3, 12, 16]),
        tensor("rois", TensorProto.FLOAT, [6, 4]),
        tensor("frames", TensorProto.INT64, [6]),
    ]
    graph = helper.make_graph([node], "g", inputs, [tensor("y", TensorProto.FLOAT, [6, 3, 7, 7])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = {"x": levels[1].transpose(0, 3, 1, 2).copy(), "rois": BOXES.reshape(-1, 4), "frames": np.repeat([0, 1], 3)}
    (wanted,) = session.run(None, fed)
    level = ops.ones((2, 3), dtype="int32")
    found = plain(roi_align([ops.array(one) for one in levels], ops.array(BOXES), 7, level))
    np.testing.assert_allclose(found.reshape(6, 7, 7, 3), np.asarray(wanted).transpose(0, 2, 3, 1), atol=2e-5)


def test_large_boxes_are_read_off_coarse_levels() -> None:
    boxes = np.array([[0, 0, side, side] for side in (0, 55, 56, 111, 112, 223, 224, 999)], np.float32)
    assert plain(level_of(ops.array(boxes))).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def street() -> npt.NDArray[np.uint16]:
    """Half the size of a crop of 128x96: a car, a person, what nobody knows, and a speck."""
    ids = np.zeros((48, 64), np.uint16)
    ids[10:30, 5:35] = 13001
    ids[20:44, 45:55] = 11001
    ids[:6] = UNKNOWN
    ids[46, 2] = 13002
    return ids


def test_targets_say_what_is_on_the_crop() -> None:
    vector = DetectionTargets(SIZE).of(street())
    rows, objects, drawn = TargetLayout(SIZE).unpack(vector[None], np)
    assert objects[0, 0].tolist() == [10, 20, 70, 60, 3]  # the car, the third of the countable classes
    assert objects[0, 1].tolist() == [90, 40, 110, 88, 1]
    assert not objects[0, 2:].any()
    assert (drawn[0] == 1).sum() == 600
    assert (drawn[0] == ANYTHING).sum() == 6 * 64 + 1
    anchors = np.asarray(all_anchors(level_shapes(96, 128), np))
    used = rows[0][rows[0, :, 1] >= 0]
    assert len(used) <= SAMPLED
    chosen, positive = anchors[used[:, 0].astype(int)], used[:, 1] == 1
    shared = np.asarray(overlaps(chosen, objects[0, :2, :4], np))
    assert positive.any()
    assert (shared[~positive].max(axis=1) < 0.3).all()
    owners = objects[0, shared[positive].argmax(axis=1), :4]
    np.testing.assert_allclose(decode(used[positive, 2:], chosen[positive], np), owners, atol=1e-2)
    assert set(np.unique(shared[positive].argmax(axis=1))) == {0, 1}  # every object has an anchor
    np.testing.assert_array_equal(DetectionTargets(SIZE).of(street()), vector)


@pytest.mark.parametrize("value", [0, UNKNOWN])
def test_targets_of_a_crop_without_objects(value: int) -> None:
    ids = np.full((48, 64), value, np.uint16)
    rows, objects, _ = TargetLayout(SIZE).unpack(DetectionTargets(SIZE).of(ids)[None], np)
    assert not objects.any()
    assert (rows[0, :, 1] == 1).sum() == 0
    assert ((rows[0, :, 1] == 0).sum() == SAMPLED) == (value == 0)  # on what nobody knows nothing is background


def test_more_objects_than_there_is_room_for_are_no_background() -> None:
    ids = np.zeros((48, 64), np.uint16)
    for number in range(96):
        y, x = divmod(number, 12)
        ids[y * 6 : y * 6 + 3, x * 5 : x * 5 + 3] = 13001 + number
    _, objects, drawn = TargetLayout(SIZE).unpack(DetectionTargets(SIZE).of(ids)[None], np)
    assert (objects[0, :, 4] > 0).all()
    assert len(objects[0]) == OBJECTS
    assert (drawn[0] == ANYTHING).sum() == (96 - OBJECTS) * 9


def test_the_second_stage_learns_from_true_boxes_and_their_masks() -> None:
    _, objects, drawn = TargetLayout(SIZE).unpack(DetectionTargets(SIZE).of(street())[None], np)
    proposals = np.array([[[12, 18, 68, 62], [30, 70, 60, 90], [0, 0, 128, 10], [5, 5, 5, 5]]], np.float32)
    sampled = sample(ops.array(proposals), ops.array(objects), ops.array(drawn))
    used = plain(sampled.weights)[0] > 0
    classes, boxes = plain(sampled.classes)[0], plain(sampled.boxes)[0]
    assert sorted(classes[:POSITIVES][used[:POSITIVES]].tolist()) == [1, 3, 3]
    assert not classes[POSITIVES:].any()
    # What nobody knows and what is empty is not background.
    assert boxes[POSITIVES:][used[POSITIVES:]].tolist() == [[30, 70, 60, 90]]
    masks = plain(mask_targets(sampled, ops.array(drawn)))[0]
    for row in np.flatnonzero(used[:POSITIVES]):
        whole = boxes[row].tolist() in objects[0, :2, :4].tolist()
        assert masks[row].mean() == pytest.approx(1.0 if whole else 0.85, abs=0.12)


@pytest.mark.parametrize("given", [{"most": 0}, {"proposals": 600}, {"most": 100, "proposals": 50}, {"overlap": 1.0}])
def test_settings_out_of_their_range(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        DetectorSettings(**given)
