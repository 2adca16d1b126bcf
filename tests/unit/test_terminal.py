"""What a node shows while it runs, on terminals and in files, and when it has ended."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from perception.ledger import LedgerEntry
from perception.metrics import Quantiles
from perception.summary import Status, StreamSummary, Summary
from perception.terminal import NodeScreen, StatusLine, status_text, summary_text

STATUS = Status(
    state="running",
    doing="running",
    ledger=LedgerEntry(captured=12, published=10, in_flight=1, dropped={"stale": 1}),
    expected=100,
    fps=31.25,
    latency_ms=Quantiles(45.0, 60.0, 70.0, 80.0),
    subscribers=2,
    computes=True,
    publish="tcp://127.0.0.1:5600",
    engine_reason="ONNX Runtime on the CPU.",
)
SUMMARY = Summary(
    state="failed",
    reason="source_error",
    error="promised 40 frames, 38 could be read",
    exit_code=3,
    source="drive.mp4",
    live=False,
    source_size=(1280, 720),
    promised=40,
    frames=LedgerEntry(40, 38, 0, {"decode_error": 2}),
    computed=38,
    fps=31.0,
    latency_ms=Quantiles(45.0004, 60.0, 70.0, 80.0),
    first_frame_ms=112.5,
    stages_ms={"decode": Quantiles(4.0, 5.0, 6.0, 7.0), "infer": Quantiles(28.0, 30.0, 31.0, 32.0)},
    stream="front",
    publish="tcp://127.0.0.1:5600",
    policy="wait",
    subscribers=1,
    engine="onnxruntime",
    engine_reason="ONNX Runtime on the CPU.",
    slots=3,
    model={"id": "default", "sha256": "0" * 16, "precision": "fp32"},
    network_size=(512, 288),
    process={"seconds": 2.0, "cpu_s": 3.6, "core_ms_per_frame": 94.7, "busy": 0.9, "cores": 2, "resident_mb": 210.0},
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_living_line_tells_rate_latency_drops_and_subscribers() -> None:
    text = status_text(STATUS)
    for part in ("31.2 fps", "p50 45.0 ms", "p99 70.0 ms", "10/100", "dropped 1 (1 stale)", "subscribers 2"):
        assert part in text
    assert "\n" not in text


def test_it_says_when_nothing_is_computed_and_what_is_waited_for() -> None:
    assert "the engine rests" in status_text(replace(STATUS, computes=False))
    assert status_text(replace(STATUS, state="starting", doing="loading the model")) == "loading the model ..."


def test_a_terminal_gets_one_line_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    line = StatusLine(terminal)
    line.show("a" * 50, key="a")
    line.show("not yet: too soon after the last one", key="a")
    line.show("another thing", key="b")
    assert terminal.getvalue() == "\r\x1b[K" + "a" * 19 + "\r\x1b[Kanother thing"
    line.note("stays")
    assert terminal.getvalue().endswith("another thing\r\x1b[Kstays\n")
    line.clear()
    assert terminal.getvalue().endswith("stays\n")


def test_a_file_gets_whole_lines_now_and_then() -> None:
    file = io.StringIO()
    line = StatusLine(file)
    for _ in range(100):
        line.show("running")
    line.clear()
    assert file.getvalue() == "running\n"


def test_the_engine_is_introduced_once() -> None:
    file = io.StringIO()
    screen = NodeScreen(StatusLine(file))
    screen.show(replace(STATUS, state="starting", doing="loading the model", engine_reason=""))
    screen.show(STATUS)
    screen.show(STATUS)
    assert file.getvalue().splitlines() == [
        "loading the model ...",
        "ONNX Runtime on the CPU. Publishing at tcp://127.0.0.1:5600.",
        status_text(STATUS),
    ]


def test_the_summary_tells_everything_that_was_measured() -> None:
    text = summary_text(SUMMARY)
    for part in (
        "the source failed after 2.0 s",
        "38 of 40 promised frames read",
        "published 38, dropped 2 (2 decode_error)",
        "31.0 fps",
        "p95 60.0 ms",
        "max 80.0 ms",
        "first frame 112.5 ms",
        "infer 28.0 ms (medians, which need not add up)",
        "ONNX Runtime on the CPU. 512x288, 3 slots",
        "policy wait, 1 subscriber at",
        "90 % of 2 cores busy, 94.7 core-ms a frame, 210 MB resident",
    ):
        assert part in text
    assert "stuck" not in text
    assert "38 frames read" in summary_text(replace(SUMMARY, reason="frame_limit")), "as many as were asked for"
    assert "stuck  decode did not end in time" in summary_text(replace(SUMMARY, threads_left=("decode",)))


def test_a_run_without_frames_has_a_summary_too() -> None:
    empty = replace(
        SUMMARY,
        source_size=None,
        promised=None,
        frames=LedgerEntry(0, 0, 0, {}),
        fps=None,
        latency_ms=Quantiles(),
        first_frame_ms=None,
        stages_ms={},
        network_size=None,
        process={
            "seconds": 0.1,
            "cpu_s": 0.1,
            "core_ms_per_frame": None,
            "busy": None,
            "cores": 2,
            "resident_mb": None,
        },
    )
    assert "size unknown" in summary_text(empty)
    assert json.loads(json.dumps(empty.to_json(), allow_nan=False))["fps"] is None


def test_the_json_summary_is_plain_and_rounded() -> None:
    found = json.loads(json.dumps(SUMMARY.to_json(), allow_nan=False))
    assert found["frames"] == {"captured": 40, "published": 38, "in_flight": 0, "dropped": {"decode_error": 2}}
    assert found["latency_ms"]["p50"] == 45.0
    assert found["stages_ms"]["infer"]["max"] == 32.0
    assert found["source_size"] == [1280, 720]


def test_a_camera_that_goes_and_comes_back_is_told_once() -> None:
    stream = io.StringIO()
    screen = NodeScreen(StatusLine(stream))
    gone = replace(STATUS, away={"rear": "'rtsp://x' has frozen: connected, but no frame for 5 s."})
    for status in (STATUS, gone, gone, STATUS, STATUS):
        screen.show(status)
    said = stream.getvalue()
    assert said.count("rear: 'rtsp://x' has frozen: connected, but no frame for 5 s. Trying again.") == 1
    assert said.count("rear: the camera is back.") == 1
    assert said.index("Trying again") < said.index("is back")
    assert "away: rear" in status_text(gone)
    assert status_text(replace(gone, state="reconnecting")) == "waiting for rear to come back ..."


def test_the_summary_has_a_line_for_each_of_several_cameras() -> None:
    one = StreamSummary(
        stream="front",
        source="rtsp://***@x/live",
        live=True,
        source_size=(1280, 720),
        promised=None,
        frames=LedgerEntry(12, 10, 0, {"stale": 2}),
        fps=29.96,
        latency_ms=Quantiles(45.0, 60.0, 70.0, 80.0),
        age_ms=Quantiles(5.25, 8.0, 9.0, 10.0),
        absences=3,
        reason="interrupted",
        error=None,
    )
    two = replace(one, stream="rear", absences=0, error="'rear.mp4' is truncated.")
    lines = summary_text(replace(SUMMARY, stream="front, rear", streams=(one, two))).splitlines()
    assert lines[1].split(maxsplit=1) == ["source", "2 cameras: 38 of 40 promised frames read"]
    assert lines[2].split(maxsplit=1) == [
        "front",
        "rtsp://***@x/live, 1280x720, 10 frames, 30.0 fps, dropped 2 (2 stale), age when used p50 5.2 ms p99 9.0 ms, "
        "came back 3 times",
    ]
    assert lines[3].endswith("'rear.mp4' is truncated.")
    assert "came back" not in lines[3]
    unused = replace(two, age_ms=Quantiles())
    assert "age when used" not in summary_text(replace(SUMMARY, streams=(one, unused))).splitlines()[3]
    assert "5600 as front/, rear/, policy wait" in lines[-2]
    assert "age when used" not in summary_text(replace(SUMMARY, streams=(two,)))
