"""Publisher and subscriber over real sockets."""

from __future__ import annotations

import stat
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from publishing import LOOPBACK, PATIENCE, make_publisher, publish, reader
from scenes import SPEC, make_scene

from perception.client import Subscriber
from perception.errors import ConfigError, EndpointError, Stale, Timeout, WireError
from perception.ledger import Ledger
from perception.publisher import Publisher, StreamInfo
from perception.wire import KINDS
from perception.wire.encode import Content, Sender, pack_message


@pytest.fixture(params=["tcp", "ipc"])
def endpoint(request, tmp_path):
    return LOOPBACK if request.param == "tcp" else f"ipc://{tmp_path}/s"


@pytest.mark.parametrize("queue", [1, 256])
def test_what_is_published_with_wait_is_received_to_the_last(endpoint, queue):
    """With a queue of one the reader is always full, also when the socket closes."""
    ledger = Ledger()
    publisher = make_publisher(endpoint, ledger=ledger, policy="wait")
    got = []

    def read() -> None:
        with Subscriber(publisher.endpoint, queue=queue, timeout=PATIENCE) as subscriber:
            for scene in subscriber.scenes():
                expected = make_scene(scene.number)
                np.testing.assert_array_equal(scene.labels, expected.segmentation.labels)
                np.testing.assert_array_equal(scene.ids, expected.instances.ids)
                got.append(scene.number)
            assert subscriber.status["state"] == "ended"
            assert subscriber.status["ledger"]["published"] == 200
            assert (subscriber.tally.lost, subscriber.tally.dropped, subscriber.tally.frames) == (0, 0, 200)
            assert subscriber.ended

    with reader(read), publisher:
        assert publisher.wait_for_subscribers(1, PATIENCE)
        publisher.state = "running"
        publish(publisher, ledger, range(200))
    assert got == list(range(200))
    assert ledger.entry().balanced


def test_end_of_stream_is_the_last_message():
    ledger = Ledger()
    publisher = make_publisher(ledger=ledger, policy="drop_oldest")
    kinds = []

    def read() -> None:
        with Subscriber(publisher.endpoint, kinds=KINDS, timeout=PATIENCE, until_end=False) as subscriber:
            while True:
                message = subscriber.receive()
                kinds.append(message.kind)
                if message.kind == "event" and message.body["name"] == "end_of_stream":
                    break
            with pytest.raises(Timeout):
                subscriber.receive(0.2)

    with reader(read):
        publisher.wait_for_subscribers(1, PATIENCE)
        publish(publisher, ledger, range(5))
        publisher.close()
        publisher.close()
    assert kinds[-2:] == ["status", "event"]
    assert kinds.count("image") == 5


def test_only_what_somebody_wants_is_encoded_and_seen_by_all_threads():
    with make_publisher() as publisher:
        publisher.poll()
        assert publisher.wanted == frozenset()
        assert publisher.subscribers == 0
        with Subscriber(publisher.endpoint, kinds=["labels"]):
            publisher.wait_for_subscribers(1, PATIENCE)
            assert publisher.wanted == {"labels", "meta", "status", "event"}
            with Subscriber(publisher.endpoint, streams=None):
                publisher.wait_for_subscribers(2, PATIENCE)
                assert publisher.wanted == frozenset(KINDS)
            eventually(publisher, lambda: publisher.wanted == {"labels", "meta", "status", "event"})
            eventually(publisher, lambda: publisher.subscribers == 1)
        eventually(publisher, lambda: publisher.subscribers == 0)
        eventually(publisher, lambda: publisher.wanted == frozenset())


