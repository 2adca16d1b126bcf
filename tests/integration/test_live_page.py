"""The page of ``roadcast view ENDPOINT``: its feed as a program sees it, whom it serves, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from pages import PATIENCE_S, node, viewer


class Feed:
    """One page's connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.news: list[dict[str, Any]] = []

    async def say(self, **message: object) -> None:
        await self._socket.send_str(json.dumps(message))

    async def frame(self, stream: str = "front") -> dict[str, Any]:
        """The head of the next frame of a stream, asked for once the stream is known."""
        await self.until(lambda news: stream in news["streams"])
        await self.say(next=stream)
        while True:
            message = await self._socket.receive(timeout=PATIENCE_S)
            if message.type == aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "little")
                head: dict[str, Any] = json.loads(message.data[4 : 4 + length])
                assert len(message.data) == 4 + length + sum(part["bytes"] for part in head["parts"])
                return head
            self.news.append(json.loads(message.data))

    async def until(self, accept: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first news that is accepted."""
        if self.news and accept(self.news[-1]):
            return self.news[-1]
        while True:
            message = await self._socket.receive(timeout=PATIENCE_S)
            assert message.type == aiohttp.WSMsgType.TEXT, "a frame that nobody asked for"
            self.news.append(json.loads(message.data))
            if accept(self.news[-1]):
                return self.news[-1]


def feeding(page: str, talk: Callable[[Feed], Awaitable[None]]) -> None:
    """Open the feed of a page and talk."""

    async def run() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(page + "feed", headers={"Origin": page.rstrip("/")}) as socket,
        ):
            await talk(Feed(socket))

    asyncio.run(run())


def test_a_page_gets_every_stream_and_only_the_kinds_it_shows(endpoint: str) -> None:
    async def talk(feed: Feed) -> None:
        for stream in ("left", "right"):
            head = await feed.frame(stream)
            assert head["stream"] == stream
            assert {part["name"] for part in head["parts"]} == {"image", "labels"}
            assert [found["class"] for found in head["objects"]] == [13, 11]
        await feed.say(kinds=["confidence"])
        deadline = time.monotonic() + PATIENCE_S
        while True:
            head = await feed.frame("left")
            if [part["name"] for part in head["parts"]] == ["confidence"] or time.monotonic() > deadline:
                break
        assert (head["objects"], [part["name"] for part in head["parts"]]) == ([], ["confidence"])
        figures = (await feed.until(lambda news: news["streams"]["left"]["fps"]))["streams"]["left"]
        assert (figures["state"], figures["lost"]) == ("running", 0)
        assert "hand-made" in figures["model"]

    with node(endpoint, "left", "right"), viewer(endpoint) as (_, page):
        feeding(page, talk)


def test_a_node_computes_nothing_for_a_page_that_nobody_has_open(endpoint: str) -> None:
    control = {"meta", "status", "event"}

    async def talk(feed: Feed) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while running.wanted != {"image", "labels", "objects", *control} and time.monotonic() < deadline:
            await feed.frame()
        assert running.wanted == {"image", "labels", "objects", *control}

    with node(endpoint) as running, viewer(endpoint) as (_, page):
        feeding(page, talk)
        deadline = time.monotonic() + PATIENCE_S
        while running.wanted & {"image", "labels"} and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running.wanted == control


def test_a_slow_page_skips_frames_and_neither_the_node_nor_another_page_waits(endpoint: str) -> None:
    async def talk(feed: Feed) -> None:
        before, slow = await feed.frame(), []
        for _ in range(3):
            await asyncio.sleep(0.7)  # a link on which a frame takes so long
            slow.append((await feed.frame(), running.frames))
        heads = [head for head, _ in slow]
        assert heads[0]["frame"] > before["frame"] + 3
        # The newest frame wins: what comes was published while the page was away, and not queued before.
        assert all(published - head["frame"] < 25 for head, published in slow)
        await feed.until(lambda news: news["shrink"] == 4)

    with node(endpoint) as running, viewer(endpoint) as (_, page):
        feeding(page, talk)


def test_a_node_that_restarts_is_told_and_followed(endpoint: str) -> None:
    async def talk(feed: Feed) -> None:
        await feed.frame()
        running.end()
        ended = await feed.until(lambda news: news["streams"]["front"]["state"] == "ended")
        assert any(event["name"] == "end_of_stream" for news in feed.news for event in news["events"])
        assert ended["heard"]
        with node(endpoint):
            await feed.until(lambda news: news["streams"]["front"]["state"] == "running")
            assert any(event["name"] == "restarted" for news in feed.news for event in news["events"])
            assert (await feed.frame())["stream"] == "front"

    with node(endpoint) as running, viewer(endpoint) as (_, page):
        feeding(page, talk)


def test_a_node_may_come_back_with_other_streams(endpoint: str) -> None:
    async def talk(feed: Feed) -> None:
        await feed.until(lambda news: set(news["streams"]) == {"front", "left"})
        await feed.frame("left")
        running.end()
        with node(endpoint, "front", "rear"):
            await feed.frame("rear")
            await feed.until(lambda news: set(news["streams"]) == {"front", "rear"})
            await feed.say(next="left")
            await feed.frame("front")
        assert any((e["name"], e["stream"]) == ("gone", "left") for news in feed.news for e in news["events"])

    with node(endpoint, "front", "left") as running, viewer(endpoint) as (_, page):
        feeding(page, talk)


def test_strange_messages_of_a_page_are_ignored(endpoint: str) -> None:
    async def talk(feed: Feed) -> None:
        for text in ("", "{", "[]", "3", '{"next": "nowhere"}', '{"next": [1]}', '{"kinds": 7}', "[" * 900):
            await feed._socket.send_str(text)
        assert (await feed.frame())["stream"] == "front"

    with node(endpoint), viewer(endpoint) as (_, page):
        feeding(page, talk)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"Host": "evil.example"}, 403), ({"Origin": "http://evil.example"}, 403)],
)
def test_only_this_machine_and_this_page_are_served(endpoint: str, headers: dict[str, str], status: int) -> None:
    async def ask() -> tuple[int, int]:
        async with aiohttp.ClientSession() as session:
            async with session.get(page, headers=headers) as response:
                found = response.status
            async with session.get(page + "nothing", headers=headers) as response:
                return found, response.status

    with viewer(endpoint) as (_, page):
        assert asyncio.run(ask()) == (status, 404 if status == 200 else 403)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_while_a_page_is_open(endpoint: str, number: int) -> None:
    async def talk(feed: Feed) -> None:
        await feed.frame()
        process.send_signal(number)
        while not feed._socket.closed:
            await feed._socket.receive(timeout=PATIENCE_S)

    with node(endpoint), viewer(endpoint) as (process, page):
        feeding(page, talk)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--port", "70000"), 2, "--port must lie in 0..65535"),
        (("--port", "x"), 2, "invalid int value"),
        (("--fps", "5"), 2, "give -o or --sheet as well"),
        (("--port", "5", "-o", "a.mp4"), 2, "--port is for the page"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(endpoint: str, args: tuple[str, ...], code: int, says: str) -> None:
    with viewer(endpoint, *args) as (process, _):
        _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err.count("\n")) == (code, 1)
    assert says in err


def test_a_port_in_use_is_said(endpoint: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with viewer(endpoint, "--port", port) as (process, _):
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert f"Port {port} of 127.0.0.1 cannot be served" in err
