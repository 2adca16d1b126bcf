"""One side of one contestant, in a process of its own: ``publish.py`` starts it.

    python contestants.py send NAME PORT MAPS COUNT RATE     RATE 0: as fast as it goes
    python contestants.py receive NAME PORT MAPS COUNT CHECK

Both print JSON: the sender when it began with each map, the receiver when it had each as an array; nanoseconds of
the monotonic clock that they share.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from maps import Maps, number_of, stamped

LOSSLESS = ("roadcast", "imagezmq", "netgear")
LOSSY = ("imagezmq jpg", "netgear default")  # what their documentation shows first, for camera pictures
SETTLE_S = 1.0  # for a PUB socket to learn of its subscriber; libzmq cannot be asked
SILENCE_S = 3.0
Send = Callable[[int, Maps], None]


def sender(name: str, port: int, size: tuple[int, int], *, wait: bool) -> tuple[Send, Callable[[], None]]:
    """(send, close) of a contestant."""
    if name == "roadcast":
        return _roadcast_sender(port, size, wait=wait)
    if name.startswith("imagezmq"):
        import imagezmq
        import simplejpeg

        publisher = imagezmq.ImageSender(connect_to=f"tcp://127.0.0.1:{port}", REQ_REP=False)

        def send(number: int, labels: Maps) -> None:
            if name == "imagezmq":
                publisher.send_image(str(number), labels)
            else:
                publisher.send_jpg(str(number), simplejpeg.encode_jpeg(labels[:, :, None], colorspace="GRAY"))

        time.sleep(SETTLE_S)
        return send, publisher.close
    from vidgear.gears import NetGear

    gear = NetGear(address="127.0.0.1", port=str(port), protocol="tcp", pattern=2, **_netgear_options(name))
    time.sleep(SETTLE_S)
    return lambda _, labels: gear.send(labels), gear.close


def receiver(name: str, port: int) -> Iterator[Maps]:
    """Maps as they arrive, for ever."""
    if name == "roadcast":
        from perception.client import Subscriber

        with Subscriber(f"tcp://127.0.0.1:{port}", kinds=["labels"], timeout=60.0) as subscriber:
            for scene in subscriber.scenes():
                yield scene.labels
        return
    if name.startswith("imagezmq"):
        import imagezmq
        import simplejpeg

        hub = imagezmq.ImageHub(open_port=f"tcp://127.0.0.1:{port}", REQ_REP=False)
        while True:
            if name == "imagezmq":
                yield hub.recv_image()[1]
            else:
                yield simplejpeg.decode_jpeg(hub.recv_jpg()[1], colorspace="GRAY")[:, :, 0]
    from vidgear.gears import NetGear

    options = {"receive_mode": True, "pattern": 2, **_netgear_options(name)}
    gear = NetGear(address="127.0.0.1", port=str(port), protocol="tcp", **options)
    while (labels := gear.recv()) is not None:
        yield labels


def _netgear_options(name: str) -> dict[str, Any]:
    # Its default compresses as JPEG in BGR, which cannot take a map at all; GRAY is the nearest that does.
    return {"jpeg_compression": "GRAY" if name == "netgear default" else False}


def _roadcast_sender(port: int, size: tuple[int, int], *, wait: bool) -> tuple[Send, Callable[[], None]]:
    from perception.channel import StreamInfo
    from perception.classes import CITYSCAPES
    from perception.engines.engine import ModelSpec
    from perception.ledger import Ledger
    from perception.publisher import Publisher
    from perception.types import CaptureTime, Frame, Latency, Scene, Segmentation

    ledger, picture = Ledger(), np.zeros((size[1], size[0], 3), np.uint8)
    spec = ModelSpec("maps", "", "fp32", CITYSCAPES, ("labels",), card={})
    publisher = Publisher(
        f"tcp://127.0.0.1:{port}",
        [StreamInfo(ledger=ledger)],
        spec=spec,
        engine="recorded",
        policy="wait" if wait else "drop_oldest",
    )
    publisher.wait_for_subscribers(1, 30.0)

    def send(number: int, labels: Maps) -> None:
        captured = CaptureTime.now()
        ledger.capture(number)
        frame = Frame("front", number, captured, picture)
        publisher.publish(Scene(frame, Latency(captured.captured_mono_ns), Segmentation(labels, None), None))

    return send, publisher.close


def _send(name: str, port: int, maps: Maps, count: int, rate: float) -> None:
    send, close = sender(name, port, (maps.shape[2], maps.shape[1]), wait=not rate)
    pictures = [stamped(maps[k % len(maps)], k) for k in range(count)]
    began: list[int] = []
    start = time.monotonic() + 0.1
    for number, labels in enumerate(pictures):
        if rate:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
        began.append(time.monotonic_ns())
        send(number, labels)
    print(json.dumps({"began": began}), flush=True)
    sys.stdin.readline()  # the receiver has all that will come
    close()


def _receive(name: str, port: int, maps: Maps, count: int, *, check: bool) -> None:
    got: list[tuple[int, int, bool]] = []
    whole = threading.Event()
    heard = [0.0]

    def read() -> None:
        for labels in receiver(name, port):
            at = time.monotonic_ns()
            number = number_of(labels) if name in LOSSLESS else len(got)
            equal = bool(check and np.array_equal(labels, stamped(maps[number % len(maps)], number)))
            got.append((number, at, equal))
            heard[0] = time.monotonic()
            if number == count - 1:
                whole.set()

    threading.Thread(target=read, daemon=True).start()
    print("ready", flush=True)
    while not whole.wait(0.1):
        if heard[0] and time.monotonic() - heard[0] > SILENCE_S:
            break
    print(json.dumps({"got": got}), flush=True)
    os._exit(0)  # the peers' receivers cannot be told to stop while they wait


if __name__ == "__main__":
    side, contestant, at_port, file, messages, option = sys.argv[1:]
    loaded = np.load(file)
    if side == "send":
        _send(contestant, int(at_port), loaded, int(messages), float(option))
    else:
        _receive(contestant, int(at_port), loaded, int(messages), check=option == "check")
