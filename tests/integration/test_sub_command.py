"""``roadcast sub`` against a publisher in another thread."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from scenes import SPEC, make_scene

from perception.cli.main import main
from perception.ledger import Ledger
from perception.publisher import Publisher, StreamInfo
from perception.types import Digest

PATIENCE = 20.0


def watch(arguments, capsys, scenes, *, spoil=None) -> tuple[int, str, str]:
    """Run ``roadcast sub`` against a node that publishes these scenes; (exit code, stdout, stderr)."""
    ledger = Ledger()
    streams = [StreamInfo(ledger=ledger)]
    publisher = Publisher("tcp://127.0.0.1:*", streams, spec=SPEC, engine="recorded", policy="wait")
    codes: list[int] = []
    command = ["sub", publisher.endpoint, "--timeout", str(PATIENCE), *arguments]
    thread = threading.Thread(target=lambda: codes.append(main(command)))
    thread.start()
    with publisher:
        publisher.wait_for_subscribers(1, PATIENCE)
        for scene in scenes:
            ledger.capture(scene.frame.number)
            if spoil is not None:
                spoil(publisher, ledger)
            publisher.publish(scene)
    thread.join(PATIENCE)
    output = capsys.readouterr()
    return codes[0], output.out, output.err


def watch_a_lost_end(arguments, capsys) -> tuple[int, str, str]:
    """The same with two frames that arrive, and two that are published behind them and do not."""
    ledgers = []

    def scenes():
        yield make_scene(0)
        yield make_scene(1)
        for number in (2, 3):
            ledgers[0].capture(number)
            ledgers[0].publish(number)

    return watch(arguments, capsys, scenes(), spoil=lambda _, ledger: ledgers.append(ledger))


def test_a_line_per_message_and_a_summary(capsys):
    code, out, err = watch([], capsys, [make_scene(k) for k in range(4)])
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert sum("front/labels" in line for line in lines) == 4
    assert sum("2 objects" in line for line in lines) == 4
    assert " 4 frames" in lines[-1]
    assert "lost 0 messages" in lines[-1]


def test_json_lines_and_a_limit(capsys):
    code, out, _ = watch(["--json", "--kind", "objects", "--count", "2"], capsys, [make_scene(k) for k in range(4)])
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["kind"] for row in rows] == ["objects", "objects", "summary"]
    assert [row["frame"] for row in rows[:2]] == [0, 1]
    assert rows[0]["objects"][0]["class_id"] == 13


def test_an_audit_of_a_good_stream_finds_nothing(capsys):
    code, out, err = watch(["--audit", "--kind", "all"], capsys, [make_scene(k) for k in range(5)])
    assert (code, err) == (0, "")
    assert out.endswith("audit: everything adds up\n")


def wrong_class(scene):
    labels = scene.segmentation.labels.copy()
    labels[labels == 13] = 14
    return dataclasses.replace(scene, segmentation=dataclasses.replace(scene.segmentation, labels=labels))


def wrong_area(scene):
    return dataclasses.replace(scene, instances=dataclasses.replace(scene.instances, areas=np.array([1, 1], np.int32)))


def stray_id(scene):
    ids = scene.instances.ids.copy()
    ids[-1, -1] = 77
    return dataclasses.replace(scene, instances=dataclasses.replace(scene.instances, ids=ids))


def missing_time(scene):
    return dataclasses.replace(scene, latency=dataclasses.replace(scene.latency, mark_ns=scene.latency.mark_ns - 10**9))


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (wrong_class, "object 1 is class 13"),
        (wrong_area, "has area 1"),
        (stray_id, "ids [77]"),
        (missing_time, "add up to"),
    ],
)
def test_an_audit_says_what_is_wrong(edit, finding, capsys):
    code, _, err = watch(["--audit"], capsys, [edit(make_scene(k)) for k in range(2)])
    assert code == 1
    assert finding in err


def test_an_audit_misses_a_message_that_was_never_received(capsys):
    def skip(publisher, ledger):
        if ledger.entry().captured == 2:
            publisher._outlet._seq["front", "labels"] += 3

    code, _, err = watch(["--audit"], capsys, [make_scene(k) for k in range(3)], spoil=skip)
    assert code == 1
    assert "seq 4 follows 0; 3 lost" in err


def test_an_audit_misses_frames_that_no_drop_explains(capsys):
    code, _, err = watch(["--audit"], capsys, [make_scene(k) for k in (0, 1, 5)])
    assert code == 1
    assert "3 frames are missing in between, and the ledger counts 0 dropped" in err


def test_an_audit_misses_frames_behind_the_last_that_came(capsys):
    code, _, err = watch_a_lost_end(["--audit"], capsys)
    assert code == 1
    assert "2 frames were published after frame 1, the last that came" in err


def test_an_audit_sees_frames_that_never_landed(capsys):
    def leave_open(_, ledger):
        ledger.capture(1000 + ledger.entry().captured)

    code, _, err = watch(["--audit"], capsys, [make_scene(0)], spoil=leave_open)
    assert code == 1
    assert "1 frames are still in flight at the end" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tcp://127.0.0.1:1", "--timeout", "0.2"], 3),
        (["ipc:///nowhere", "--timeout", "0.2"], 3),
        (["five", "--timeout", "0.2"], 2),
        (["tcp://127.0.0.1:1", "--kind", "dreams"], 2),
        (["tcp://127.0.0.1:1", "--stream", "a/b"], 2),
        (["tcp://127.0.0.1:1", "--count", "0"], 2),
        (["tcp://127.0.0.1:1", "--timeout", "-1"], 2),
        (["tcp://127.0.0.1:1", "--timeout", "nan"], 2),
        (["tcp://127.0.0.1:1", "--timeout", "inf"], 2),
        (["tcp://127.0.0.1:1", "--timeout", "1e300"], 2),
        (["tcp://127.0.0.1:0", "--timeout", "0.2"], 2),
        (["tcp://127.0.0.1:*", "--timeout", "0.2"], 2),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, code, capsys):
    assert main(["sub", *arguments]) == code
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0]


def test_an_audit_of_nothing_is_a_finding(capsys):
    code, out, err = watch(["--audit"], capsys, [])
    assert code == 1
    assert "nothing to check" in err
    assert "everything adds up" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_summary_and_audit(number, tmp_path):
    endpoint, ledger = f"ipc://{tmp_path}/node.ipc", Ledger()
    arguments = ["sub", endpoint, "--audit", "--json", "--kind", "labels", "--timeout", str(PATIENCE)]
    process = subprocess.Popen(
        [sys.executable, "-m", "perception", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        with Publisher(endpoint, [StreamInfo(ledger=ledger)], spec=SPEC, engine="recorded", policy="wait") as node:
            node.wait_for_subscribers(1, PATIENCE)
            ledger.capture(0)
            node.publish(make_scene(0))
            first = json.loads(process.stdout.readline())
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert first["kind"] == "labels"
    assert (process.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["kind"] == "summary"


def test_json_has_the_summary_of_a_frame_and_the_verdict_of_the_audit(capsys):
    scene = dataclasses.replace(make_scene(0), digest=Digest({0: 0.5, 13: 0.25}, (None,) * 32, ((1.0, 2.0),)))
    code, out, _ = watch(["--json", "--audit", "--kind", "summary"], capsys, [scene])
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert rows[0]["summary"]["share"] == {"0": 0.5, "13": 0.25}
    assert rows[0]["summary"]["drivable"] == [[1.0, 2.0]]
    assert rows[-1]["audit"] == {"good": True, "findings": []}
    code, out, err = watch(["--json", "--audit"], capsys, [make_scene(k) for k in (0, 1, 5)])
    verdict = json.loads(out.splitlines()[-1])["audit"]
    assert code == 1
    assert (verdict["good"], len(verdict["findings"])) == (False, 1)
    assert verdict["findings"][0] in err


def test_it_follows_a_node_that_starts_again(tmp_path, capsys):
    endpoint, codes = f"ipc://{tmp_path}/node.ipc", []
    command = ["sub", endpoint, "--follow", "--json", "--kind", "labels", "--count", "4", "--timeout", str(PATIENCE)]
    thread = threading.Thread(target=lambda: codes.append(main(command)))
    thread.start()
    for numbers in ((0, 1), (0, 1)):
        ledger = Ledger()
        with Publisher(endpoint, [StreamInfo(ledger=ledger)], spec=SPEC, engine="recorded", policy="wait") as node:
            node.wait_for_subscribers(1, PATIENCE)
            for number in numbers:
                ledger.capture(number)
                node.publish(make_scene(number))
    thread.join(PATIENCE)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert codes == [0]
    assert [row["frame"] for row in rows[:-1]] == [0, 1, 0, 1]
    assert (rows[-1]["restarts"], rows[-1]["lost"]) == (1, 0)


def test_what_is_lost_behind_the_last_message_is_counted(capsys):
    _, out, _ = watch_a_lost_end(["--json"], capsys)
    assert json.loads(out.splitlines()[-1])["lost"] == 2
