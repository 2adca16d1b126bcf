"""A subscriber of the soak, in a process that can be stopped and killed: ``reader.py ENDPOINT``.

Reads labels and objects of every stream, and says four times a second how it fares, as a line of JSON: frames, lost
messages, and the age in milliseconds of the newest frame.
"""

from __future__ import annotations

import json
import sys
import time

from perception.client import Subscriber
from perception.errors import Timeout

PERIOD_S = 0.25


def main() -> None:
    """Read until the node ends."""
    due_s, age_ms = 0.0, None
    with Subscriber(sys.argv[1], streams=None, kinds=("labels", "objects"), timeout=60.0) as subscriber:
        while not subscriber.ended:
            try:
                message = subscriber.receive(PERIOD_S)
            except Timeout:
                continue
            if message.frame is not None:
                age_ms = (time.monotonic_ns() - (message.header.time.captured_mono_ns or 0)) / 1e6
            if time.monotonic() >= due_s and age_ms is not None:
                due_s = time.monotonic() + PERIOD_S
                tally = subscriber.tally
                said = {"frames": tally.frames, "lost": tally.lost, "age_ms": age_ms}
                print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
