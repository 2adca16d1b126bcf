"""The cache of engines: keys, passports, damage, verification, pruning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_model

from perception.cli.main import main
from perception.engines.open import open_engine
from perception.engines.recorded import RecordedEngine
from perception.engines.tensorrt import cache, passport
from perception.engines.tensorrt.build import Recipe
from perception.engines.tensorrt.compile import Compiled, compile_engine
from perception.engines.tensorrt.library import Library
from perception.engines.tensorrt.open import find_engine
from perception.engines.tensorrt.prune import prune
from perception.engines.tensorrt.shapes import Shapes
from perception.engines.tensorrt.verification import compare_engines, time_engine
from perception.errors import EngineError, EngineUnavailable, ModelError, OutputError

SHAPES = Shapes((1, 1, 1), ((64, 32),) * 3)
RECIPE = Recipe("sm89", SHAPES)
GOOD = passport.Verification(
    frames=8, agreement=0.999, worst_frame=0.99, miou=0.5, reference_miou=0.5, p50_ms=1.0, p99_ms=2.0,
    reference="x.onnx on ONNX Runtime", gpu="some GPU", driver="13.0", date="2026-01-01",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)


@pytest.fixture
def compiled(library: Library, model: Path) -> Compiled:
    return compile_engine(library, model, RECIPE)


def test_a_second_build_takes_what_is_there(library, model, compiled):
    again = compile_engine(library, model, RECIPE)
    assert (compiled.was_cached, again.was_cached) == (False, True)
    assert again.path == compiled.path
    assert again.passport == compiled.passport
    assert sorted(path.name for path in compiled.path.parent.iterdir()) == [
        compiled.path.name,
        compiled.path.with_suffix(".json").name,
    ]
    forced = compile_engine(library, model, RECIPE, force=True)
    assert not forced.was_cached


def test_the_key_changes_with_everything_that_matters(library):
    recipes = [
        RECIPE,
        replace(RECIPE, target="sm75"),
        replace(RECIPE, shapes=Shapes((1, 1, 2), SHAPES.size)),
        replace(RECIPE, tf32=False),
        replace(RECIPE, fused_argmax=False),
        replace(RECIPE, is_current_gpu=True),
    ]
    keys = {cache.cache_key("ab", library, recipe) for recipe in recipes}
    keys |= {cache.cache_key("cd", library, RECIPE), cache.cache_key("ab", replace(library, version="9"), RECIPE)}
    assert len(keys) == len(recipes) + 2


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "longer", "gone"])
def test_a_damaged_engine_is_built_again_and_never_loaded(library, model, compiled, damage):
    plan = compiled.path.read_bytes()
    {
        "truncated": lambda: compiled.path.write_bytes(plan[: len(plan) // 2]),
        "changed": lambda: compiled.path.write_bytes(plan[:99] + bytes([plan[99] ^ 1]) + plan[100:]),
        "empty": lambda: compiled.path.write_bytes(b""),
        "longer": lambda: compiled.path.write_bytes(plan + b"x"),
        "gone": compiled.path.unlink,
    }[damage]()
    with pytest.raises(EngineError, match=f"ompile it again: roadcast engine build {model} --size 64x32 --batch 1"):
        passport.load_checked(compiled.path, compiled.passport)
    if damage != "gone":
        with pytest.raises(EngineError, match="ompile it again: roadcast engine build"):
            open_engine("tensorrt", compiled.path)
    assert not compile_engine(library, model, RECIPE).was_cached
    assert compiled.path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no passport"),
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"format": 2}', "format 2, this version reads 1"),
        (b'{"format": 1}', "is damaged"),
        (b"\xff\xfe", "is damaged"),
    ],
)
def test_a_damaged_passport_is_one_sentence(library, model, compiled, content, message):
    path = passport.passport_path(compiled.path)
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(EngineError, match=message) as caught:
        open_engine("tensorrt", compiled.path)
    assert "roadcast engine build" in str(caught.value)
    assert caught.value.exit_code == 3
    assert not compile_engine(library, model, RECIPE).was_cached


@pytest.mark.parametrize("key", ["backend", "version", "shapes", "sha256", "bytes", "card", "outputs", "verified"])
@pytest.mark.parametrize("value", [None, 7, "words", [], {"a": 1}])
def test_a_passport_with_wrong_values_is_an_error_and_no_crash(compiled, key, value):
    if key == "verified" and value is None:
        return
    path = passport.passport_path(compiled.path)
    found = json.loads(path.read_text())
    found[key] = value
    path.write_text(json.dumps(found))
    with pytest.raises((EngineError, EngineUnavailable)):
        open_engine("tensorrt", compiled.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.6.0.1"}, "compiled by TensorRT for RTX 1.6.0.1, and 1.7"),
        ({"verified": replace(GOOD, agreement=0.5)}, r"agrees with the reference on 50.00% of the pixels, 99% are"),
        ({"verified": replace(GOOD, miou=0.4)}, r"mean IoU is 0.100 below the reference's, 0.01 is allowed"),
    ],
)
def test_a_mismatch_is_one_sentence_with_the_command(compiled, change, message, capsys):
    passport.write_passport(compiled.path, replace(compiled.passport, **change))
    with pytest.raises(EngineError, match=message) as caught:
        open_engine("tensorrt", compiled.path)
    assert "roadcast engine build" in str(caught.value)
    assert main(["engine", "info", str(compiled.path)]) == 1
    assert "roadcast engine build" in capsys.readouterr().out


def test_another_gpu_is_a_mismatch(library, compiled):
    assert compiled.passport.mismatch(library, "sm89") is None
    with pytest.raises(EngineError, match="compiled for sm89, and this GPU is sm90"):
        passport.check_fits(compiled.path, compiled.passport, library, "sm90")
    other = Library("tensorrt", "10.13", None)
    assert "by TensorRT for RTX, and TensorRT is to run it" in (compiled.passport.mismatch(other, None) or "")


def test_a_verification_within_the_limits_is_no_objection():
    assert GOOD.objection() is None
    assert replace(GOOD, miou=None, reference_miou=None).objection() is None
    assert replace(GOOD, miou=0.6).objection() is None


def test_the_newest_engine_of_a_model_is_found(library, model, compiled, tmp_path):
    other = compile_engine(library, model, replace(RECIPE, tf32=False))
    assert find_engine(model) == other.path
    assert find_engine(compiled.path) == compiled.path
    strange = tiny_model.write_model(tmp_path / "strange.onnx")
    with pytest.raises(EngineUnavailable, match=rf"Compile it: roadcast engine build {strange}"):
        find_engine(strange)
    with pytest.raises(ModelError, match="no engine file"):
        find_engine(tmp_path / "none.engine")


def test_the_passport_survives_writing_and_reading(compiled):
    verified = passport.with_verification(compiled.passport, GOOD)
    passport.write_passport(compiled.path, verified)
    assert passport.read_passport(compiled.path) == verified


def test_prune(library, model, compiled):
    assert prune() == []
    second = compile_engine(library, model, replace(RECIPE, tf32=False))
    passport.write_passport(compiled.path, replace(compiled.passport, version="1.0"))
    orphan = compiled.path.with_name("orphan.json")
    orphan.write_text("{}")
    assert {path.name for path, _ in prune(dry_run=True)} == {compiled.path.name, "orphan.json"}
    assert compiled.path.exists()
    prune()
    assert [entry.path for entry in cache.entries()] == [second.path]
    assert not orphan.exists()
    tiny_model.write_model(model, scale=1)
    assert "has changed since" in prune()[0][1]
    assert cache.entries() == []


def test_prune_keeps_the_newest(library, model, compiled):
    newest = compile_engine(library, model, replace(RECIPE, tf32=False))
    assert [path for path, _ in prune(keep=1)] == [compiled.path]
    assert [entry.path for entry in cache.entries()] == [newest.path]
    assert "all were to go" in prune(keep=0)[0][1]


def test_a_cache_that_cannot_be_written_is_one_sentence(library, model, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        compile_engine(library, model, RECIPE)
    assert not [path for path in cache.engines_folder().iterdir() if path.suffix != ".lock"]


# ---- the verification's arithmetic


def _engine(labels: np.ndarray) -> RecordedEngine:
    return RecordedEngine({"labels": labels})


def test_compare_counts_pixels_and_classes():
    right = np.zeros((2, 16, 32), np.uint8)
    right[:, 8:] = 13
    wrong = right.copy()
    wrong[1, :4] = 5  # a quarter of the second frame
    image = np.zeros((32, 64, 3), np.uint8)
    truth = np.repeat(np.repeat(right[0], 2, axis=0), 2, axis=1)
    found = compare_engines(_engine(wrong), _engine(right), [(image, truth), (image, truth)], (64, 32))
    assert (found.frames, found.agreement, found.worst_frame) == (2, 0.875, 0.75)
    assert found.reference_miou == 1.0
    assert found.miou == pytest.approx((0.75 + 1.0) / 2)
    without = compare_engines(_engine(right), _engine(right), [(image, None)], (64, 32))
    assert (without.agreement, without.miou) == (1.0, None)


def test_compare_refuses_maps_of_other_size():
    image = np.zeros((32, 64, 3), np.uint8)
    with pytest.raises(ModelError, match="not of one model"):
        compare_engines(
            _engine(np.zeros((1, 16, 32), np.uint8)),
            _engine(np.zeros((1, 32, 64), np.uint8)),
            [(image, None)],
            (64, 32),
        )
    with pytest.raises(ModelError, match="no frame"):
        compare_engines(_engine(np.zeros((1, 8, 8), np.uint8)), _engine(np.zeros((1, 8, 8), np.uint8)), [], (64, 32))


def test_timing_gives_ordered_quantiles():
    p50, p99 = time_engine(_engine(np.zeros((1, 8, 8), np.uint8)), np.zeros((1, 32, 64, 3), np.uint8), rounds=20)
    assert 0 < p50 <= p99
