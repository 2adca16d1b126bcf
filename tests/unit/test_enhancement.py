"""An enhancement before a network: one graph that answers what two runs would, and clear words where it cannot be."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tiny_enhancement import inverted, write_enhancement

from perception.config import NodeConfig
from perception.engines.answers import check_outputs
from perception.engines.contract import read_spec
from perception.engines.enhancement import enhanced_model, join, read_enhancement
from perception.engines.open import open_engine
from perception.engines.protobuf import field, fields, integer, messages, raw_fields, text
from perception.engines.shipped import ENHANCEMENTS
from perception.errors import ConfigError, EngineError, ModelError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "enhanced"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)


def frames(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("factor", [1, 2])
def test_the_joined_graph_answers_what_two_runs_would(engine: str, factor: int, model: Path, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    enhancement = write_enhancement(tmp_path / "invert.onnx", factor=factor)
    batch = frames(32, 64, count=2)
    with closing(open_engine(engine, model, threads=1, enhance=str(enhancement))) as opened:
        found = opened.submit(batch).result()
    image = inverted(batch, factor)
    labels, confidence = tiny_model.expected(image, scale=2)
    assert (found["image"] == image).all()
    assert (found["labels"] == labels).all()
    assert (found["confidence"] == confidence).all()


def test_the_joined_file_is_valid_onnx_and_keeps_every_weight(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "joined.onnx"
    path.write_bytes(join(read_enhancement(str(write_enhancement(tmp_path / "e.onnx"))), model))
    joined, before = onnx.load(path), onnx.load(model)
    onnx.checker.check_model(joined, full_check=True)
    weights = {w.name: w for w in joined.graph.initializer}
    assert all(weights[w.name] == w for w in before.graph.initializer)
    assert [value.name for value in joined.graph.output] == ["labels", "confidence", "image"]
    assert joined.opset_import == before.opset_import


def test_the_standard_operators_have_two_names(model: Path, tmp_path: Path) -> None:
    """ONNX calls its own domain "ai.onnx" or nothing at all; exporters write either."""
    proto = onnx.load(model)
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    model.write_bytes(proto.SerializeToString())
    enhancement = write_enhancement(tmp_path / "e.onnx")
    with closing(open_engine("onnxruntime", model, threads=1, enhance=str(enhancement))) as engine:
        batch = frames(32, 64)
        assert (engine.submit(batch).result()["image"] == inverted(batch)).all()


def test_its_card_names_both_and_asks_for_a_quarter_of_the_pixels(model: Path, tmp_path: Path) -> None:
    enhancement = write_enhancement(tmp_path / "e.onnx", factor=2, multiple=3, name="larger")
    spec = read_spec(enhanced_model(model, str(enhancement)))
    assert spec.id == "tiny+larger"
    assert spec.card["roadcast.enhancement"] == "larger"
    assert spec.card["roadcast.card"] == read_spec(model).card["roadcast.card"]
    assert spec.pixels == 128 * 64 // 4
    assert spec.multiple == 48  # of 32 / 2 and of 3


def test_a_model_of_one_size_and_batch_takes_frames_of_half_that_size(tmp_path: Path) -> None:
    model = tiny_model.write_model(tmp_path / "fixed.onnx", size=(128, 64))
    enhancement = write_enhancement(tmp_path / "e.onnx", factor=2)
    joined = enhanced_model(model, str(enhancement))
    assert read_spec(joined).fixed_size == (64, 32)
    with closing(open_engine("onnxruntime", joined, threads=1)) as engine:
        batch = frames(32, 64)
        assert (engine.submit(batch).result()["labels"] == tiny_model.expected(inverted(batch, 2))[0]).all()
    odd = write_enhancement(tmp_path / "odd.onnx", factor=2, multiple=24)
    with pytest.raises(ModelError, match="takes frames of 128x64; behind 'invert' both sides must be multiples of 48"):
        enhanced_model(model, str(odd))


def test_it_is_joined_once_and_again_when_either_file_changes(model: Path, tmp_path: Path, cache: Path) -> None:
    enhancement = write_enhancement(tmp_path / "e.onnx")
    first = enhanced_model(model, str(enhancement))
    written = first.stat().st_ino
    assert enhanced_model(model, str(enhancement)) == first
    assert first.stat().st_ino == written
    write_enhancement(enhancement, name="other")
    second = enhanced_model(model, str(enhancement))
    assert second != first
    assert sorted(cache.iterdir()) == sorted([first, second])


def test_the_cache_keeps_the_files_that_were_used_last(model: Path, tmp_path: Path, cache: Path) -> None:
    def joined(number: int) -> Path:
        return enhanced_model(model, str(write_enhancement(tmp_path / "e.onnx", name=f"e{number}")))

    made = [joined(number) for number in range(8)]
    for number, path in enumerate(made):
        os.utime(path, (number, number))
    left = cache / ".killed-while-writing"
    left.touch()
    os.utime(left, (0, 0))
    being_written = cache / ".now"
    being_written.touch()
    assert joined(0) == made[0]  # used again
    made += [joined(8), joined(9)]
    assert sorted(cache.iterdir()) == sorted([being_written, made[0], *made[3:]])


def test_a_model_that_enhances_is_not_enhanced_again(model: Path, tmp_path: Path) -> None:
    enhancement = write_enhancement(tmp_path / "e.onnx")
    with pytest.raises(ModelError, match="gives an enhanced image already"):
        enhanced_model(enhanced_model(model, str(enhancement)), str(enhancement))


def test_what_is_no_enhancement_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no enhancement 'sharpen'. Choose one of denoise, lowlight, superres"):
        read_enhancement("sharpen")
    with pytest.raises(ModelError, match="there is no such file"):
        read_enhancement(str(tmp_path / "missing.onnx"))
    with pytest.raises(ModelError, match=r"gives no 'image'.*found: 'labels', 'confidence'"):
        read_enhancement(str(model))
    for wrong in ({"roadcast.factor": "0"}, {"roadcast.factor": "x"}, {"roadcast.multiple": "-1"}):
        with pytest.raises(ModelError, match="does not say by what it enlarges"):
            read_enhancement(str(write_enhancement(tmp_path / "e.onnx", metadata=wrong)))


def test_a_model_that_reads_its_frame_otherwise_than_by_a_cast_is_refused(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.graph.node.insert(0, helper.make_node("Identity", ["frame"], ["same"]))
    proto.graph.node[1].input[0] = "same"
    model.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="reads 'frame' in a Identity"):
        enhanced_model(model, str(write_enhancement(tmp_path / "e.onnx")))


def test_an_old_model_is_refused(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.opset_import[0].version = 11
    model.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="opset 11; 13 or newer"):
        enhanced_model(model, str(write_enhancement(tmp_path / "e.onnx")))


def test_an_enhancement_with_a_branch_is_refused(model: Path, tmp_path: Path) -> None:
    path = write_enhancement(tmp_path / "e.onnx")
    proto = onnx.load(path)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["values"], ["same"])],
        "branch",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    proto.graph.node.append(helper.make_node("If", ["condition"], ["chosen"], then_branch=branch, else_branch=branch))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="holds a If: branches and loops cannot be joined"):
        enhanced_model(model, str(path))


@pytest.mark.parametrize("engine", ["recorded", "simulated://"])
def test_an_engine_without_a_network_cannot_enhance(engine: str, model: Path) -> None:
    with pytest.raises(ConfigError, match=f"{engine}' runs no network.*leave --enhance out"):
        open_engine(engine, model, enhance="denoise")


def test_a_compiled_engine_cannot_be_enhanced() -> None:
    with pytest.raises(ConfigError, match="is compiled, and nothing can be put before it"):
        open_engine("tensorrt", Path("net.engine"), enhance="denoise")


@pytest.mark.parametrize("shape", [(1, 32, 63, 3), (1, 16, 32, 3), (1, 64, 96, 3), (2, 32, 64, 3), (1, 32, 64)])
def test_an_image_that_is_no_whole_multiple_of_the_frame_is_an_error(shape: tuple[int, ...], model: Path) -> None:
    outputs = {"image": np.zeros(shape, np.uint8), "labels": np.zeros((1, 32, 64), np.uint8)}
    with pytest.raises(EngineError, match="not the same whole multiple of the frame"):
        check_outputs(read_spec(model), (1, 32, 64, 3), outputs)


@pytest.mark.parametrize("name", ENHANCEMENTS)
def test_those_of_the_package_go_before_its_model(name: str) -> None:
    enhancement = read_enhancement(name)
    assert enhancement.name == name
    assert enhancement.factor == (2 if name == "superres" else 1)
    largest = 8_000_000 if name == "lowlight" else 1_000_000  # that one is a whole light U-Net
    assert enhancement.path.stat().st_size < largest
    batch = np.full((1, 64, 96, 3), 90, np.uint8)
    with closing(open_engine("onnxruntime", threads=1, enhance=name)) as engine:
        found = engine.submit(batch).result()
    assert found["image"].shape == (1, 64 * enhancement.factor, 96 * enhancement.factor, 3)
    assert found["labels"].shape == (1, 32 * enhancement.factor, 48 * enhancement.factor)


def test_a_setting_of_the_node() -> None:
    assert NodeConfig(source="x").enhance is None
    assert NodeConfig(source="x", enhance="denoise").enhance == "denoise"
    with pytest.raises(ConfigError, match="enhance must be denoise, lowlight, superres or the path"):
        NodeConfig(source="x", enhance="")


@given(st.lists(st.tuples(st.integers(1, 1000), st.one_of(st.binary(max_size=300), st.integers(0, 2**63)))))
def test_fields_are_read_as_they_were_written(written: list[tuple[int, bytes | int]]) -> None:
    message = b"".join(field(number, value) for number, value in written)
    assert [(n, v if isinstance(v, int) else bytes(v)) for n, v in fields(message)] == written
    assert b"".join(bytes(raw) for _, _, raw in raw_fields(message)) == message


def test_texts_and_numbers_of_a_message() -> None:
    message = field(1, "first") + field(1, "last") + field(2, 300)
    assert text(message, 1) == "last"
    assert text(message, 3) == ""
    assert integer(message, 2) == 300
    assert integer(message, 1) == 0
    assert [bytes(part) for part in messages(message, 1)] == [b"first", b"last"]
