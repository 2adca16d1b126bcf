"""Serves the page on this machine and feeds it over a WebSocket, at the pace of each browser.

A page asks for the next frame of a stream when it has drawn the last; it gets the newest there is, and waits where
there is none. So at most one frame a stream is on its way, and a slow link shows fewer frames and not older ones.
Where a frame still takes long to arrive, its picture is sent at a half and then a quarter of its size.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from aiohttp import WSMsgType, web

from perception.errors import EndpointError
from perception.view.page.hub import Hub
from perception.view.page.packet import packet

HOST = "127.0.0.1"
FIGURES_S = 0.5  # between two updates of the charts
ENDING_S = 0.5
LARGEST_REQUEST = 4096  # bytes of what a page may send
KINDS = ("image", "labels", "objects", "confidence")
FILES = {"": ("index.html", "text/html"), "app.js": ("app.js", "text/javascript"), "app.css": ("app.css", "text/css")}
# A frame that takes longer than this to come back as drawn is made smaller, one that takes less than that larger.
SLOW_S, FAST_S = 0.35, 0.12
SHRINKS = (1, 2, 4)
PATIENCE = 5  # fast frames in a row before a picture grows again
NO_FRAMES_BY_OTHERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(slots=True, eq=False)
class _Page:
    """One open page: what it shows, and the streams of which it has drawn everything that was sent."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport | None  # below the socket
    kinds: frozenset[str] = frozenset(KINDS[:3])
    ready: set[str] = field(default_factory=set)
    sent: dict[str, tuple[bytes, int]] = field(default_factory=dict)  # session and frame by stream
    sent_s: dict[str, float] = field(default_factory=dict)
    level: int = 0  # of SHRINKS
    fast: int = 0  # frames in a row
    told: int = 0  # events
    telling: bool = False  # whether it is just being told how things stand

    def drawn(self, stream: str, now: float) -> None:
        """The page has drawn what it got of this stream, and wants the next."""
        self.ready.add(stream)
        took = now - self.sent_s.pop(stream, now)
        if took > SLOW_S:
            self.level, self.fast = min(self.level + 1, len(SHRINKS) - 1), 0
        elif took < FAST_S:
            self.fast += 1
            if self.fast >= PATIENCE * 2**self.level:
                self.level, self.fast = max(0, self.level - 1), 0


