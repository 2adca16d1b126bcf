"""``roadcast bench --batch``: one network on one engine, its operations and the floor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perception.bench.floor import count_macs, floor_ms, known_peak
from perception.cli.main import main
from perception.engines.open import DEFAULT_MODEL


def bench(*words: str) -> int:
    return main(["bench", *words])


def test_operations_are_those_that_onnx_counts() -> None:
    # By ONNX's shape inference over the same graph; a model without a fixed size is counted on few pixels.
    assert count_macs(DEFAULT_MODEL, (1024, 512)) == pytest.approx(
        19.93e9 / 2, rel=1e-3
    )  # 18.23 without the head for objects


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    assert floor_ms(1e9, 0, (100, 100), 4, (1.0, 1e6)) == pytest.approx(8.0)  # 8 GFLOP at 1 TFLOP/s
    assert floor_ms(0, 1e9 - 200_000, (100, 100), 4, (1.0, 1.0)) == pytest.approx(1000.0)
    assert floor_ms(1e9, 1e9, (100, 100), 1, (0.0, 0.0)) is None
    assert known_peak("NVIDIA H100 80GB HBM3, 570.1") == (989.0, 3350.0)
    assert known_peak("") == (0.0, 0.0)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_both_figures_of_every_batch_are_written(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(engine)
    out = tmp_path / "networks.json"
    words = ("--engine", engine, "--size", "128x64,64x64", "--batch", "1,2", "--seconds", "0.05", "--peak", "1,20")
    assert bench(*words, "--out", str(out)) == 0
    result = json.loads(out.read_text())
    assert [(row["size"], row["batch"]) for row in result["rows"]] == [
        ("128x64", 1),
        ("128x64", 2),
        ("64x64", 1),
        ("64x64", 2),
    ]
    for row in result["rows"]:
        assert min(row["engine_ms"], row["end_to_end_fps"], row["p50_ms"]) > 0
        assert row["p99_ms"] >= row["p50_ms"]
        assert row["fraction_of_floor"] == pytest.approx(row["floor_ms"] / row["engine_ms"], rel=1e-2)
    assert result["machine"]["cores"] > 0
    assert "end_to_end_fps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch", "0"), "--batch takes whole numbers"),
        (("--batch", "1", "--size", "100x64"), "multiples of 32"),
        (("--batch", "1", "--size", "20000"), "--size takes WxH"),
        (("--batch", "1", "--rate", "30"), "leave --rate out"),
        (("--batch", "1", "--engine", "recorded"), "measures a network with"),
        (("--batch", "1", "--peak", "1"), "--peak takes"),
        (("--peak", "1,1"), "goes with --batch"),
        (("--seconds", "9"), "goes with --batch"),
    ],
)
def test_what_cannot_be_measured_is_said(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*words) == 2
    assert said in capsys.readouterr().err
