"""A run's settings in layers, and the recipes that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.config import load_config
from perception.errors import ConfigError
from training.cli.fit import FLAGS
from training.recipe import load_settings
from training.restoration import settings as restoring
from training.settings import RULES, FitConfig

RECIPES = sorted((Path(__file__).parents[2] / "launch" / "recipes").glob("*.toml"))


def recipe(folder: Path, text: str) -> str:
    path = folder / "recipe.toml"
    path.write_text(text)
    return str(path)


def test_later_layers_win(tmp_path: Path) -> None:
    file = recipe(tmp_path, 'out = "run"\nepochs = 3\nsteps = 4\nbatch = 5\ncrop = [128, 64]\n')
    environment = {"ROADCAST_TRAIN_STEPS": "40", "ROADCAST_TRAIN_BATCH": "50", "ROADCAST_OTHER": "1"}
    config = load_settings({"batch": "500", "data": ["camvid:a", "kitti:b=2"]}, file=file, environment=environment)
    assert (config.epochs, config.steps, config.batch, config.crop) == (3, 40, 500, (128, 64))
    assert config.data == ("camvid:a", "kitti:b=2")
    assert config.rate == FitConfig(out=Path("run")).rate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"no setting 'epoch'. Did you mean 'epochs'\?"),
        ("epochs = 0", "epochs must be a whole number from 1"),
        ('rate = "fast"', "rate must be a number"),
        ("rate = nan", "rate must be a number"),
        ("crop = [100, 64]", "crop must be WIDTHxHEIGHT with sides in multiples of 32"),
        ('network = "fcn"', "network must be one of light"),
        ('data = "camvid:a"', "data must be a list"),
        ("batch = 3\ndevices = 2", "cannot be shared evenly by 2 devices"),
        ('encoder_weights = "a"\ninitial_weights = "b"', "not both"),
        ("epochs =", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings({}, file=recipe(tmp_path, f'out = "run"\n{text}\n'), environment={})


def test_variables_and_home_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.delenv("NOWHERE", raising=False)
    file = recipe(tmp_path, 'out = "~/run"\ndata = ["camvid:$HERE/camvid=0.5"]\nscore = ["camvid:${NOWHERE}/camvid"]\n')
    with pytest.raises(ConfigError, match="variable NOWHERE, which is not set"):
        load_settings({}, file=file, environment={})
    config = load_settings({"score": ["kitti:k"]}, file=file, environment={})  # what a flag replaces is not asked for
    assert config.data == (f"camvid:{tmp_path}/camvid=0.5",)
    assert config.out == Path.home() / "run"


def test_a_misspelt_variable_is_named_and_the_node_minds_none_of_them() -> None:
    with pytest.raises(ConfigError, match=r"ROADCAST_TRAIN_EPOCH, .* 'ROADCAST_TRAIN_EPOCHS'"):
        load_settings({"out": "run"}, environment={"ROADCAST_TRAIN_EPOCH": "5"})
    for variable in ("ROADCAST_TRAIN_EPOCHS", "ROADCAST_RESTORE_EPOCHS"):  # a node lets them pass
        assert load_config({"source": "a.mp4"}, environment={variable: "5"}).source == "a.mp4"


def test_a_run_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="--out"):
        load_settings({}, environment={})


def test_a_head_takes_no_teacher(tmp_path: Path) -> None:
    trunk = {"head": "centre", "initial_weights": str(tmp_path / "trunk.keras")}
    assert load_settings({"out": str(tmp_path), **trunk}, environment={}).head == "centre"
    with pytest.raises(ConfigError, match="leave out the teacher"):
        load_settings({"out": str(tmp_path), **trunk, "teacher": str(tmp_path / "t.keras")}, environment={})


@pytest.mark.parametrize("setting", ["teacher_weight", "temperature"])
def test_what_is_of_a_teacher_needs_one(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{setting} needs teacher"):
        load_settings({"out": str(tmp_path), setting: "3"}, environment={})


def test_every_setting_has_a_flag() -> None:
    assert set(FLAGS) | {"tensorboard"} == set(RULES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_can_be_read_and_say_how_to_use_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROADCAST_DATA", "CITYSCAPES"):
        monkeypatch.setenv(name, "/data")
    if "roadcast-train restore launch" in path.read_text():
        restoring.load_settings({"out": "run", "data": ["kitti:d"]}, file=str(path), environment={})
        command = "restore"
    else:
        config = load_settings({}, file=str(path), environment={})
        assert config.data
        assert config.score
        command = "fit"
    assert f"roadcast-train {command} launch/recipes/{path.name}" in path.read_text()


def test_a_trunk_learns_only_below_a_head(tmp_path: Path) -> None:
    trunk = {"out": str(tmp_path), "trunk": "learns", "initial_weights": str(tmp_path / "trunk.keras")}
    assert load_settings(trunk | {"head": "boundary"}, environment={}).trunk == "learns"
    for head in ("none", "mask-rcnn"):
        with pytest.raises(ConfigError, match=f"for the heads centre and boundary; the head is '{head}'"):
            load_settings(trunk | {"head": head}, environment={})
    with pytest.raises(ConfigError, match="head_weight weighs the head against the labels: it needs trunk = 'learns'"):
        load_settings(trunk | {"head": "centre", "trunk": "frozen", "head_weight": "2"}, environment={})
