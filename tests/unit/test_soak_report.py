"""What the soak concludes from what it saw: growth, ledgers, and whether a late answer is the node's fault."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = str(Path(__file__).parents[2] / "benchmarks" / "soak")
HOUR_S = 3600.0
METRICS = """\
# TYPE roadcast_frames_captured_total counter
roadcast_frames_captured_total{stream="front"} 12
roadcast_frames_published_total{stream="front"} 8
roadcast_frames_in_flight{stream="front"} 1
roadcast_frames_dropped_total{stream="front",reason="stale"} 2
roadcast_frames_dropped_total{stream="front",reason="decode_error"} 1
"""


@pytest.fixture
def usage(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    import usage

    return usage


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    import answers

    return answers


def test_growth_is_a_slope_by_the_hour(usage: ModuleType) -> None:
    times = [10.0 * k for k in range(300)]
    found = usage.growth(times, [250 + 6 * at / HOUR_S + (0.1 if k % 2 else -0.1) for k, at in enumerate(times)])
    assert found.per_hour == pytest.approx(6, abs=0.1)
    assert found.first == pytest.approx(250, abs=0.1)
    assert 0 < found.error < 0.1
    assert usage.growth([1.0, 2.0], [3.0, 4.0]) is None


def test_open_files_rise_where_the_last_quarter_is_above_the_first(usage: ModuleType) -> None:
    assert usage.rise([40] * 20 + [41] * 20) == 1
    assert usage.rise([40, 55, 40, 40] * 10) == 0, "one look at a bad moment is no growth"
    assert usage.rise([40] * 5) is None


def test_the_ledger_of_the_metrics_is_added_up(usage: ModuleType) -> None:
    assert usage._balanced(METRICS)
    assert not usage._balanced(METRICS.replace("} 8", "} 7"))
    assert not usage._balanced(""), "nothing that could be out of balance is no balance"


@pytest.mark.parametrize(
    ("problems", "waited_s", "judged"), [([], 9.0, True), (["late"], 0.2, True), (["late"], 9.0, False)]
)
def test_a_machine_that_is_too_busy_is_not_the_nodes_fault(
    answers: ModuleType, problems: list[str], waited_s: float, judged: bool
) -> None:
    assert answers.Outcome("freeze camera", "front", 1.0, problems=problems, waited_s=waited_s).judged is judged


def test_a_silence_tells_whether_its_frames_were_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import witness

    began_s = time.monotonic() - 60
    seen = object.__new__(witness.Witness)  # without its thread
    seen.seen = {"front": witness.Seen(), "rear": witness.Seen()}
    for name, times in {"front": (1, 2, 9.5, 10), "rear": (*range(50), 59.9)}.items():
        seen.seen[name].arrivals = [(began_s + at, 7.0 if at == 9.5 else 0.01) for at in times]
    assert seen.longest_silence(began_s + 40, but="front").stream == "rear"
    found = seen.longest_silence(began_s, but="rear")
    assert (found.stream, found.then_s) == ("front", None)  # it is still silent
    assert found.seconds == pytest.approx(50, abs=5)
    seen.seen["front"].arrivals += [(began_s + at, 0.01) for at in range(11, 60)]
    found = seen.longest_silence(began_s, but="rear")
    assert (found.stream, found.then_s) == ("front", 7.0)
    assert "7.5 s, then a frame 7.0 s old" in str(found)


def test_time_that_the_host_gave_to_others_is_that_of_the_worst_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import busy

    looks = iter(
        (
            "cpu  0 0 0 0 0 0 0 30\ncpu0 0 0 0 0 0 0 0 10 0 0\ncpu1 0 0 0 0 0 0 0 20 0 0\nintr 5 1 2 3 4 5 6 7 8\n",
            "cpu  0 0 0 0 0 0 0 700\ncpu0 0 0 0 0 0 0 0 30 0 0\ncpu1 0 0 0 0 0 0 0 670 0 0\nintr 5 1 2 3 4 5 6 7 8\n",
        )
    )
    monkeypatch.setattr(busy.Path, "read_text", lambda _: next(looks))
    monkeypatch.setattr(busy.os, "sysconf", lambda _: 100)
    assert busy.Stolen().since_last_s() == 6.5
