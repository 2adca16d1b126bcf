"""The page of ``roadcast view ENDPOINT`` in a headless Chromium."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pages import PATIENCE_S, node, viewer

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


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
