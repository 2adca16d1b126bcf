"""The page of ``roadcast view ENDPOINT``: its feed as a program sees it, and itself in a headless Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
from scenes import SPEC, make_scene

from perception.ledger import Ledger
from perception.publisher import Publisher, StreamInfo

PATIENCE_S = 40.0
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


class Node(threading.Thread):
    """Publishes hand-made scenes of these streams until it is ended, at about 50 frames a second."""

    def __init__(self, endpoint: str, streams: tuple[str, ...] = ("front",)) -> None:
        super().__init__()
        self._endpoint, self._streams = endpoint, streams
        self._ended = threading.Event()
        self.wanted: frozenset[str] = frozenset()
        self.frames = 0
        self.slowest_s = 0.0  # of publishing one frame

    def run(self) -> None:
        ledgers = {name: Ledger() for name in self._streams}
        infos = [StreamInfo(name=name, ledger=ledger) for name, ledger in ledgers.items()]
        with Publisher(self._endpoint, infos, spec=SPEC, engine="recorded") as publisher:
            publisher.state = "running"
            while not self._ended.wait(0.02):
                began = time.monotonic()
                for name, ledger in ledgers.items():
                    ledger.capture(self.frames)
                    publisher.publish(make_scene(self.frames, stream=name, size=(96, 48), source_size=(640, 320)))
                publisher.poll()
                self.frames += 1
                self.wanted = publisher.wanted
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def end(self) -> None:
        self._ended.set()
        self.join(PATIENCE_S)


@contextmanager
def node(endpoint: str, *streams: str) -> Iterator[Node]:
    running = Node(endpoint, streams or ("front",))
    running.start()
    try:
        yield running
    finally:
        running.end()


@contextmanager
def viewer(endpoint: str, *args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``roadcast view`` in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perception", "view", endpoint, "--json", *(args or ("--port", "0"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ROADCAST_")},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, json.loads(line)["page"] if line else ""
    finally:
        process.kill()
        process.communicate()


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright, which drives the browser, is not installed"
    )
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: Any, page: str, width: int = 1280) -> tuple[Any, list[str]]:
    """A tab with the page, and what goes wrong in it."""
    tab, complaints = browser.new_page(viewport={"width": width, "height": 900}), []
    tab.set_default_timeout(PATIENCE_S * 1000)
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(page[:20]) else None)
    tab.goto(page)
    return tab, complaints


def pixel(tab: Any, x: float, y: float, stream: str = "front") -> list[int]:
    """RGB of the picture as it is shown, at these shares of its width and height."""
    found: list[int] = tab.evaluate(
        """([stream, x, y]) => {
            const canvas = streams.get(stream).canvas;
            const context = canvas.getContext("2d");
            return [...context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3);
        }""",
        [stream, x, y],
    )
    return found


def shows(tab: Any, *kinds: str) -> None:
    for box in tab.query_selector_all("#toggles input[type=checkbox]"):
        if box.is_checked() != (box.get_attribute("value") in kinds):
            box.click()


def until(tab: Any, condition: str) -> None:
    """Wait for a condition; Playwright's own waiting evaluates text in the page, which its policy forbids."""
    deadline = time.monotonic() + PATIENCE_S
    while not tab.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)


def wait_for_frames(tab: Any, count: int = 3) -> None:
    """Until so many more frames were drawn in every stream."""
    drawn = "Math.min(...[...streams.values()].map((stream) => stream.frames))"
    before = tab.evaluate(f"streams.size ? {drawn} : 0")
    until(tab, f"streams.size && {drawn} >= {before + count}")


def test_the_page_draws_labels_where_they_are(browser: Any, endpoint: str) -> None:
    with node(endpoint), viewer(endpoint) as (_, page):
        tab, complaints = opened(browser, page)
        tab.wait_for_selector("article")
        wait_for_frames(tab)
        shows(tab, "labels")
        wait_for_frames(tab)
        assert pixel(tab, 0.2, 0.1) == [70, 130, 180]  # sky
        assert pixel(tab, 0.9, 0.9) == [128, 64, 128]  # road
        assert pixel(tab, 43 / 96, 0.5) == [220, 20, 60]  # the person, 12 of 96 pixels wide from 40
        assert pixel(tab, 39.5 / 96, 0.4) == [70, 130, 180]
        shows(tab, "image")
        wait_for_frames(tab)
        red, green, blue = pixel(tab, 0.5, 0.5)
        assert max(red, green, blue) - min(red, green, blue) < 6  # the picture is grey
        assert "road" in tab.inner_text("#legend")
        assert tab.inner_text(".state") == "running"
        assert complaints == []
        tab.close()


def test_the_page_shows_two_cameras_in_a_narrow_window(browser: Any, endpoint: str) -> None:
    with node(endpoint, "left", "right"), viewer(endpoint) as (_, page):
        tab, complaints = opened(browser, page, width=360)
        tab.wait_for_selector("article[data-stream=right]")
        wait_for_frames(tab)
        assert [title.inner_text() for title in tab.query_selector_all("article h2")] == ["left", "right"]
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360  # nothing sticks out
        assert complaints == []
        tab.close()


def test_the_page_finds_the_streams_of_a_node_that_came_back_with_others(browser: Any, endpoint: str) -> None:
    def titles() -> list[str]:
        return [title.inner_text() for title in tab.query_selector_all("article h2")]

    with viewer(endpoint) as (_, page):
        tab, complaints = opened(browser, page)
        for streams in (("front", "left"), ("rear",)):
            with node(endpoint, *streams):
                tab.wait_for_selector(f"article[data-stream={streams[-1]}]")
                until(tab, f"streams.size === {len(streams)}")
                wait_for_frames(tab)
                assert titles() == list(streams)
        until(tab, "document.getElementById('events').textContent.includes('gone')")
        assert complaints == []
        tab.close()


def test_the_page_says_that_the_node_is_gone_and_goes_on_when_it_is_back(browser: Any, endpoint: str) -> None:
    with viewer(endpoint) as (process, page):
        tab, _ = opened(browser, page)
        tab.wait_for_selector("#banner:not([hidden])")
        assert "Is the node running there?" in tab.inner_text("#banner")
        with node(endpoint):
            wait_for_frames(tab)
            tab.wait_for_selector("#banner", state="hidden")
        until(tab, "document.getElementById('banner').textContent.includes('has ended')")
        with node(endpoint):
            wait_for_frames(tab)
            until(tab, "document.getElementById('events').textContent.includes('restarted')")
        process.send_signal(signal.SIGINT)
        until(tab, "document.getElementById('banner').textContent.includes('viewer was stopped')")
        tab.close()
