"""From received frames to figures, from rounds to medians and ratios, and the table of them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.bench import rounds as bench_rounds
from perception.bench.contestants import measure
from perception.bench.figures import engine_use, infer_times, node_figures, stages
from perception.bench.result import look_up, medians, to_text
from perception.bench.rounds import Plan, ratios, run_rounds, without_settings
from perception.bench.table import table
from perception.bench.task import Task, in_child
from perception.config import NodeConfig
from perception.errors import RequestError, SourceError
from perception.measure import Run

MS = 1_000_000


def scene(number: int, captured_ms: float, received_ms: float, **spent_us: float) -> Any:
    """As much of a received scene as figures are made of."""
    return SimpleNamespace(
        number=number,
        received_mono_ns=round(received_ms * MS),
        header=SimpleNamespace(time=SimpleNamespace(captured_mono_ns=round(captured_ms * MS))),
        info=SimpleNamespace(latency_us=spent_us),
    )


def a_run() -> Run:
    """Frames due every 10 ms; 0 starts slowly, 2 was dropped, all others take 5 ms to arrive."""
    run = Run(started_ns=500 * MS, lost=1)
    for number in (0, 1, 3, 4, 5):
        late = 40.0 if number == 0 else 5.0
        run.scenes.append(
            scene(number, 1000 + 10 * number, 1000 + 10 * number + late, decode=1000, infer=2000, send=10)
        )
        run.latency_ms.append(late)
    run.node = {
        "frames": {"captured": 6, "published": 5, "in_flight": 0, "dropped": {"stale": 1}},
        "process": {
            "core_ms_per_frame": 3.5,
            "busy": 0.4,
            "resident_at_start_mb": 80.0,
            "resident_mb": 90.0,
            "peak_mb": 95.0,
        },
    }
    return run


def test_the_first_frame_and_the_warm_up_stand_apart() -> None:
    found = node_figures(a_run(), warm_up=1)
    assert found["first_frame_ms"] == 40.0
    assert found["ready_s"] == pytest.approx(0.5)
    assert found["latency_ms"] == {"p50": 5.0, "p95": 5.0, "p99": 5.0, "max": 5.0}
    assert found["fps"] == pytest.approx(3 / 0.04)  # frames 1 to 5, of which one is missing, in 40 ms
    assert found["undelivered"] == pytest.approx(1 / 6)
    assert (found["dropped"], found["lost_messages"]) == ({"stale": 1}, 1)
    assert found["memory_mb"] == {"start": 80.0, "end": 90.0, "peak": 95.0}
    assert list(found["stages_ms"]) == ["decode", "infer", "send"]
    assert found["stages_ms"]["infer"]["p99"] == 2.0
    assert found["engine"] == {"busy": pytest.approx(8 / 42), "runs_at_a_time": pytest.approx(8 / 42)}


def test_stages_that_a_frame_skipped_took_it_no_time() -> None:
    found = stages([{"decode": 1000, "send": 10}, {"wait_source": 500, "decode": 1000, "send": 10}])
    assert list(found) == ["wait_source", "decode", "send"]
    assert found["wait_source"]["max"] == 0.5
    assert found["wait_source"]["p50"] == 0.25


def test_when_the_network_ran_follows_from_what_came_before_it() -> None:
    assert infer_times(scene(1, 10, 20, decode=1000, wait_infer=500, infer=3000)) == (11_500_000, 14_500_000)
    assert infer_times(scene(1, 10, 20, decode=1000)) is None


def test_the_busy_share_counts_overlapping_runs_once() -> None:
    assert engine_use([(0, 10), (5, 15), None, (30, 40)]) == {"busy": 25 / 40, "runs_at_a_time": 30 / 40}
    assert engine_use([None]) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 50)), min_size=1, max_size=30))
def test_no_engine_is_busier_than_always(runs: list[tuple[int, int]]) -> None:
    spans = [(start, start + length) for start, length in runs]
    use = engine_use(spans)
    covered = len({tick for start, end in spans for tick in range(start, end)})
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    assert use is not None
    assert use["busy"] == pytest.approx(covered / whole)
    assert 0 < use["busy"] <= min(1, use["runs_at_a_time"] + 1e-9)


def test_medians_keep_the_shape_and_skip_what_was_not_told() -> None:
    rounds = [{"a": {"x": 1.0}, "b": None}, {"a": {"x": 5.0}, "b": 2}, {"a": {"x": 2.0}, "b": None, "c": 3}]
    assert medians(rounds) == {"a": {"x": 2.0}, "b": 2, "c": 3}
    assert medians([{"b": None}]) == {"b": None}


def test_figures_are_found_by_path() -> None:
    assert look_up({"node": {"latency_ms": {"p99": 3}}}, "node.latency_ms.p99") == 3.0
    assert look_up({"node": {"latency_ms": None}}, "node.latency_ms.p99") is None
    assert look_up({"node": {}}, "node") is None


def test_results_hold_no_numbers_that_json_does_not_know() -> None:
    assert json.loads(to_text({"a": 1 / 3, "b": [(1, 2)]})) == {"a": 0.333333, "b": [[1, 2]]}
    with pytest.raises(ValueError, match="Out of range"):
        to_text({"a": math.nan})


def test_ratios_are_those_of_one_round() -> None:
    found = {
        "node": {"fps": 50.0, "core_ms": 20.0},
        "bare engine": {"fps": 100.0, "core_ms": 15.0},
        "bare decoding": {"fps": 400.0, "core_ms": 3.0},
        "serial loop": {"fps": 0.0, "core_ms": 30.0},
    }
    told = ratios(found)
    assert told["node_to_bare_engine_fps"] == 0.5
    assert told["node_to_serial_loop_fps"] is None
    assert told["beyond_decoding_and_inference_core_ms"] is None
    assert ratios({**found, "node without network": {"core_ms": 6.5}})["beyond_decoding_and_inference_core_ms"] == 3.5


def task(**settings: Any) -> Task:
    return Task(NodeConfig(source="clip.mp4", pace="max", **settings), frames=30, warm_up=10)


def test_a_task_survives_the_command_line() -> None:
    given = task(engine="onnxruntime", model="m.onnx", size=(640, 352), threads=2)
    again = Task.from_word(given.to_word())
    assert again == given
    assert again.flags() == {
        "engine": "onnxruntime", "model": "m.onnx", "device": "auto", "threads": "2", "size": "640x352"
    }  # fmt: skip
    assert (again.mode, again.needed) == ("throughput", 40)
    assert task(size=147456).flags()["size"] == "147456"


def test_every_round_begins_with_another_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def contest(name: str, plan: Plan, show: Any) -> dict[str, Any]:  # noqa: ARG001
        order.append(name)
        return {"fps": 10.0, "core_ms": 1.0}

    monkeypatch.setattr(bench_rounds, "_contest", contest)
    shown: list[str] = []
    found = run_rounds(Plan(task(), 5, Path("answers.npz"), (64, 32)), lambda text, key: shown.append(text))  # noqa: ARG005
    names = ["bare decoding", "bare engine", "serial loop", "node", "node without network"]
    assert [order[at : at + 5] for at in range(0, 25, 5)] == [names[k:] + names[:k] for k in range(5)]
    assert all(list(figures)[:5] == names for figures in found)
    assert shown[0] == "round 1 of 5: bare decoding"
    assert "left: bare engine" in shown[5]


def test_settings_of_a_node_reach_children_only_in_their_task() -> None:
    kept = {"PATH": "/bin", "ROADCAST_CACHE": "/c", "OMP_NUM_THREADS": "1"}
    assert without_settings({**kept, "ROADCAST_FRAMES": "3", "ROADCAST_CONFIG": "n.toml", "ROADCAST_RATE": "9"}) == kept


def test_a_contestant_that_runs_out_of_frames_says_so() -> None:
    with pytest.raises(SourceError, match="only 5 of 30 frames"):
        measure(iter([None] * 15), task(), 0)
    found = measure(iter([None] * 40), task(), 0)
    assert set(found) == {"fps", "core_ms", "cores_busy", "ready_s", "first_frame_ms", "memory_mb"}


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(SourceError, match="No module named no_such_module"):
        in_child("no_such_module", environment={})
    with pytest.raises(RequestError, match="There is no engine 'warp'"):
        in_child(
            "perception.bench.contestants",
            "bare engine",
            task(engine="warp").to_word(),
            "0",
            environment=without_settings(os.environ),
        )


def test_the_table_tells_what_was_measured() -> None:
    bare = {"fps": 300.0, "core_ms": 3.0, "cores_busy": 0.5, "ready_s": 0.2, "first_frame_ms": 4.0}
    found = {
        "bare decoding": bare | {"memory_mb": {"start": None, "end": None, "peak": None}},
        "node": node_figures(a_run(), warm_up=1),
        "ratios": {"node_to_bare_decoding_fps": 0.25, "node_to_bare_engine_fps": None},
        "others_busy": 0.0,
    }
    text = table(
        {
            "machine": {"processor": "Some CPU", "cores": 2, "memory_gib": 23.5, "features": ["avx2"]},
            "clip": {"source": "drive.mp4", "size": [1280, 720]},
            "settings": {
                "rate": 60.0,
                "frames": 300,
                "rounds": 3,
                "engine_reason": "Some engine.",
                "network_size": [576, 320],
                "model": {"id": "net", "sha256": "0123456789abcdef"},
            },
            "load": {"warnings": ["Other programs took 40% of the cores."]},
            "rounds": [found, {**found, "node": {**found["node"], "fps": 70.0}}],
            "medians": medians([found, found]),
        }
    )
    for told in (
        "60 frames a second due, late or not (open loop); 300 frames counted in each of 3 rounds",
        "Some engine. Network 576x320.",
        "70.0..75.0",
        f"capture to subscriber {4 * '     5.00'}",
        "0.25 of bare decoding's",
        "6 captured, 5 published, 5 received; dropped 1 stale; 1 messages lost on the way",
        "MB at the start 80.0, the end 90.0, peak 95.0",
        "warning: Other programs took 40% of the cores.",
    ):
        assert told in text, told
    assert max(map(len, text.splitlines())) <= 120
