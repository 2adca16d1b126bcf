"""Networks that give a picture back: they begin by changing nothing, take any frame, and export as they are."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tiny_model
from tiny_data import write_camvid
from tiny_training import tiny_net

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from perception.engines.enhancement import read_enhancement  # noqa: E402
from perception.engines.open import open_engine  # noqa: E402
from perception.errors import ConfigError, ModelError  # noqa: E402
from training.data.samples import draw_in_worker, start_worker  # noqa: E402
from training.metrics.picture import psnr  # noqa: E402
from training.models.autoencoder import conv_autoencoder, dense_autoencoder  # noqa: E402
from training.models.light_unet import LightUNetWidths, light_unet  # noqa: E402
from training.models.restoration import fcn_picture, light_unet_picture, restoration_unet, subpixel_net  # noqa: E402
from training.models.subpixel import PixelShuffle, PixelUnshuffle  # noqa: E402
from training.restoration.album import score_restorer, write_sheet  # noqa: E402
from training.restoration.export import export_enhancement  # noqa: E402
from training.restoration.fit import picture_loss  # noqa: E402
from training.restoration.perceived import perceived_difference  # noqa: E402
from training.restoration.restorer import (  # noqa: E402
    begin_with,
    factor_of,
    keras_restorer,
    load_restorer,
    multiple_of,
)
from training.restoration.samples import PictureSampler, open_pictures, shrink, task_of  # noqa: E402
from training.restoration.settings import RestoreConfig, load_settings  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SLIM = (4, 4, 8, 8, 8)
NETWORKS = {
    "denoise": lambda: restoration_unet((8, 8, 16)),
    "lowlight": lambda: light_unet_picture(LightUNetWidths(8, (8, 8, 8, 8)), (8,)),
    "subpixel": lambda: subpixel_net(8, 8, 2),
    "fcn8s": lambda: fcn_picture(SLIM, head=8),
    "transposed": lambda: conv_autoencoder(8, up="transposed", channels=(8, 8)),
    "unpool": lambda: conv_autoencoder(8, up="unpool", channels=(8, 8)),
    "resize": lambda: conv_autoencoder(8, up="resize", channels=(8, 8)),
}
MULTIPLES = {"denoise": 8, "lowlight": 32, "transposed": 4, "unpool": 4, "resize": 4}


def picture(height: int = 40, width: int = 56) -> np.ndarray:
    rows, columns = np.indices((height, width))
    ramp = np.stack([rows * 3, columns * 4, (rows + columns) * 2], axis=2)
    return (ramp + np.random.default_rng(1).integers(0, 30, ramp.shape)).clip(0, 255).astype(np.uint8)


def stirred(model: Any) -> Any:
    """The model with weights that make every layer matter."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.ndim > 1:
            scale = 1.2 / np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(random.normal(0, scale, weight.shape))
    return model


def test_shuffling_pixels_is_undone_by_its_inverse_and_keeps_blocks_together() -> None:
    x = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    channels = np.asarray(PixelUnshuffle(2)(x))
    assert channels.shape == (2, 2, 3, 12)
    assert channels[1, 1, 2].tolist() == [*x[1, 2, 4], *x[1, 2, 5], *x[1, 3, 4], *x[1, 3, 5]]
    assert (np.asarray(PixelShuffle(2)(channels)) == x).all()


@pytest.mark.parametrize("name", ["denoise", "lowlight"])
def test_a_network_that_has_learnt_nothing_changes_almost_nothing(name: str) -> None:
    image = picture()
    assert psnr(keras_restorer(NETWORKS[name]())(image), image) > 35


def test_super_resolution_starts_as_bilinear_enlargement() -> None:
    cv2 = pytest.importorskip("cv2")
    image = picture()
    large = keras_restorer(subpixel_net())(image)
    assert large.shape == (80, 112, 3)
    assert psnr(large, cv2.resize(image, (112, 80), interpolation=cv2.INTER_LINEAR)) > 35


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_exported_answers_as_the_network_does(name: str, tmp_path: Path) -> None:
    model = stirred(NETWORKS[name]())
    path = tmp_path / "net.onnx"
    export_enhancement(model, path, "net", {"data": "none"})
    enhancement = read_enhancement(str(path))
    assert (enhancement.name, enhancement.factor) == ("net", factor_of(model))
    assert enhancement.multiple == multiple_of(model) == MULTIPLES.get(name, 1)
    image = picture(64, 96)
    session = onnxruntime.InferenceSession(str(path))
    found, same = session.run(["image", "enhanced"], {"frame": image[None]})
    expected = keras_restorer(model)(image)
    assert found.shape == (1, *expected.shape)
    assert np.abs(found[0].astype(int) - expected).max() <= 1  # weights are stored as halves
    assert (found[0] != expected).mean() < 0.15
    assert expected.std() > 1
    assert (found == same).all()


