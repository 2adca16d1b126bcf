"""Taxonomies, data sets on disk, mixtures and class statistics."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_data import frame_and_values, write_camvid, write_cityscapes, write_kitti, write_png

from perception.classes import CITYSCAPES
from perception.errors import ConfigError, SourceError
from perception.types import VOID
from training.cli.texts import score_name, score_names
from training.data import statistics, taxonomy
from training.data.datasets import Pair, open_dataset, read_image, read_pair
from training.data.mixture import open_mixture
from training.data.statistics import (
    class_weights,
    count_classes,
    inverse_power_weights,
    log_weights,
    median_frequency_weights,
)

ROAD, CAR, TRAIN_IDS = 0, 13, 19

# The benchmark's own table: label id by class name.
LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
CAMVID = {
    0: {"sky"},
    1: {"building", "wall"},
    2: {"pole"},
    3: {"road"},
    4: {"sidewalk"},
    5: {"vegetation", "terrain"},
    6: {"traffic light", "traffic sign"},
    7: {"fence"},
    8: {"car", "truck", "bus", "train"},
    9: {"person"},
    10: {"rider", "motorcycle", "bicycle"},
}


def names_of(value: int) -> set[str]:
    """The names of the classes a training label value stands for, by the membership matrix."""
    return {CITYSCAPES.name(int(i)) for i in np.flatnonzero(taxonomy.membership()[value])}


def test_label_ids_become_the_train_ids_of_the_benchmark() -> None:
    table = taxonomy.train_ids_from_label_ids()
    assert {CITYSCAPES.name(int(table[label_id])): label_id for label_id in LABEL_IDS.values()} == LABEL_IDS
    others = np.setdiff1d(np.arange(256), list(LABEL_IDS.values()))
    assert (table[others] == VOID).all()


@pytest.mark.parametrize(("value", "names"), CAMVID.items())
def test_a_camvid_value_stands_for_its_set_of_classes(value: int, names: set[str]) -> None:
    assert names_of(int(taxonomy.set_values_from_camvid()[value])) == names


def test_camvid_s_unlabelled_and_unused_values_are_void() -> None:
    assert (taxonomy.set_values_from_camvid()[len(CAMVID) :] == VOID).all()
    assert not taxonomy.membership()[VOID].any()


def test_camvid_s_sets_share_out_the_nineteen_classes_without_overlap() -> None:
    members = [i for group in taxonomy.CAMVID_SETS for i in group]
    assert sorted(members) == list(range(TRAIN_IDS))


def test_every_camvid_value_survives_the_way_there_and_back() -> None:
    values = np.arange(len(CAMVID), dtype=np.uint8)
    assert (taxonomy.camvid_from_values()[taxonomy.set_values_from_camvid()[values]] == values).all()


def test_every_train_id_is_scored_as_the_set_that_holds_it() -> None:
    merged = taxonomy.camvid_from_train_ids()
    for train_id in range(TRAIN_IDS):
        assert CITYSCAPES.name(train_id) in CAMVID[int(merged[train_id])]
    assert (merged[TRAIN_IDS:] == VOID).all()


def test_camvid_splits(tmp_path: Path) -> None:
    root = write_camvid(tmp_path, count=3)
    found = {s: [p.image.stem for p in open_dataset(f"camvid:{root}:{s}")] for s in ("train", "val", "fit", "proxy")}
    assert found["train"] == ["0001TP_00000", "0016E5_00001", "0016E5_00002"]
    assert found["proxy"] == found["train"][:1]
    assert found["fit"] == found["train"][1:]
    assert found["val"] == ["0016E5_00003"]


def test_kitti_splits_and_both_roots(tmp_path: Path) -> None:
    root = write_kitti(tmp_path, count=6)
    pairs = open_dataset(f"kitti:{root}")
    assert open_dataset(f"kitti:{root / 'training'}") == pairs
    assert open_dataset(f"kitti:{root}:proxy") == [pairs[0], pairs[5]]
    assert open_dataset(f"kitti:{root}:fit") == pairs[1:5]


def test_cityscapes_splits_are_folders(tmp_path: Path) -> None:
    root = write_cityscapes(write_cityscapes(tmp_path), split="val")
    assert [p.image.parent.name for p in open_dataset(f"cityscapes:{root}:val")] == ["aachen", "zurich"]


def test_a_street_without_a_folder_is_rendered_where_it_is_read() -> None:
    pairs = open_dataset("synth:100,6")
    assert len(set(pairs)) == 6
    assert len({pair.image.name for pair in pairs}) == 6
    assert {pair.frame.weather for pair in pairs if pair.frame} == {"day", "dusk", "night", "rain"}
    assert all(pair.labelled for pair in pairs)
    image, labels = read_pair(pairs[0])
    assert image.shape == (360, 640, 3)
    assert labels.shape == (360, 640)
    assert ROAD in labels
    assert labels[labels != VOID].max() < TRAIN_IDS
    assert (read_image(pairs[0]) == image).all()
    again, same_labels = read_pair(open_dataset("synth:100,6")[0])  # as another process would
    assert (again == image).all()
    assert (same_labels == labels).all()


def test_rendered_frames_are_mixed_and_told_apart_as_files_are(tmp_path: Path) -> None:
    mixture = open_mixture([f"camvid:{write_camvid(tmp_path)}=0.8", "synth:100,6=0.2"])
    assert mixture.weights == (0.8, 0.2)
    assert mixture.to_json()[1] != open_mixture(["synth:101,6"]).to_json()[0]
    assert mixture.to_json()[1]["images"] == 6


def test_counting_classes_renders_a_part_of_the_street(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RENDERED", 1)
    pairs = open_dataset("synth:100,2")
    one, labels = count_classes(pairs), read_pair(pairs[0])[1]
    assert one.pixels.sum() == (labels != VOID).sum()


def test_a_split_that_selects_nothing_is_refused(tmp_path: Path) -> None:
    write_camvid(tmp_path, count=1)
    with pytest.raises(ConfigError, match="holds no images"):
        open_dataset(f"camvid:{tmp_path}:fit")


@pytest.mark.parametrize("kind", ["kitti", "cityscapes"])
def test_cityscapes_labels_are_read_as_train_ids(tmp_path: Path, kind: str) -> None:
    root = write_kitti(tmp_path) if kind == "kitti" else write_cityscapes(tmp_path)
    image, labels = read_pair(open_dataset(f"{kind}:{root}")[0])
    expected_image, values = frame_and_values(0, (96, 64), ROAD, CAR)
    assert (image == expected_image).all()
    assert (labels == values).all()


def test_camvid_labels_are_read_as_sets(tmp_path: Path) -> None:
    _, labels = read_pair(open_dataset(f"camvid:{write_camvid(tmp_path)}")[0])
    assert [names_of(int(v)) for v in np.unique(labels)] == [CAMVID[3], CAMVID[8]]


def test_the_licence_plate_value_is_void(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, np.full((8, 8), 255, np.uint8), "cityscapes")
    assert (read_pair(pair)[1] == VOID).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camvid", "kind:folder"),
        ("camvid:", "kind:folder"),
        ("", "kind:folder"),
        ("coco:/somewhere", "kinds are camvid, kitti, cityscapes"),
        ("camvid:{missing}", "no folder"),
        ("kitti:{missing}", "no folder"),
        ("cityscapes:{missing}", "no folder"),
        ("camvid:{root}:test", "no split 'test'"),
        ("kitti:{root}:val", "no split 'val'"),
        ("synth:100,0", "1..18000 frames, got '100,0'"),
        ("synth:1000000,5", "a seed of 0..999999"),
        ("synth:100,20:val", "no split 'val'"),
        ("synth:{missing}", "no folder"),
    ],
)
def test_a_data_set_that_cannot_be_opened_is_one_clear_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_dataset(text.format(missing=tmp_path / "missing", root=tmp_path))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(ConfigError, match="holds no images"):
        open_dataset(f"camvid:{tmp_path}")


def test_an_image_without_labels_is_named(tmp_path: Path) -> None:
    root = write_camvid(tmp_path)
    (root / "trainannot" / "0016E5_00001.png").unlink()
    with pytest.raises(ConfigError, match=r"1 of 3 images have no labels.*0016E5_00001\.png"):
        open_dataset(f"camvid:{root}")


def pair_of(folder: Path, labels: np.ndarray, kind: str) -> Pair:
    write_png(folder / "image.png", np.zeros((8, 8, 3), np.uint8))
    write_png(folder / "labels.png", labels)
    return Pair(folder / "image.png", folder / "labels.png", kind)


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (np.zeros((8, 9), np.uint8), "camvid", "must agree"),
        (np.zeros((8, 8, 3), np.uint8), "camvid", "must agree"),
        (np.full((8, 8), 12, np.uint8), "camvid", "the value 12; camvid labels end at 11"),
        (np.full((8, 8), 34, np.uint8), "kitti", "the value 34; kitti labels end at 33"),
        (np.full((8, 8), 26 * 256 + 1, np.uint16), "kitti", "the value 6657"),
        (np.tile(np.uint8([100, 255]), (8, 4)), "cityscapes", "the value 100"),  # not hidden by void beside it
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, labels: np.ndarray, kind: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_pair(pair_of(tmp_path, labels, kind))
    assert "labels.png" in str(caught.value)


@pytest.mark.parametrize("bad", ["image.png", "labels.png"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, bad: str) -> None:
    pair = pair_of(tmp_path, np.zeros((8, 8), np.uint8), "camvid")
    (tmp_path / bad).write_text("not an image")
    with pytest.raises(SourceError, match=f"Cannot read .*{bad}"):
        read_pair(pair)


def test_mixtures_carry_weights_and_a_rule_for_each_kind(tmp_path: Path) -> None:
    camvid, kitti = write_camvid(tmp_path / "camvid"), write_kitti(tmp_path / "kitti")
    mixture = open_mixture([f"camvid:{camvid}:fit=2.5", f"kitti:{kitti}"])
    assert mixture.weights == (2.5, 1.0)
    assert [len(part) for part in mixture.parts] == [2, 6]
    assert mixture.rules[0] != mixture.rules[1]


def test_a_mixture_is_told_apart_by_its_files_and_not_by_its_folder(tmp_path: Path) -> None:
    here, there = (open_mixture([f"camvid:{write_camvid(tmp_path / n)}"]).to_json() for n in ("here", "there"))
    assert here == there
    assert here != open_mixture([f"camvid:{tmp_path / 'here'}:fit"]).to_json()
    assert here != open_mixture([f"camvid:{tmp_path / 'here'}=2"]).to_json()


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "much", ""])
def test_an_impossible_weight_is_refused(tmp_path: Path, weight: str) -> None:
    with pytest.raises(ConfigError, match="weight"):
        open_mixture([f"camvid:{write_camvid(tmp_path)}={weight}"])


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="--data"):
        open_mixture([])


def test_frequencies_split_a_coarse_label_evenly_and_leave_void_out(tmp_path: Path) -> None:
    values = np.full((8, 8), 11, np.uint8)  # CamVid: unlabelled
    values[:2], values[2:4, :4] = 3, 8  # 16 road, 8 of car, truck, bus or train
    frequencies = count_classes([pair_of(tmp_path, values, "camvid")]).frequencies
    assert frequencies[ROAD] == pytest.approx(16 / 24)
    assert frequencies[[13, 14, 15, 16]] == pytest.approx(2 / 24)
    assert frequencies.sum() == pytest.approx(1)


def test_labels_without_a_known_pixel_have_no_frequencies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no known pixel"):
        count_classes([pair_of(tmp_path, np.full((8, 8), 11, np.uint8), "camvid")])


def test_weights_fall_with_frequency_within_their_limit() -> None:
    frequencies = np.zeros(TRAIN_IDS)
    frequencies[:3] = 0.9, 0.09, 0.0001
    assert inverse_power_weights(frequencies, 0.5)[:4] == pytest.approx([(0.1) ** 0.5, 1, 4, 1])
    assert (inverse_power_weights(frequencies, 0.0) == 1).all()
    assert inverse_power_weights(frequencies, 1.0, limit=2.0)[0] == pytest.approx(0.5)


def test_median_frequency_counts_only_the_images_that_show_a_class(tmp_path: Path) -> None:
    road_alone = np.full((8, 8), 3, np.uint8)
    with_sky = np.full((8, 8), 3, np.uint8)
    with_sky[:2] = 0
    with_both = np.full((8, 8), 3, np.uint8)
    with_both[:2], with_both[7, :4] = 0, 9  # sky, pedestrian
    with_both[6] = 11  # unlabelled
    pairs = [pair_of(tmp_path / str(i), labels, "camvid") for i, labels in enumerate((road_alone, with_sky, with_both))]
    road, sky, person = (64 + 48 + 36) / (64 + 64 + 56), (16 + 16) / (64 + 56), 4 / 56
    weights = median_frequency_weights(count_classes(pairs))
    assert weights[[ROAD, 10, 11]] == pytest.approx([sky / road, 1, sky / person])
    assert weights[CAR] == 1  # there is none


def test_log_weights_are_the_formula_and_bounded() -> None:
    frequencies = np.zeros(TRAIN_IDS)
    frequencies[:2] = 0.9, 0.1
    assert log_weights(frequencies)[:3] == pytest.approx([1 / np.log(1.92), 1 / np.log(1.12), 1 / np.log(1.02)])
    assert log_weights(np.ones(TRAIN_IDS))[0] == pytest.approx(1.42, abs=0.01)


def test_a_weighting_is_chosen_by_its_name(tmp_path: Path) -> None:
    counts = count_classes(open_dataset(f"camvid:{write_camvid(tmp_path)}"))
    assert (class_weights(counts, "power", 0.3) == inverse_power_weights(counts.frequencies, 0.3)).all()
    assert (class_weights(counts, "median") == median_frequency_weights(counts)).all()
    assert (class_weights(counts, "log") == log_weights(counts.frequencies)).all()


@pytest.mark.data
@pytest.mark.skipif("ROADCAST_DATA" not in os.environ, reason="needs real driving data: set ROADCAST_DATA")
def test_the_real_data_sets_hold_what_their_description_says() -> None:
    root = os.environ["ROADCAST_DATA"]
    counts = {s: len(open_dataset(f"camvid:{root}/camvid:{s}")) for s in ("train", "val", "fit", "proxy")}
    assert counts == {"train": 367, "val": 101, "fit": 305, "proxy": 62}
    kitti = open_dataset(f"kitti:{root}/kitti")
    assert len(kitti) == 160
    for pair in (*open_dataset(f"camvid:{root}/camvid")[::60], *kitti[::40]):
        image, labels = read_pair(pair)
        assert image.shape[:2] == labels.shape
        assert (labels != VOID).mean() > 0.5


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("camvid:/data/camvid:val", "camvid:val"),
        ("kitti:/data/kitti", "kitti:train"),
        ("synth:/data/rendered:val", "synth:val"),
        ("synth:5,40", "synth:5,40"),
    ],
)
def test_on_cards_a_data_set_is_called_without_its_folder(text: str, name: str) -> None:
    assert score_name(text) == name


def test_data_sets_that_would_be_called_alike_keep_the_name_of_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["cityscapes:/data/real:val", "cityscapes:.:val", "cityscapes:/data/real", "synth:5,40"]
    assert list(score_names(texts).values()) == [
        "cityscapes:real:val",
        f"cityscapes:{tmp_path.name}:val",
        "cityscapes:train",
        "synth:5,40",
    ]
    assert len(score_names([*texts, texts[0]])) == 4  # the same one is scored once
    with pytest.raises(ConfigError, match=r"would both be called 'cityscapes:real:val'"):
        score_names([texts[0], "cityscapes:/other/real:val"])
