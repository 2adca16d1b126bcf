"""Comparing results: what may be compared, verdicts in both directions, and how often there is a false alarm."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.bench.compare import FIGURES, Figure, compare
from perception.bench.comparison_table import comparison_table
from perception.bench.result import SCHEMA, VERSION, look_up, medians, read, write
from perception.cli.main import main
from perception.errors import RequestError

TYPICAL = {
    "node": {
        "fps": 80.0,
        "latency_ms": {"p50": 60.0, "p95": 75.0, "p99": 95.0, "max": 112.0},
        "core_ms": 23.7,
        "first_frame_ms": 47.0,
        "ready_s": 1.3,
        "memory_mb": {"end": 290.0, "peak": 300.0},
        "undelivered": 0.0,
    },
    "bare engine": {"fps": 117.0},
    "bare decoding": {"fps": 313.0},
    "serial loop": {"fps": 81.0},
}


def scaled(figures: Any, draw: Any) -> Any:
    """Every figure times a factor of its own."""
    return (
        {key: scaled(value, draw) for key, value in figures.items()} if isinstance(figures, dict) else figures * draw()
    )


def result(
    seed: int, *, noise: float = 0.01, rounds: int = 5, changed: dict[str, float] | None = None
) -> dict[str, Any]:
    """A made-up result whose every figure varies from round to round; ``changed`` multiplies some by path."""
    random = np.random.default_rng(seed)
    found = [scaled(TYPICAL, lambda: float(np.exp(noise * random.normal()))) for _ in range(rounds)]
    for path, factor in (changed or {}).items():
        *parents, last = path.split(".")
        for figures in found:
            for key in parents:
                figures = figures[key]
            figures[last] *= factor
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "machine": {"processor": "Some CPU", "cores": 2, "features": ["avx2"], "memory_gib": 23.5, "gpus": []},
        "software": {"python": "3.11.7", "packages": {"openvino": "1", "numpy": "2"}, "commit": "abc"},
        "load": {"warnings": []},
        "clip": {"sha256": "00"},
        "settings": {"rate": None, "frames": 300, "engine": "openvino", "model": {"id": "m", "sha256": "11"}},
        "rounds": found,
        "medians": medians(found),
    }


def regressed(before: dict[str, Any], after: dict[str, Any], **options: Any) -> set[str]:
    found = compare(before, after, **{"min_effect": 0.05, "force": False, **options})
    return {change.figure.path for change in found.regressions}


def test_a_slower_node_is_a_regression_and_a_faster_one_is_not() -> None:
    slower = {"node.fps": 0.9, "node.latency_ms.p99": 1.2, "node.core_ms": 1.15}
    before, after = result(1), result(2, changed=slower)
    assert regressed(before, after) == set(slower)
    assert regressed(after, before) == set()
    verdicts = {c.figure.path: c.verdict for c in compare(after, before, min_effect=0.05, force=False).changes}
    assert {verdicts[path] for path in slower} == {"better"}
    assert verdicts["node.ready_s"] == "no difference"


def test_what_is_worse_by_less_than_the_minimal_effect_is_no_regression() -> None:
    before, after = result(1, noise=0.001), result(2, noise=0.001, changed={"node.fps": 0.97})
    found = compare(before, after, min_effect=0.05, force=False)
    assert next(c.verdict for c in found.changes if c.figure.path == "node.fps") == "worse"
    assert regressed(before, after) == set()
    assert regressed(before, after, min_effect=0.02) == {"node.fps"}


def test_what_lies_within_noise_is_no_regression_however_large() -> None:
    before, after = result(1, noise=0.4), result(2, noise=0.4, changed={"node.fps": 0.8})
    assert regressed(before, after) == set()


def test_frames_that_are_not_delivered_are_compared_as_shares() -> None:
    before, after = result(1), result(2)
    for position, figures in enumerate(after["rounds"]):
        figures["node"]["undelivered"] = 0.03 + 0.001 * position
    assert regressed(before, after) == {"node.undelivered"}
    for figures in after["rounds"]:
        figures["node"]["undelivered"] = 0.005
    assert regressed(before, after) == set()  # below MIN_SHARE


def test_controls_are_not_judged_but_told() -> None:
    found = compare(result(1), result(2, changed={"bare decoding.fps": 0.75}), min_effect=0.05, force=False)
    assert not found.regressions
    assert any(warning.startswith("bare decoding, fps changed by -2") for warning in found.warnings)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1e4), min_size=3, max_size=8), st.integers(0, 2**32))
def test_equal_results_never_regress(fps: list[float], seed: int) -> None:
    same = result(seed, rounds=len(fps), noise=0.3)
    for figures, value in zip(same["rounds"], fps):
        figures["node"]["fps"] = value
        figures["node"]["undelivered"] = min(1.0, value / 1e4)
    assert regressed(same, copy.deepcopy(same), min_effect=0.0) == set()


@pytest.mark.parametrize("rounds", [3, 5])
def test_false_alarms_are_rare_over_all_figures_together(rounds: int) -> None:
    """Equal nodes, ten judged figures, independent noise, no minimal effect: at most 1 in 40 gets worse; 300 tried."""
    alarms = sum(
        bool(regressed(result(2 * k, rounds=rounds), result(2 * k + 1, rounds=rounds), min_effect=0.0))
        for k in range(300)
    )
    assert alarms <= 300 * 0.025 + 3 * (300 * 0.025 * 0.975) ** 0.5


def test_a_real_change_is_found() -> None:
    """One of 10 % in noise of 1.5 %, five rounds: in at least 19 of 20 comparisons."""
    found = [
        "node.fps" in regressed(result(2 * k, noise=0.015), result(2 * k + 1, noise=0.015, changed={"node.fps": 0.9}))
        for k in range(100)
    ]
    assert sum(found) >= 95


@pytest.mark.parametrize(
    ("part", "key", "value", "told"),
    [
        ("machine", "processor", "Another CPU", "another processor (Some CPU and Another CPU)"),
        ("machine", "features", ["avx2", "amx_bf16"], "other processor features (avx2 and avx2 amx_bf16)"),
        ("clip", "sha256", "ff", "another clip"),
        ("settings", "rate", 60.0, "another arrival rate (none and 60.0)"),
        ("settings", "frames", 90, "another number of frames"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_forced(part: str, key: str, value: object, told: str) -> None:
    before, after = result(1), result(2)
    after[part][key] = value
    with pytest.raises(RequestError, match=r"cannot be compared.*--force") as raised:
        regressed(before, after)
    assert told in str(raised.value)
    found = compare(before, after, min_effect=0.05, force=True)
    assert found.warnings[0].startswith(f"compared although there is {told}")


def test_another_schema_is_refused() -> None:
    with pytest.raises(RequestError, match=r"B has version 2 of the schema, this roadcast compares 1"):
        regressed(result(1), result(2) | {"version": 2})


def test_what_else_differs_is_told() -> None:
    before, after = result(1), result(2)
    after["settings"]["engine"] = "onnxruntime"
    after["software"]["packages"] = {"openvino": "2", "numpy": "2"}
    found = compare(before, after, min_effect=0.05, force=False)
    assert found.differences == ["openvino: 1 -> 2", "engine: openvino -> onnxruntime"]


def test_too_few_rounds_tell_no_noise() -> None:
    with pytest.raises(RequestError, match=r"A has 2 rounds, B 5.*--rounds 3"):
        regressed(result(1, rounds=2), result(2))


def test_figures_that_one_does_not_tell_are_named() -> None:
    before, after = result(1), result(2)
    for figures in after["rounds"]:
        del figures["node"]["memory_mb"]
    found = compare(before, after, min_effect=0.05, force=False)
    assert list(found.missing) == ["memory at the end, MB", "memory at most, MB"]
    assert "not told by both: memory at the end, MB" in comparison_table(found, ("a", "b"))


def test_every_figure_is_one_that_a_result_has() -> None:
    assert all(look_up(TYPICAL, figure.path) is not None for figure in FIGURES)
    assert Figure("largest latency", "node.latency_ms.max") not in FIGURES


def test_the_command_tells_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write(a, result(1))
    write(b, result(2, changed={"node.fps": 0.8}))
    assert main(["bench", "compare", str(a), str(b)]) == 1
    told = capsys.readouterr().out
    assert "frames a second" in told
    assert "worse, a REGRESSION" in told
    assert told.endswith("worse beyond noise and by 5 % or more: frames a second\n")
    assert main(["bench", "compare", str(b), str(a)]) == 0
    assert main(["bench", "compare", str(a), str(b), "--min-effect", "50"]) == 0
    capsys.readouterr()
    assert main(["bench", "compare", str(a), str(b), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["regressions"] == ["node.fps"]
    change = found["figures"][0]
    assert (change["figure"]["path"], change["verdict"]) == ("node.fps", "worse")
    assert change["interval"]["low"] < -0.2 < change["interval"]["high"]


def test_what_is_no_result_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / "good.json"
    write(good, result(1))
    wrong = {
        "text.json": ("not json", 2, "is not JSON"),
        "other.json": ('{"schema": "else"}', 2, "is no result of 'roadcast bench'"),
        "list.json": ("[1]", 2, "is no result of 'roadcast bench'"),
        "part.json": (json.dumps({"schema": SCHEMA}), 2, "lacks 'machine'"),
        "binary.json": (b"\x89PNG\xff\xfe", 2, "is not JSON"),
        "endless.json": ('{"schema": 1' + "1" * 5000 + "}", 2, "is not JSON"),
    }
    for name, (content, code, told) in wrong.items():
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert main(["bench", "compare", str(good), str(path)]) == code, name
        assert told in capsys.readouterr().err
    assert main(["bench", "compare", str(good), str(tmp_path / "none.json")]) == 2
    assert main(["bench", "compare", str(good), str(good), "--min-effect", "-1"]) == 2
    assert main(["bench", "compare", str(good)]) == 2
    assert main(["bench", "compare", str(good), str(tmp_path)]) == 2  # a folder


def test_a_result_that_cannot_be_read_raises(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        read(tmp_path)
