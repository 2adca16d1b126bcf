"""The page over a slow link: how old is what it shows, and does the node or another subscriber notice?

    python benchmarks/slow_page.py [--kbit 0,2000,500] [--seconds 20] [--source VIDEO] [--engine auto]

One node publishes in real time; ``roadcast view`` serves its page. A client that behaves as the page does, asking
for the next frame when it has the last, is connected through a relay that passes so many kilobits a second (0: as
they come), with 50 ms each way. A subscriber beside it counts what the node sends, and dates the frames.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from perception.client import Subscriber
from perception.errors import Timeout
from perception.measure import node

DELAY_S = 0.05
CHUNK = 1024  # bytes
WARM_UP_S = 5.0  # in which the size of the picture settles


@dataclass
class Witness:
    """What an ordinary subscriber sees: when each frame was grabbed."""

    grabbed_ns: dict[int, int] = field(default_factory=dict)
    arrivals: list[float] = field(default_factory=list)
    lost: int = 0

    def watch(self, endpoint: str, stop: threading.Event) -> None:
        with Subscriber(endpoint, kinds=("labels",), timeout=1.0) as subscriber:
            while not stop.is_set():
                try:
                    message = subscriber.receive()
                except Timeout:
                    continue
                if message.frame is not None:
                    self.grabbed_ns[message.frame] = message.header.time.captured_mono_ns or 0
                    self.arrivals.append(time.monotonic())
                    self.lost = subscriber.tally.lost

    def rate(self, since_s: float) -> float:
        """Frames a second since then."""
        return sum(at >= since_s for at in self.arrivals) / (time.monotonic() - since_s)


def main() -> None:
    """Measure at every speed, one after the other."""
    parser = argparse.ArgumentParser(description="The page over a slow link.")
    parser.add_argument("--kbit", default="0,2000,500")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--source", default="synth://street?seed=1&size=640x360", help="played in real time")
    parser.add_argument("--engine", default="auto")
    args = parser.parse_args()
    settings = {"engine": args.engine, "policy": "drop_oldest", "pace": "real"}
    witness, stop = Witness(), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        command = [sys.executable, "-m", "perception", "view", endpoint, "--port", "0", "--json"]
        with (
            node(args.source, endpoint, 10**9, live=True, settings=settings) as child,
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer,
        ):
            assert viewer.stdout is not None
            page = json.loads(viewer.stdout.readline())["page"]
            watcher = threading.Thread(target=witness.watch, args=(endpoint, stop))
            watcher.start()
            while not witness.arrivals:
                time.sleep(0.1)
            for kbit in map(int, args.kbit.split(",")):
                print(asyncio.run(_measure(page, kbit, args.seconds, witness)), flush=True)
            stop.set()
            watcher.join()
            viewer.terminate()
            child.terminate()


async def _measure(page: str, kbit: int, seconds: float, witness: Witness) -> str:
    port = urlsplit(page).port
    relay = await asyncio.start_server(lambda r, w: _relay(r, w, port, kbit), "127.0.0.1", 0)
    there = relay.sockets[0].getsockname()[1]
    ages: list[float] = []
    sizes: list[int] = []
    began = time.monotonic() + WARM_UP_S
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{there}/feed", max_msg_size=2**26) as socket,
    ):
        asked = False
        while time.monotonic() < began + seconds:
            message = await socket.receive(timeout=60)
            if message.type == aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "little")
                grabbed = witness.grabbed_ns.get(json.loads(message.data[4 : 4 + length])["frame"])
                if grabbed is not None and time.monotonic() > began:
                    ages.append((time.monotonic_ns() - grabbed) / 1e6)
                    sizes.append(len(message.data))
                await socket.send_str('{"next": "front"}')
            elif (
                message.type == aiohttp.WSMsgType.TEXT and not asked and "front" in json.loads(message.data)["streams"]
            ):
                asked = True
                await socket.send_str('{"next": "front"}')
    relay.close()
    speed = f"{kbit} kbit/s" if kbit else "unthrottled"
    if not ages:
        return f"{speed:>12}: no frame in {seconds:.0f} s"
    return (
        f"{speed:>12}: {len(ages) / seconds:5.1f} frames a second of {statistics.mean(sizes) / 1000:.0f} kB, "
        f"age p50 {statistics.median(ages):.0f} ms max {max(ages):.0f} ms; "
        f"the subscriber beside it: {witness.rate(began):.1f} frames a second, {witness.lost} messages lost"
    )


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int | None, kbit: int) -> None:
    upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port, limit=2 * CHUNK)
    try:
        await asyncio.gather(_pass(reader, upstream_writer, 0), _pass(upstream_reader, writer, kbit))
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        for end in (writer, upstream_writer):
            end.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kbit: int) -> None:
    """Pass bytes on, each piece when the link could have carried it, and later by its delay."""
    loop, free_s = asyncio.get_running_loop(), time.monotonic()
    while data := await reader.read(CHUNK):
        free_s = max(free_s, time.monotonic()) + (len(data) * 8 / (kbit * 1000) if kbit else 0)
        loop.call_later(max(0.0, free_s + DELAY_S - time.monotonic()), writer.write, data)
        await asyncio.sleep(max(0.0, free_s - time.monotonic()))


if __name__ == "__main__":
    main()