class PageServer:
    """Serves one node's page. Raises EndpointError where the port is in use."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pages: set[_Page] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, port: int, *, announce: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; ``announce`` gets the address when it can be opened."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        app = web.Application(middlewares=[_only_from_here])
        app.router.add_get("/feed", self._feed)
        app.router.add_get("/{name:[a-z.]*}", _file)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ENDING_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, port)
            try:
                await site.start()
            except OSError as error:
                raise EndpointError(
                    f"Port {port} of {HOST} cannot be served ({error.strerror or error}): "
                    "give another with --port, or 0 for any free one."
                ) from error
            announce(f"http://{HOST}:{runner.addresses[0][1]}/")
            with ThreadPoolExecutor(1, thread_name_prefix="subscriber") as executor:
                pumping = asyncio.create_task(self._pump(executor, stop))
                telling = asyncio.create_task(self._tell())
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait((stopping, pumping, telling), return_when=asyncio.FIRST_COMPLETED)
                stop.set()  # also where one of the two could not go on
                telling.cancel()
                await pumping
                with suppress(asyncio.CancelledError):
                    await telling
        finally:
            await self._close_pages()
            await runner.cleanup()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def _close_pages(self) -> None:
        """Say goodbye to every page; one that does not take that in is cut off."""
        closing = {asyncio.create_task(page.socket.close(code=1001)): page for page in self._pages}
        stuck = (await asyncio.wait(closing, timeout=ENDING_S))[1] if closing else set()
        for task in stuck:
            if (transport := closing[task].transport) is not None:
                transport.abort()

    async def _pump(self, executor: ThreadPoolExecutor, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            self._hub.wanted = frozenset().union(*(page.kinds for page in self._pages))
            if await loop.run_in_executor(executor, self._hub.pump):
                for page in list(self._pages):
                    self._serve(page)

    async def _tell(self) -> None:
        while True:
            for page in list(self._pages):
                if not page.telling:  # one that takes nothing in must not keep the others waiting
                    page.telling = True
                    self._begin(self._tell_one(page))
            await asyncio.sleep(FIGURES_S)

    async def _tell_one(self, page: _Page) -> None:
        await self._send(page, json.dumps(self._figures(page)))
        page.telling = False

    def _figures(self, page: _Page) -> dict[str, Any]:
        hub = self._hub
        events = [event for event in list(hub.events) if event["number"] > page.told]
        page.told = hub.told
        return {
            "endpoint": hub.endpoint,
            "heard": hub.heard,
            "silent_s": round(hub.silent_s, 1),
            "shrink": SHRINKS[page.level],
            "streams": {name: state.figures() for name, state in hub.streams.items()},
            "classes": {name: state.table.to_wire() for name, state in hub.streams.items()},
            "events": events,
        }

    async def _feed(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=LARGEST_REQUEST)
        await socket.prepare(request)
        page = _Page(socket, request.transport)
        self._pages.add(page)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._hear(page, message.data)
                    self._serve(page)
        finally:
            self._pages.discard(page)
        return socket

    def _hear(self, page: _Page, text: str) -> None:
        """``{"next": "front"}``: that stream is drawn; ``{"kinds": [...]}``: what the page shows. Else ignored."""
        try:
            asked = json.loads(text)
            if "kinds" in asked:
                page.kinds = frozenset(kind for kind in KINDS if kind in asked["kinds"])
            elif asked["next"] in self._hub.streams:
                page.drawn(asked["next"], asyncio.get_running_loop().time())
        except (ValueError, TypeError, KeyError, RecursionError):
            return

    def _serve(self, page: _Page) -> None:
        """Send the newest frame of every stream that the page has drawn, where there is a new one."""
        for stream in sorted(page.ready):
            state = self._hub.streams.get(stream)
            if state is None:  # the node came back without it
                page.ready.discard(stream)
                continue
            scene = state.newest
            if scene is None or page.sent.get(stream) == (scene.header.session, scene.number):
                continue
            page.ready.discard(stream)
            page.sent[stream] = scene.header.session, scene.number
            page.sent_s[stream] = asyncio.get_running_loop().time()
            data = packet(scene, page.kinds, age_ms=self._hub.age_ms(scene), shrink=SHRINKS[page.level])
            self._begin(self._send(page, data))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    async def _send(self, page: _Page, data: str | bytes) -> None:
        try:
            await (page.socket.send_str(data) if isinstance(data, str) else page.socket.send_bytes(data))
        except (ConnectionError, RuntimeError):  # the page was closed meanwhile
            self._pages.discard(page)


@web.middleware
async def _only_from_here(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuse what a page of somebody else's could ask in the name of this machine's user."""
    host = request.host.rpartition(":")[0]
    origin = request.headers.get("Origin")
    if host not in (HOST, "localhost") or (origin is not None and origin != f"http://{request.host}"):
        return web.Response(status=403, text="This page is served to this machine only.")
    response: web.StreamResponse = await handler(request)
    return response


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    file, kind = FILES[name]
    text = files("perception.view.page").joinpath("static", file).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind, headers=NO_FRAMES_BY_OTHERS)


def serve(hub: Hub, port: int, *, announce: Callable[[str], None]) -> None:
    """Serve the page of this hub's node until Ctrl-C or SIGTERM.

    Raises:
        EndpointError: the port is in use, or not allowed to this user.
    """
    try:
        asyncio.run(PageServer(hub).run(port, announce=announce))
    finally:
        hub.close()