def test_a_network_goes_before_a_model_in_one_graph(tmp_path: Path) -> None:
    path, model = tmp_path / "net.onnx", tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)
    export_enhancement(stirred(NETWORKS["subpixel"]()), path, "net", {})
    frame = picture(32, 64)[None]
    image = onnxruntime.InferenceSession(str(path)).run(["image"], {"frame": frame})[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROADCAST_CACHE", str(tmp_path))
        with closing(open_engine("onnxruntime", model, threads=1, enhance=str(path))) as engine:
            found = engine.submit(frame).result()
    assert (found["image"] == image).all()
    assert (found["labels"] == tiny_model.expected(image, scale=2)[0]).all()


@pytest.mark.parametrize("size", [(40, 56), (33, 41), (32, 32)])
@pytest.mark.parametrize("name", ["denoise", "subpixel", "unpool"])
def test_frames_of_any_size_come_back_whole(name: str, size: tuple[int, int]) -> None:
    image, model = picture(*size), stirred(NETWORKS[name]())
    factor = factor_of(model)
    assert keras_restorer(model)(image).shape == (size[0] * factor, size[1] * factor, 3)


def test_a_dense_autoencoder_is_asked_patch_by_patch() -> None:
    model = stirred(dense_autoencoder(16, 8, hidden=32))
    image = picture(40, 50)
    whole = keras_restorer(model)(image)
    assert whole.shape == image.shape
    patch = np.asarray(model(image[None, 16:32, 32:48]))[0]
    assert np.abs(whole[16:32, 32:48].astype(float) - patch).max() <= 0.5


def test_the_narrow_place_is_as_narrow_as_was_asked_for() -> None:
    assert dense_autoencoder(16, 7).get_layer("latent").output.shape == (None, 7)
    assert conv_autoencoder(5).get_layer("latent").output.shape == (None, None, None, 5)


def test_losses_are_zero_for_the_truth_and_weigh_errors_as_they_say() -> None:
    truth = picture()[None]
    for kind in ("l1", "l2"):
        loss = picture_loss(kind)
        assert float(loss(truth, truth.astype(np.float32))) == pytest.approx(0, abs=1e-6)
    assert float(picture_loss("l2")(truth, truth.astype(np.float32) + 25.5)) == pytest.approx(1)
    assert float(picture_loss("l1")(truth, truth.astype(np.float32) + 25.5)) == pytest.approx(9.25, abs=0.1)


def test_what_a_segmenter_sees_differs_with_the_picture_alone_and_leads_back_to_it(tmp_path: Path) -> None:
    tiny_net(auxiliary=True).save(tmp_path / "m.keras")
    seen = perceived_difference(tmp_path / "m.keras")
    truth = picture(32, 32)[None]
    assert float(seen(truth, truth.astype(np.float32))) == pytest.approx(0, abs=1e-6)
    far, near = (float(seen(truth, truth * np.float32(share))) for share in (0.3, 0.8))
    assert far > near > 0
    loss = picture_loss("l1", seen, weight=2.0)
    expected = float(picture_loss("l1")(truth, truth * np.float32(0.3))) + 2 * far
    assert float(loss(truth, truth * np.float32(0.3))) == pytest.approx(expected)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        start = tf.Variable(truth * np.float32(0.3))
        with tf.GradientTape() as tape:
            difference = seen(truth, start)
        assert float(tf.reduce_max(tf.abs(tape.gradient(difference, start)))) > 0


def test_other_models_are_no_restorers(tmp_path: Path) -> None:
    frame = keras.Input((None, None, 3), dtype="uint8")
    keras.Model(frame, keras.layers.Conv2D(19, 1)(keras.layers.Rescaling(1.0)(frame))).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="not a network from u8 frames to pictures"):
        load_restorer(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="There is no Keras model"):
        load_restorer(tmp_path / "missing.keras")


