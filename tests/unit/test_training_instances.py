"""Instance maps on disk, read in one numbering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_camvid, write_cityscapes, write_kitti, write_png

from perception.errors import ConfigError, SourceError
from training.data.datasets import Pair, open_dataset, read_pair
from training.data.instances import has_instances, instance_path, read_instances, require_instances, uncounted

CAR, PERSON = 13, 11  # train ids; label ids 26 and 24


def kitti_pair(folder: Path, ids: np.ndarray) -> Pair:
    """The first pair of a KITTI folder whose instance map holds these ids at its upper left, road elsewhere."""
    pair = open_dataset(f"kitti:{write_kitti(folder, count=1)}")[0]
    raw = np.full((64, 96), 7 * 256, np.uint16)
    raw[: ids.shape[0], : ids.shape[1]] = ids
    write_png(instance_path(pair), raw)
    return pair


def cityscapes_pair(folder: Path, ids: np.ndarray) -> Pair:
    pair = open_dataset(f"cityscapes:{write_cityscapes(folder)}")[0]
    raw = np.full((64, 96), 7, np.uint16)
    raw[: ids.shape[0], : ids.shape[1]] = ids
    write_png(instance_path(pair), raw)
    return pair


def test_kitti_s_objects_keep_their_numbers_and_a_crowd_has_none(tmp_path: Path) -> None:
    ids = np.uint16([[26 * 256 + 1, 26 * 256 + 25, 26 * 256, 24 * 256 + 1, 29 * 256 + 3, 21 * 256]])
    found = read_instances(kitti_pair(tmp_path, ids))
    assert found.dtype == np.int32
    assert found.shape == (64, 96)
    # Caravans (29) are no class of ours; vegetation (21) is not countable.
    assert found[0, :6].tolist() == [CAR * 1000 + 1, CAR * 1000 + 25, 0, PERSON * 1000 + 1, 0, 0]
    assert not found[1:].any()


def test_cityscapes_counts_from_zero_and_a_crowd_has_the_label_alone(tmp_path: Path) -> None:
    found = read_instances(cityscapes_pair(tmp_path, np.uint16([[26000, 26007, 26, 24000, 29000, 0]])))
    assert found[0, :6].tolist() == [CAR * 1000 + 1, CAR * 1000 + 8, 0, PERSON * 1000 + 1, 0, 0]
    assert not found[1:].any()


def test_a_rendered_street_s_objects_agree_with_its_labels() -> None:
    pair = open_dataset("synth:100,2")[0]
    instances, labels = read_instances(pair), read_pair(pair)[1]
    inside = instances > 0
    assert inside.any()
    assert (labels[inside] == instances[inside] // 1000).all()
    assert not uncounted(labels, instances).any()
    assert has_instances(pair)


def test_void_and_crowds_are_uncounted() -> None:
    labels = np.uint8([[255, CAR, CAR, 0, 22]])  # 22 is CamVid's set of cars, trucks, buses and trains
    assert uncounted(labels, np.int32([[0, 0, CAR * 1000 + 1, 0, 0]])).tolist() == [[True, True, False, False, False]]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.uint16([[34 * 256]]), r"the id 8704; .* label ids up to 33"),
        (np.uint16([[26001]]), r"the id 26001"),  # Cityscapes ids in a KITTI file
    ],
)
def test_an_unknown_id_is_named_with_its_file(tmp_path: Path, ids: np.ndarray, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_instances(kitti_pair(tmp_path, ids))
    assert "000000_10.png" in str(caught.value)


@pytest.mark.parametrize("one", [34, 999, 34000, 26999])
def test_cityscapes_ids_beyond_the_table_are_refused(tmp_path: Path, one: int) -> None:
    with pytest.raises(SourceError, match=f"the id {one};"):
        read_instances(cityscapes_pair(tmp_path, np.uint16([[one]])))


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    pair = kitti_pair(tmp_path, np.uint16([[0]]))
    write_png(instance_path(pair), np.zeros((64, 95), np.uint16))
    with pytest.raises(SourceError, match=r"is 95x64, the labels beside it are 96x64"):
        read_instances(pair)
    write_png(instance_path(pair), np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(SourceError, match=r"is 96x64 of 3 channels"):
        read_instances(pair)


def test_a_damaged_map_is_named(tmp_path: Path) -> None:
    pair = kitti_pair(tmp_path, np.uint16([[0]]))
    instance_path(pair).write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"Cannot read .*instance"):
        read_instances(pair)


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    pairs = open_dataset(f"kitti:{write_kitti(tmp_path, count=2)}")
    write_png(instance_path(pairs[0]), np.zeros((64, 96), np.uint16))
    require_instances("kitti", pairs[:1])
    with pytest.raises(ConfigError, match=r"1 of 2 images have no instance map.*000001_10\.png"):
        require_instances("kitti", pairs)
    with pytest.raises(SourceError, match="There is no instance map"):
        read_instances(pairs[1])
    assert [has_instances(pair) for pair in pairs] == [True, False]


def test_camvid_has_no_objects(tmp_path: Path) -> None:
    pairs = open_dataset(f"camvid:{write_camvid(tmp_path)}")
    assert not has_instances(pairs[0])
    with pytest.raises(ConfigError, match="'camvid' does not tell objects apart; kitti, cityscapes, synth do"):
        read_instances(pairs[0])
    with pytest.raises(ConfigError, match="does not tell objects apart"):
        require_instances("camvid", pairs)
