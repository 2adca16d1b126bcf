"""What tests of publishers and subscribers share."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from scenes import SPEC, make_scene

from perception.ledger import Ledger
from perception.publisher import Publisher, StreamInfo

LOOPBACK = "tcp://127.0.0.1:*"
PATIENCE = 20.0  # seconds; generous, for a busy machine


def make_publisher(endpoint: str = LOOPBACK, **options) -> Publisher:
    told = {"name": options.pop("stream", "front"), "ledger": options.pop("ledger", None) or Ledger()}
    told |= {name: options.pop(name) for name in ("expected_fps", "source_size", "camera") if name in options}
    return Publisher(endpoint, [StreamInfo(**told)], **({"spec": SPEC, "engine": "recorded"} | options))


def publish(publisher: Publisher, ledger: Ledger, numbers, **options) -> None:
    for number in numbers:
        ledger.capture(number)
        publisher.publish(make_scene(number, **options))


@contextmanager
def reader(target):
    """Run ``target`` in a thread; its exception fails the test."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
