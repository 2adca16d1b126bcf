"""``roadcast-train synth``: the folder it writes, and what happens when it is run again."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.classes import CITYSCAPES
from perception.errors import ConfigError, RoadcastError
from perception.synth import Street
from perception.synth.palette import LABEL_IDS, label_id_table
from training.cli import synth
from training.polygons import polygons_json

CLASSES = [CITYSCAPES.name(k) for k in range(19)]
FLAGS = ("--frames", "6", "--seeds", "3..5", "--size", "96x64", "--weather", "day,night")


def run(out: Path, *flags: str) -> int:
    parser = argparse.ArgumentParser()
    synth.add_parser(parser.add_subparsers())
    args = parser.parse_args(["synth", str(out), "--workers", "1", *FLAGS, *flags])
    return int(args.run(args))


def images(out: Path) -> list[Path]:
    return sorted(out.glob("leftImg8bit/*/*/*_leftImg8bit.png"))


def truth(image: Path, kind: str) -> Path:
    return Path(str(image).replace("leftImg8bit/", "gtFine/").replace("leftImg8bit.png", f"gtFine_{kind}.png"))


def read(path: Path) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return np.asarray(found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "data"
    assert run(out) == 0
    return out


def test_the_folder_holds_whole_frames(made: Path) -> None:
    assert len(images(made)) == 6
    assert {path.parent.name for path in images(made)} == {"synthday", "synthnight"}
    assert {path.name.split("_")[1] for path in images(made)} == {"000003", "000004", "000005"}
    for image in images(made):
        city, seed, number, _ = image.name.split("_")
        frame = Street(int(seed), (96, 64), 30.0, city.removeprefix("synth")).render(int(number))  # type: ignore[arg-type]
        np.testing.assert_array_equal(read(image), frame.image)
        np.testing.assert_array_equal(read(truth(image, "labelTrainIds")), frame.labels)
        np.testing.assert_array_equal(read(truth(image, "labelIds")), label_id_table()[frame.labels])
        np.testing.assert_array_equal(read(truth(image, "instanceIds")), frame.instances)
        assert read(truth(image, "instanceIds")).dtype == np.uint16


def test_the_tools_of_cityscapes_make_the_same_maps_of_its_polygons(made: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("cityscapesscripts") is None:
        pytest.skip("cityscapesscripts is not installed")
    shutil.copytree(made, tmp_path / "data")
    maps = sorted((tmp_path / "data").glob("gtFine/*/*/*_labelTrainIds.png"))
    before = [read(path) for path in maps]
    for path in maps:
        path.unlink()
    tool = [sys.executable, "-m", "cityscapesscripts.preparation.createTrainIdLabelImgs"]
    place = {**os.environ, "CITYSCAPES_DATASET": str(tmp_path / "data")}
    subprocess.run(tool, env=place, check=True, capture_output=True, timeout=120)
    assert len(maps) == 6
    for path, labels in zip(maps, before):
        np.testing.assert_array_equal(read(path), labels)


# What json2instanceImg does before it saves; saving fails in the tool itself with a new Pillow ("cannot write mode I").
INSTANCES = """
import sys
import numpy
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
annotation = Annotation()
annotation.fromJsonFile(sys.argv[1])
numpy.save(sys.argv[2], numpy.array(createInstanceImage(annotation, "ids")))
"""


def test_the_tools_of_cityscapes_find_as_many_things(made: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("cityscapesscripts") is None:
        pytest.skip("cityscapesscripts is not installed")
    polygons = truth(images(made)[0], "polygons").with_suffix(".json")
    command = [sys.executable, "-c", INSTANCES, str(polygons), str(tmp_path / "things.npy")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    found, exact = np.load(tmp_path / "things.npy"), read(truth(images(made)[0], "instanceIds"))
    labels = np.where(found < 1000, found, found // 1000)
    np.testing.assert_array_equal(labels, read(truth(images(made)[0], "labelIds")))
    assert len(np.unique(found[found >= 1000])) == len(np.unique(exact[exact >= 1000])) > 0


def test_a_thing_in_pieces_is_one_thing_and_a_group() -> None:
    labels = np.full((6, 9), 2, np.uint8)  # a building, within it a car behind a pole, and a wheel of one pixel
    labels[2:4, 1:7], labels[:, 3], labels[5, 8] = 13, 5, 18
    instances = label_id_table()[labels].astype(np.int32)
    instances[labels == 13], instances[labels == 18] = 26000, 33000
    document = json.loads(polygons_json(labels, instances))
    assert (document["imgHeight"], document["imgWidth"]) == (6, 9)
    names = [entry["label"] for entry in document["objects"]]
    assert sorted(names) == ["bicycle", "building", "building", "car", "cargroup", "pole"]
    painted = np.full(labels.shape, 255, np.uint8)
    for entry in document["objects"]:
        cv2.fillPoly(painted, [np.array(entry["polygon"])], CLASSES.index(entry["label"].removesuffix("group")))
    np.testing.assert_array_equal(painted, labels)
    assert [2, 2] not in document["objects"][names.index("car")]["polygon"]  # the larger piece lies behind the pole


def test_a_frame_without_polygons_is_rendered_again(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = next(iter(sorted(made.glob("gtFine/*/*/*_polygons.json"))))
    content = lost.read_bytes()
    lost.unlink()
    assert run(made, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"rendered": 1, "kept": 5}
    assert lost.read_bytes() == content


def test_the_loader_for_cityscapes_reads_it(made: Path) -> None:
    datasets = pytest.importorskip("training.data.datasets")
    pairs = datasets.open_dataset(f"cityscapes:{made}")
    assert [pair.image for pair in pairs] == images(made)
    assert all(set(np.unique(read(pair.labels))) <= set(LABEL_IDS) for pair in pairs)


def test_a_second_run_renders_only_what_is_missing(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = images(made)[2]
    content = lost.read_bytes()
    lost.unlink()
    assert run(made, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"rendered": 1, "kept": 5}
    assert lost.read_bytes() == content


def test_other_values_do_not_mix_with_a_split_that_is_there(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"--overwrite"):
        run(made, "--frames", "7")


def test_overwriting_leaves_nothing_of_the_old_split(tmp_path: Path) -> None:
    assert run(tmp_path / "data") == 0
    assert run(tmp_path / "data", "--frames", "2", "--weather", "dusk", "--overwrite") == 0
    left = images(tmp_path / "data")
    assert len(left) == 2
    assert {path.parent.name for path in left} == {"synthdusk"}


def test_splits_stand_side_by_side(tmp_path: Path) -> None:
    assert run(tmp_path / "data", "--frames", "2") == 0
    assert run(tmp_path / "data", "--frames", "1", "--split", "val") == 0
    assert sorted(path.parts[-3] for path in images(tmp_path / "data")) == ["train", "train", "val"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="is a file"):
        run(tmp_path / "thesis.tex")


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "synth.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        run(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RoadcastError, match="Cannot write"):
        run(tmp_path / "file" / "data")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--frames", "0"), "--frames"),
        (("--seeds", "9..3"), "--seeds"),
        (("--seeds", "all"), "--seeds"),
        (("--size", "big"), "1280x720"),
        (("--size", "8x8"), "size"),
        (("--weather", "snow"), "--weather"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_written(tmp_path: Path, flags: tuple[str, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        run(tmp_path / "data", *flags)
    assert not (tmp_path / "data").exists()


def test_workers_write_the_same_as_one_process(made: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "data", "--workers", "2") == 0
    assert [p.read_bytes() for p in images(tmp_path / "data")] == [p.read_bytes() for p in images(made)]


EVALUATE = """
import sys
import numpy as np
np.in1d = np.isin  # the tools call it by the name it had before NumPy 2.4
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
truth = sys.argv[1:]
official.args.JSONOutput = False
official.args.quiet = True
result = official.evaluateImgLists(truth, truth, official.args)
present = [score for score in result["classScores"].values() if score == score]
print(len(present), min(present))
"""


@pytest.mark.skipif(importlib.util.find_spec("cityscapesscripts") is None, reason="needs pip install cityscapesscripts")
def test_the_official_evaluator_accepts_it(made: Path) -> None:
    maps = [str(truth(image, "labelIds")) for image in images(made)]
    done = subprocess.run([sys.executable, "-c", EVALUATE, *maps], check=False, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    classes, least = done.stdout.split()[-2:]
    assert int(classes) >= 10
    assert float(least) == 1.0
