"""``roadcast-train degrade`` as its users meet it: what it copies, and what is left where it does not end well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_touching_cars

from training.cli import main
from training.data.datasets import open_dataset
from training.data.instances import read_instances


def test_a_spoilt_data_set_still_tells_objects_apart(tmp_path: Path) -> None:
    kitti, out = write_touching_cars(tmp_path / "kitti", count=2), tmp_path / "new" / "noisy"
    assert main(["degrade", str(out), "--data", f"kitti:{kitti}", "--by", "gaussian"]) == 0
    for before, after in zip(open_dataset(f"kitti:{kitti}"), open_dataset(f"kitti:{out}"), strict=True):
        np.testing.assert_array_equal(read_instances(before), read_instances(after))
        assert len(np.unique(read_instances(after))) == 3


def test_a_data_set_that_cannot_be_read_to_its_end_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kitti, out = write_touching_cars(tmp_path / "kitti", count=3), tmp_path / "noisy"
    command = ["degrade", str(out), "--data", f"kitti:{kitti}", "--by", "gaussian"]
    last = kitti / "training" / "image_2" / "000002_10.png"
    whole = last.read_bytes()
    last.write_bytes(b"no picture")
    assert main(command) == 3
    assert "000002_10.png" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kitti"]
    last.write_bytes(whole)
    assert main(command) == 0


@pytest.mark.parametrize("data", ["kitti", "nowhere", "kitti:"])
def test_data_without_a_folder_are_one_sentence(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["degrade", str(tmp_path / "out"), "--data", data, "--by", "jpeg"]) == 2
    assert "is not of the form kind:folder" in capsys.readouterr().err
