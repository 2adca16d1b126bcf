"""What operators are told: figures, health, word to the service manager, and lines of JSON."""

from __future__ import annotations

import io
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from perception.ledger import LedgerEntry
from perception.metrics import Histogram, Quantiles
from perception.operations.board import HUNG_S, Board
from perception.operations.exposition import exposition
from perception.operations.log import PERIOD_S, JsonLog
from perception.operations.notify import Notifier
from perception.summary import LATENCY_BOUNDS_MS, Status, StreamStatus

FRONT = StreamStatus(
    stream="front",
    state="running",
    ledger=LedgerEntry(10, 7, 1, {"stale": 2}),
    fps=29.5,
    latency_up_to=(0, 1, 5, *[6] * (len(LATENCY_BOUNDS_MS) - 3)),
    latency_count=6,
    latency_total_ns=90_000_000,
    absences=3,
    away=None,
)
RUNNING = Status(
    state="running",
    doing="running",
    ledger=FRONT.ledger,
    expected=None,
    fps=29.5,
    latency_ms=Quantiles(12.0, 14.0, 15.0, 16.0),
    subscribers=2,
    computes=True,
    publish="tcp://127.0.0.1:5600",
    engine_reason="ONNX Runtime on 2 cores.",
    streams=(FRONT, replace(FRONT, stream="rear", state="reconnecting", away="It has frozen.")),
    model={"model": 'a "b"\\\n', "precision": "fp32", "engine": "onnxruntime"},
    refused=4,
    refused_because="its key is not in clients",
)
STARTING = replace(
    RUNNING, state="starting", doing="loading the model", streams=(), ledger=LedgerEntry(0, 0, 0, {}), refused=0
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_prometheus_reads_what_the_ledgers_say() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    board = Board()
    board.show(RUNNING)
    families = list(parser.text_string_to_metric_families(exposition(board)))
    found = {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}
    front, name = ("stream", "front"), "roadcast_frames"
    captured = found[f"{name}_captured_total", front]
    dropped = [v for key, v in found.items() if key[0] == f"{name}_dropped_total" and front in key]
    assert (captured, len(dropped)) == (10, 4)
    assert captured == found[f"{name}_published_total", front] + found[f"{name}_in_flight", front] + sum(dropped)
    assert found["roadcast_stream_state", ("state", "reconnecting"), ("stream", "rear")] == 1
    assert found["roadcast_stream_state", ("state", "running"), ("stream", "rear")] == 0
    assert found["roadcast_camera_away", ("stream", "rear")] == 1
    assert found["roadcast_latency_seconds_bucket", ("le", "0.02"), front] == 5
    assert found["roadcast_latency_seconds_bucket", ("le", "+Inf"), front] == 6
    assert found["roadcast_latency_seconds_sum", front] == pytest.approx(0.09)
    assert found["roadcast_clients_refused_total",] == 4
    assert found["process_resident_memory_bytes",] > 1e6
    assert [f.samples[0].labels["model"] for f in families if f.name == "roadcast_info"] == ['a "b"\\\n']


def test_there_are_figures_before_there_is_a_node() -> None:
    text = exposition(Board())
    assert "roadcast_ready 0\n" in text
    assert "roadcast_subscribers 0\n" in text


def test_durations_are_counted_up_to_bounds() -> None:
    durations = Histogram()
    for milliseconds in (1, 3, 30, 400):
        durations.add(milliseconds * 1_000_000)
    assert durations.up_to((2, 10, 100, 1000)) == (1, 2, 3, 4)
    assert durations.total_ns == 434_000_000


def test_a_node_is_alive_while_frames_get_out_or_none_is_under_way(clock: Clock) -> None:
    board = Board(clock)
    for status in (STARTING, RUNNING):
        board.show(status)
        assert board.alive
        clock.now += HUNG_S - 1
    for _ in range(3):  # it goes round, but the frame under way does not get out
        board.show(RUNNING)
        clock.now += 1
    assert not board.alive
    board.show(replace(RUNNING, ledger=LedgerEntry(11, 8, 1, {"stale": 2})))
    assert board.alive
    idle = replace(RUNNING, ledger=LedgerEntry(11, 9, 0, {"stale": 2}))  # a camera that is away
    for _ in range(3):
        clock.now += HUNG_S - 1
        board.show(idle)
        assert board.alive
    clock.now += HUNG_S  # and if nobody goes round at all
    assert not board.alive


def test_a_node_is_ready_from_its_warm_up_to_its_end() -> None:
    board = Board()
    assert not board.ready
    for status, ready in ((STARTING, False), (RUNNING, True), (replace(RUNNING, state="ended"), False)):
        board.show(status)
        assert board.ready == ready


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path):
    """What systemd would listen at, and the address it would give."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@roadcast-test-{tmp_path.name}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.setblocking(False)
        yield listener, address


def told(listener: socket.socket) -> list[str]:
    lines: list[str] = []
    while True:
        try:
            lines += listener.recv(4096).decode().split("\n")
        except BlockingIOError:
            return lines


def test_the_service_manager_is_told(manager: tuple[socket.socket, str], clock: Clock) -> None:
    listener, address = manager
    board = Board(clock)
    notifier = Notifier(board, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000"}, clock)

    def show(status: Status) -> list[str]:
        board.show(status)
        notifier.show(status)
        return told(listener)

    assert show(STARTING) == ["STATUS=loading the model ...", "EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1"]
    first = show(RUNNING)
    assert first[0] == "READY=1"
    assert first[1].startswith("STATUS= 29.5 fps")
    clock.now += 3.9
    assert show(RUNNING) == []
    clock.now += 0.1
    assert show(RUNNING) == ["WATCHDOG=1"]
    clock.now += HUNG_S
    assert not [line for line in show(RUNNING) if line.startswith(("WATCHDOG", "READY"))]  # the engine hangs
    notifier.close()
    notifier.close()
    assert told(listener) == ["STOPPING=1"]


@pytest.mark.parametrize(
    "environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}]
)
def test_nobody_to_tell_is_no_error(environment: dict[str, str]) -> None:
    board = Board()
    board.show(RUNNING)
    notifier = Notifier(board, environment)
    notifier.show(RUNNING)
    notifier.close()


def test_the_log_says_what_is_new_and_hides_credentials(clock: Clock) -> None:
    out = io.StringIO()
    log = JsonLog(out, clock)
    away = replace(RUNNING, away={"rear": "rtsp://user:s3cr3t@host/ is gone."})
    for status in (STARTING, RUNNING, RUNNING, away, away, RUNNING):
        log.show(status)
    clock.now += PERIOD_S
    log.show(RUNNING)
    log.say("error", level="error", message='quoted "rtsp://user:s3cr3t@host/"')
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        *("status", "ready", "refused", "status"),
        *("reconnecting", "recovered", "status", "error"),
    ]
    assert {line["level"] for line in lines} == {"info", "warning", "error"}
    assert lines[3]["streams"]["front"]["captured"] == 10
    assert "s3cr3t" not in out.getvalue()
    assert all(line["time"].endswith("Z") for line in lines)