def eventually(publisher: Publisher, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        publisher.poll()
        time.sleep(0.01)


def test_strangers_are_no_subscribers():
    with make_publisher() as publisher:
        host, port = publisher.endpoint.removeprefix("tcp://").split(":")
        import socket

        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with Subscriber(publisher.endpoint, streams=["rear"]):
                time.sleep(0.2)
                publisher.poll()
                assert publisher.subscribers == 0, "it subscribes to another stream"
                with Subscriber(publisher.endpoint):
                    publisher.wait_for_subscribers(1, PATIENCE)
                    with pytest.raises(Timeout, match="3 subscribers"):
                        publisher.wait_for_subscribers(3, 0.1)


def test_a_restart_is_seen_and_starts_from_zero():
    ledgers = [Ledger(), Ledger()]
    first = make_publisher(ledger=ledgers[0])
    endpoint = first.endpoint
    got = []

    def read() -> None:
        with Subscriber(endpoint, until_end=False, timeout=PATIENCE) as subscriber:
            scenes = subscriber.scenes()
            got.extend(next(scenes).number for _ in range(6))
            assert subscriber.tally.restarts == 1
            assert subscriber.tally.lost == subscriber.tally.dropped == 0

    with reader(read):
        for publisher, ledger in zip((first, None), ledgers):
            with publisher or make_publisher(endpoint, ledger=ledger) as current:
                current.wait_for_subscribers(1, PATIENCE)
                publish(current, ledger, range(3))
    assert got == [0, 1, 2, 0, 1, 2]


def test_drops_inside_the_node_are_told_from_losses():
    ledger = Ledger()
    with make_publisher(ledger=ledger) as publisher, Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber:
        publisher.wait_for_subscribers(1, PATIENCE)
        for number in range(6):
            ledger.capture(number)
            if number in (2, 3):
                ledger.drop(number, "stale")
            else:
                publisher.publish(make_scene(number))
        scenes = subscriber.scenes()
        assert [next(scenes).number for _ in range(4)] == [0, 1, 4, 5]
        assert (subscriber.tally.lost, subscriber.tally.dropped) == (0, 2)


def test_latest_gives_the_newest_or_says_that_it_is_stale():
    ledger = Ledger()
    with (
        make_publisher(ledger=ledger, policy="wait") as publisher,
        Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber,
    ):
        with pytest.raises(Timeout, match=r"Nothing of stream 'front'.* --stream all` shows which there are"):
            subscriber.latest(10)
        publisher.wait_for_subscribers(1, PATIENCE)
        publish(publisher, ledger, range(20))
        numbers = [subscriber.latest(PATIENCE * 1000).number]
        while numbers[-1] < 19:  # some may still be on their way
            numbers.append(subscriber.latest(PATIENCE * 1000).number)
        assert numbers == sorted(set(numbers))
        with pytest.raises(Stale, match="Frame 19"):
            subscriber.latest(1)
        publish(publisher, ledger, [20])
        time.sleep(0.05)
        with pytest.raises(Stale, match="Frame 20"):
            subscriber.latest(10)


def test_a_model_without_confidence_is_told_once_the_next_frame_shows_it():
    ledger = Ledger()
    kinds = ["labels", "confidence"]
    with make_publisher(ledger=ledger) as publisher, Subscriber(publisher.endpoint, kinds=kinds) as subscriber:
        publisher.wait_for_subscribers(1, PATIENCE)
        publish(publisher, ledger, range(3), confidence=False)
        scenes = subscriber.scenes()
        assert [next(scenes).missing for _ in range(3)] == [{"confidence"}] * 3


def test_a_model_that_enhances_sends_no_frame_in_place_of_its_picture():
    """Where nobody wanted anything of a frame its network rested, and who comes then gets the next picture."""
    ledger = Ledger()
    spec = replace(SPEC, outputs=("labels", "confidence", "image"))
    with (
        make_publisher(ledger=ledger, spec=spec) as publisher,
        Subscriber(publisher.endpoint, kinds=["image"], timeout=PATIENCE) as subscriber,
    ):
        assert publisher.wait_for_subscribers(1, PATIENCE)
        for number, enhanced in enumerate((None, np.full((32, 64, 3), 9, np.uint8))):
            ledger.capture(number)
            publisher.publish(replace(make_scene(number), enhanced=enhanced))
        scene = next(subscriber.scenes())
        assert (scene.number, scene.header.seq, scene.size("image")) == (1, 0, (64, 32))


def test_places_in_the_source(endpoint):
    ledger = Ledger()
    with make_publisher(endpoint, ledger=ledger) as publisher, Subscriber(publisher.endpoint, kinds=None) as subscriber:
        publisher.wait_for_subscribers(1, PATIENCE)
        publish(publisher, ledger, range(2), overlapping=True)
        scene = next(subscriber.scenes())
        assert scene.complete
        assert scene.size("labels") == (64, 32)
        np.testing.assert_allclose(scene.to_source([(-0.5, -0.5), (63.5, 31.5)]), [[-0.5, -0.5], [127.5, 63.5]])
        box = scene.objects.boxes[0]
        np.testing.assert_allclose(scene.boxes_in_source()[0], box * 2 - 0.5)
        assert (scene.labels[scene.mask(1)] == 13).all()
        assert scene.image.shape == (64, 128, 3)
        assert subscriber.classes == SPEC.classes


def test_latency_adds_up_and_kinds_share_the_frame():
    ledger = Ledger()
    with make_publisher(ledger=ledger) as publisher, Subscriber(publisher.endpoint, kinds=None) as subscriber:
        publisher.wait_for_subscribers(1, PATIENCE)
        ledger.capture(0)
        scene = make_scene(0)
        time.sleep(0.02)
        scene = scene.lap("infer")
        time.sleep(0.01)
        publisher.publish(scene)
        scene = next(subscriber.scenes(timeout=PATIENCE)) if publish(publisher, ledger, [1]) is None else None
        assert set(scene.messages) == {"labels", "confidence", "objects", "image"}
        for message in scene.messages.values():
            times, frame = message.header.time, message.header.frame
            whole = (times.published_mono_ns - times.captured_mono_ns) / 1000
            assert abs(sum(frame.latency_us.values()) - whole) <= 0.05 * whole
            assert frame.latency_us["infer"] >= 20_000
            assert frame.latency_us["wait_publish"] >= 10_000
            assert (frame.ledger.captured, frame.ledger.in_flight, frame.ledger.published) == (1, 1, 0)


def test_status_and_meta_come_every_second_without_frames():
    now = [0.0]
    with (
        make_publisher(clock=lambda: now[0]) as publisher,
        Subscriber(publisher.endpoint, timeout=PATIENCE) as subscriber,
    ):
        deadline = time.monotonic() + PATIENCE
        while publisher.subscribers < 1 and time.monotonic() < deadline:
            publisher.poll()
            time.sleep(0.01)
        seen = []
        for _ in range(3):
            now[0] += 1.0
            publisher.poll()
            publisher.poll()
            seen += [subscriber.receive() for _ in range(2)]
        assert {message.kind for message in seen} == {"meta", "status"}
        assert subscriber.status["state"] == "starting"


def test_a_burst_of_drops_is_told_on_its_stream_alone():
    now, ledgers = [0.0], {name: Ledger() for name in ("front", "rear")}
    streams = [StreamInfo(name=name, ledger=ledger) for name, ledger in ledgers.items()]
    with (
        Publisher(LOOPBACK, streams, spec=SPEC, engine="recorded", clock=lambda: now[0]) as publisher,
        Subscriber(publisher.endpoint, streams=None, kinds=["event"], timeout=PATIENCE) as subscriber,
    ):
        deadline = time.monotonic() + PATIENCE
        while publisher.subscribers < 1 and time.monotonic() < deadline:
            publisher.poll()
            time.sleep(0.01)
        for number in range(8):
            ledgers["rear"].capture(number)
            ledgers["rear"].drop(number, "stale")
        now[0] += 1.0
        publisher.poll()
        message = next(iter(subscriber))
        assert (message.stream, message.body["name"]) == ("rear", "drop_burst")
        assert message.body["detail"] == {"seconds": 1.0, "captured": 8, "dropped": {"stale": 8}}


def test_a_hostile_publisher_costs_one_error_per_message():
    with zmq.Context() as context, context.socket(zmq.XPUB) as node:
        node.setsockopt(zmq.LINGER, 0)
        port = node.bind_to_random_port("tcp://127.0.0.1")
        with Subscriber(f"tcp://127.0.0.1:{port}", timeout=PATIENCE) as subscriber:
            node.recv()
            time.sleep(0.1)
            node.send_multipart([b"front/labels/", b"\xc1"])
            node.send_multipart([b"front/status/", b"\x80"])
            status = Content("status", {"status": {"state": "running"}})
            good = pack_message(
                Sender("front", bytes(16), bytes(8)), status, seq=0, time={"published_ns": 1, "published_mono_ns": 1}
            )
            node.send_multipart(good)
            for _ in range(2):
                with pytest.raises(WireError):
                    subscriber.receive()
            assert subscriber.receive().kind == "status"
            assert subscriber.tally.rejected == 2


class TestEndpoints:
    def test_a_port_in_use_is_one_clear_sentence(self):
        with make_publisher() as publisher, pytest.raises(EndpointError, match="in use") as caught:
            make_publisher(publisher.endpoint)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize(
        "endpoint",
        ["", "5600", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "udp://127.0.0.1:5600", "inproc://x", "ipc://",
         "ipc:///nowhere/at/all", "ipc:///tmp/" + "x" * 120, "tcp://0.0.0.0:5600", "tcp://*:5600", "tcp://eth0:5600"],
    )  # fmt: skip
    def test_what_cannot_be_asked_for_is_refused(self, endpoint):
        with pytest.raises(ConfigError) as caught:
            make_publisher(endpoint)
        assert caught.value.exit_code == 2

    def test_another_machines_address_is_not_ours(self):
        with pytest.raises(EndpointError, match="not an address of this machine"):
            make_publisher("tcp://192.0.2.1:5600", insecure=True)
        with pytest.raises(EndpointError, match="not an address of this machine"):
            make_publisher("tcp://192.0.2.1:5600")

    def test_a_name_that_is_not_known_to_be_ours_is_not_called_reachable(self):
        with pytest.raises(ConfigError, match="names no host that is known to be this machine"):
            make_publisher("tcp://nosuchhost.invalid:5600")

    def test_insecure_must_be_said(self):
        make_publisher("tcp://0.0.0.0:*", insecure=True).close(hurry=True)

    def test_an_ipc_file_is_private_and_goes_with_the_node(self, tmp_path):
        path = tmp_path / "s"
        with make_publisher(f"ipc://{path}") as publisher:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            with pytest.raises(EndpointError, match="in use"):
                make_publisher(publisher.endpoint)
            assert path.exists()
        assert not path.exists()

    def test_the_file_of_a_killed_node_is_replaced_and_no_other(self, tmp_path):
        import socket

        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        make_publisher(f"ipc://{path}").close(hurry=True)
        Path(path).write_text("precious")
        with pytest.raises(ConfigError, match="not a socket"):
            make_publisher(f"ipc://{path}")
        assert path.read_text() == "precious"