def test_the_network_for_little_light_begins_with_all_of_a_segmentation_network_but_its_classes(tmp_path: Path) -> None:
    widths = LightUNetWidths(8, (8, 8, 8, 8))
    segmenter = stirred(light_unet(widths, auxiliary=True, head="centre"))
    segmenter.save(tmp_path / "m.keras")
    model = light_unet_picture(widths, (8,))
    begin_with(model, tmp_path / "m.keras")
    names = {layer.name for layer in model.layers}
    shared = [layer for layer in segmenter.layers if layer.weights and layer.name in names]
    assert {layer.name for layer in shared} > {"encoder_stem_conv", "context1_conv", "decoder2_fuse_bn"}
    for layer in shared:
        for one, other in zip(layer.get_weights(), model.get_layer(layer.name).get_weights()):
            assert (one == other).all()
    with pytest.raises(ModelError, match="does not fit"):
        begin_with(light_unet_picture(LightUNetWidths(16, (8, 8, 8, 8)), (8,)), tmp_path / "m.keras")
    with pytest.raises(ModelError, match="There is no Keras model"):
        begin_with(model, tmp_path / "missing.keras")


def test_a_saved_network_is_the_same_again(tmp_path: Path) -> None:
    model = stirred(NETWORKS["unpool"]())
    model.save(tmp_path / "m.keras")
    image = picture()
    assert (keras_restorer(load_restorer(tmp_path / "m.keras"))(image) == keras_restorer(model)(image)).all()


@pytest.fixture
def data(tmp_path: Path) -> str:
    return f"camvid:{write_camvid(tmp_path / 'camvid', size=(160, 120))}"


def test_batches_are_pairs_of_spoilt_and_true_pieces_and_depend_on_their_place_alone(data: str) -> None:
    sampler = PictureSampler(open_pictures([f"{data}=2", f"{data}:val"]), task_of(["gaussian"], 2), (96, 64), 3, seed=4)
    spoilt, truth = sampler.draw(1, 2)
    assert (spoilt.shape, truth.shape) == ((3, 32, 48, 3), (3, 64, 96, 3))
    error = spoilt.astype(float) - np.stack([shrink(one, 2) for one in truth])
    assert 1 < error.std() < 41
    start_worker(sampler)
    again = draw_in_worker(1, 2)
    assert (again[0] == spoilt).all()
    assert (again[1] == truth).all()
    assert (sampler.draw(1, 3)[1] != truth).any()


def test_labels_are_not_needed(data: str) -> None:
    folder = Path(data.partition(":")[2])
    for path in (folder / "trainannot").iterdir():
        path.unlink()
    assert len(open_pictures([data]).parts[0]) == 3


def test_scores_and_sheets_of_a_restorer(data: str, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    pairs, task = open_pictures([data]).parts[0], task_of(["gaussian", "lowlight"], 1)
    scores = score_restorer(lambda image: image, pairs, task)
    assert scores["gaussian PSNR"] == scores["gaussian PSNR of the input"] == pytest.approx(20.5, abs=0.8)
    assert scores["lowlight PSNR"] < 20
    write_sheet(lambda image: image, pairs, task, tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (3 * 120, 3 * 160, 3)


def test_settings_come_in_layers_and_are_checked(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('network = "subpixel"\ncrop = [128, 64]\ndegrade = ["jpeg"]\nepochs = 7\n')
    config = load_settings({"out": "x"}, file=str(recipe), environment={"ROADCAST_RESTORE_EPOCHS": "9"})
    assert (config.factor, config.crop, config.degrade, config.epochs) == (2, (128, 64), ("jpeg",), 9)
    recipe.write_text("lovasz = 1")
    with pytest.raises(ConfigError, match="no setting 'lovasz'"):
        load_settings({"out": "x"}, file=str(recipe), environment={})
    with pytest.raises(ConfigError, match="multiples of 64 for subpixel, such as 192x192, got 96x96"):
        RestoreConfig(out=tmp_path, network="subpixel", crop=(96, 96))
    with pytest.raises(ConfigError, match="square patches"):
        RestoreConfig(out=tmp_path, network="dense", crop=(64, 32))
    for network, setting in (("denoise", {"latent": 4}), ("subpixel", {"up": "unpool"}), ("dense", {"up": "unpool"})):
        with pytest.raises(ConfigError, match=f"{next(iter(setting))} is of conv.*; {network} has no use for it"):
            RestoreConfig(out=tmp_path, network=network, crop=(64, 64), **setting)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="network must be one of denoise"):
        RestoreConfig(out=tmp_path, network="gan")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="segmenter_weight needs segmenter"):
        RestoreConfig(out=tmp_path, segmenter_weight=30)


@pytest.mark.parametrize("name", ["denoise", "lowlight", "superres"])
def test_the_recipes_are_settings(name: str) -> None:
    recipe = Path(__file__).parents[2] / "launch" / "recipes" / f"{name}.toml"
    config = load_settings({"out": "x"}, file=str(recipe), environment={})
    assert config.id == name
    assert task_of(config.degrade, config.factor).factor == (2 if name == "superres" else 1)
