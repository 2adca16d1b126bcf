"""Loading another model while frames go on, and handing it over."""

from __future__ import annotations

import threading
import time

from perception.control.message import Code, Refusal
from perception.errors import RequestError, RoadcastError
from perception.node import Node
from perception.pipeline import start
from perception.serving import Serving

# Where no frame comes within this after the model was ready (paused, camera away), the reply does not wait for one.
EFFECT_S = 2.0


class Reload:
    """A model that is being loaded in a thread, until a frame of it was published or it failed.

    ``model`` is the path of its file, None for the model that comes with the package.
    """

    def __init__(self, node: Node, model: str | None) -> None:
        self.model = model or "the built-in model"
        self._node = node
        self._began_s = time.monotonic()
        self._ready_s: float | None = None
        self._serving: Serving | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        start(
            (node.load(each) for each in (model,)),
            self._hand_over,
            self._finish,
            stop=node.stop,
            name="loading another model",
        )

    @property
    def loading(self) -> bool:
        """Whether it is still being loaded and warmed up."""
        return not self._done.is_set()

    def outcome(self) -> dict[str, object] | None:
        """What became of it; None while that is open. For the thread that publishes.

        Raises:
            Refusal: it could not be loaded, or does not go together with the node; the old model goes on.
        """
        if self.loading:
            return None
        now = time.monotonic()
        self._ready_s = self._ready_s or now
        if self._error is not None or self._serving is None:
            raise self._refusal()
        effective = self._node.models.published.number >= self._serving.number
        if not effective and now - self._ready_s < EFFECT_S:
            return None
        spec, engine = self._serving.engine.spec, self._serving.engine
        channels = self._node.publisher.channels
        return {
            "model": {"id": spec.id, "sha256": spec.sha256[:16], "precision": spec.precision, "engine": engine.name},
            "engine_reason": engine.reason,
            "load_s": round(self._ready_s - self._began_s, 3),
            "effective": effective,
            "streams": {name: dict(channel.changed) for name, channel in channels.items()} if effective else {},
        }

    def _hand_over(self, serving: Serving) -> bool:
        """In the thread that loaded it."""
        unused = self._node.models.offer(serving)
        for engine in unused:
            engine.close()
        self._serving = serving
        return True

    def _finish(self, error: BaseException | None) -> None:
        self._error = error
        self._done.set()

    def _refusal(self) -> Refusal:
        error = self._error
        told = str(error) if isinstance(error, RoadcastError) else f"{type(error).__name__}: {error}"
        code: Code = "impossible" if isinstance(error, RequestError) else "failed"
        return Refusal(code, f"{told} The node goes on with {self._node.engine.spec.id!r}.")
