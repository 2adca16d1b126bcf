"""Subscribers that do not read: whom they hold up, what they lose, and what they still learn."""

from __future__ import annotations

import threading
import time

import pytest
import zmq
from publishing import PATIENCE, make_publisher, publish, reader

from perception.client import Subscriber
from perception.ledger import Ledger
from perception.wire import decode


def stalled_reader(endpoint: str) -> tuple[zmq.Context, zmq.Socket]:
    """Subscribes to everything, holds next to nothing, and does not read."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.setsockopt(zmq.RCVBUF, 4096)
    socket.setsockopt(zmq.LINGER, 0)
    socket.subscribe(b"front/confidence/")
    socket.connect(endpoint)
    return context, socket


@pytest.fixture
def short_patience(monkeypatch):
    monkeypatch.setattr("perception.publisher.PATIENCE_S", 0.5)


BIG = {"size": (512, 256), "source_size": (16, 8)}


@pytest.mark.usefixtures("short_patience")
def test_wait_gives_a_stalled_subscriber_up_once_and_loses_nothing_for_the_others():
    ledger = Ledger()
    publisher = make_publisher(ledger=ledger, policy="wait")
    context, stalled = stalled_reader(publisher.endpoint)
    got, events = [], []

    def read() -> None:
        with Subscriber(publisher.endpoint, kinds=["confidence", "event"], queue=4, timeout=PATIENCE) as subscriber:
            for message in subscriber:
                (got if message.kind == "confidence" else events).append(message)

    with reader(read), publisher:
        publisher.wait_for_subscribers(2, PATIENCE)
        publish(publisher, ledger, range(100), **BIG)
        first = [int(decode(stalled.recv_multipart()).frame) for _ in range(5)]
        assert first == list(range(5))
        while stalled.poll(500):
            last = decode(stalled.recv_multipart()).frame
        publish(publisher, ledger, range(100, 103), **BIG)
        again = [decode(stalled.recv_multipart()) for _ in range(3) if stalled.poll(int(PATIENCE * 1000))]
        stalled.close()
        context.term()
    assert [message.frame for message in got] == list(range(103))
    assert [event.body["name"] for event in events] == ["subscriber_lost", "end_of_stream"]
    lost = events[0].body["detail"]["frame"]
    assert last == lost - 1, "it got everything before the loss"
    assert [message.frame for message in again] == [100, 101, 102], "and everything after it read again"
    assert again[0].header.seq == 100, "so seq shows how much it lost"
    assert ledger.entry().published == 103


def test_a_stop_ends_the_wait_for_a_stalled_subscriber():
    stop, ledger = threading.Event(), Ledger()
    publisher = make_publisher(ledger=ledger, policy="wait", stop=stop)
    context, stalled = stalled_reader(publisher.endpoint)
    publisher.wait_for_subscribers(1, PATIENCE)
    done = threading.Event()

    def stop_soon() -> None:
        time.sleep(1.0)
        stop.set()
        assert done.wait(4.0), "a stop must cut the 5 s short"

    with reader(stop_soon):
        number = 0
        while not stop.is_set():
            publish(publisher, ledger, [number], **BIG)
            number += 1
        done.set()
    publisher.close(hurry=True)
    stalled.close()
    context.term()
    assert number > 1
    assert ledger.entry().in_flight == 0


def test_drop_oldest_never_waits_and_the_loser_sees_it():
    ledger = Ledger()
    publisher = make_publisher(ledger=ledger, policy="drop_oldest")
    context, stalled = stalled_reader(publisher.endpoint)
    with publisher:
        publisher.wait_for_subscribers(1, PATIENCE)
        publish(publisher, ledger, range(150), **BIG)
        assert ledger.entry().published == 150
        seqs = []
        while stalled.poll(500):
            seqs.append(decode(stalled.recv_multipart()).header.seq)
        publish(publisher, ledger, [150], **BIG)
        assert stalled.poll(int(PATIENCE * 1000))
        seqs.append(decode(stalled.recv_multipart()).header.seq)
        stalled.close()
        context.term()
    assert seqs[-1] == 150
    assert len(seqs) < 151


@pytest.mark.usefixtures("short_patience")
def test_a_subscriber_that_reads_again_in_time_learns_of_the_end_under_drop_oldest(monkeypatch):
    monkeypatch.setattr("perception.channel.LAST_WORDS_S", 3.0)  # for a busy machine
    ledger = Ledger()
    publisher = make_publisher(ledger=ledger, policy="drop_oldest")
    context, slow = stalled_reader(publisher.endpoint)
    slow.subscribe(b"front/event/")
    messages = []

    def read() -> None:
        time.sleep(0.3)  # until then its queue stays full
        while not messages or messages[-1].kind != "event" or messages[-1].body["name"] != "end_of_stream":
            assert slow.poll(int(PATIENCE * 1000)), "the end of the stream was dropped"
            messages.append(decode(slow.recv_multipart()))

    publisher.wait_for_subscribers(1, PATIENCE)
    publish(publisher, ledger, range(150), **BIG)
    with reader(read), publisher:
        pass
    slow.close()
    context.term()
    assert len(messages) < 151  # some were dropped, so that its queue was full indeed


def test_the_end_does_not_wait_for_one_that_never_reads():
    ledger = Ledger()
    publisher = make_publisher(ledger=ledger, policy="drop_oldest")
    context, stalled = stalled_reader(publisher.endpoint)
    stalled.subscribe(b"front/event/")
    stalled.subscribe(b"front/status/")
    publisher.wait_for_subscribers(1, PATIENCE)
    publish(publisher, ledger, range(150), **BIG)
    publisher.close()
    stalled.close()
    context.term()
    assert ledger.entry().published == 150
