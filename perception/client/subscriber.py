"""The subscriber: one connection to one node."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

from perception.classes import ClassTable
from perception.client.connection import Connection
from perception.client.joining import MAX_STREAMS, Joiner, ends_stream
from perception.client.scene import ReceivedScene
from perception.client.tally import Tally
from perception.errors import Stale, Timeout, WireError
from perception.wire.boot import boot_id
from perception.wire.classes import classes_from_meta
from perception.wire.curve import ClientKeys
from perception.wire.message import Message, decode
from perception.wire.topic import CONTROL_KINDS, KINDS, check_kind, check_stream, parse_topic, topic_of

DEFAULT_KINDS = ("labels", "objects")


class Subscriber:
    """Receives the messages of one node.

    Args:
        endpoint: ``tcp://host:port`` or ``ipc://path``. The node need not run yet.
        streams: which streams; None for all.
        kinds: what of them; None for all. A node computes and encodes only what somebody subscribes to.
            ``meta``, ``status`` and ``event`` are always received, for they are small and tell of the end; a
            loop over messages sees them if they are asked for.
        timeout: seconds that any receive waits at most.
        queue: messages that may wait in this process before the node's own queue fills.
        keys: CURVE keys, where the node asks for them; it is then that very node, or nothing arrives.
        until_end: whether iteration ends when every stream asked for said ``end_of_stream``, or for all streams
            every one that was heard of; else it goes on and waits for a restart.

    Raises:
        ConfigError: a malformed endpoint, stream or kind.

    Not for several threads at once.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        streams: Sequence[str] | None = ("front",),
        kinds: Sequence[str] | None = DEFAULT_KINDS,
        timeout: float = 5.0,
        queue: int = 256,
        until_end: bool = True,
        keys: ClientKeys | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.tally = Tally()
        self.status: Mapping[str, object] | None = None  # the body of the newest status message
        self.meta: Mapping[str, object] | None = None  # the body of the newest meta message
        self.classes: ClassTable | None = None  # from meta
        self.ended = False  # whether the node said end_of_stream for every stream and did not restart since
        self._until_end = until_end
        self._ended: dict[str, bool] = {}  # of every stream heard of, whether its end was told
        self._streams = None if streams is None else tuple(check_stream(stream) for stream in streams)
        self._kinds = None if kinds is None else tuple(check_kind(kind) for kind in kinds)
        self._shown = frozenset(KINDS if kinds is None else self._kinds or ())
        self._joiner = Joiner(self._kinds)
        self._ready: deque[ReceivedScene] = deque()
        self._newest: ReceivedScene | None = None
        self._boot = boot_id()
        self._connection = Connection(endpoint, self._prefixes(), queue=queue, keys=keys)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. May be called twice."""
        self._connection.close()

    def receive(self, timeout: float | None = None) -> Message:
        """The next message of any kind, ``meta``, ``status`` and ``event`` included.

        Raises:
            Timeout: nothing arrived within ``timeout`` seconds (default: that of the subscriber).
            WireError: what arrived breaks the protocol; it is counted, and the next call goes on.
        """
        return self._next(lambda _: True, timeout)

    def __iter__(self) -> Iterator[Message]:
        """Messages of the kinds asked for, until the node says that the stream ends. Raises as ``receive``."""
        while True:
            message = self._next(lambda new: new.kind in self._shown or ends_stream(new), None)
            if message.kind in self._shown:
                yield message
            if self._until_end and self.ended:
                return

    def scenes(self, timeout: float | None = None) -> Iterator[ReceivedScene]:
        """Frames in order, the kinds of each joined, until the node says that the stream ends.

        A frame of which something was lost comes too, and says so in ``missing``. Raises as ``receive``.
        """
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._until_end and self.ended:
                return
            self._ready.extend(
                self._joiner.add(self._next(lambda new: new.frame is not None or ends_stream(new), timeout))
            )

    def latest(self, max_age_ms: float, timeout: float | None = None) -> ReceivedScene:
        """The newest frame, everything older thrown away; the same frame is not given twice.

        Where nothing young enough is here, waits ``timeout`` seconds for it (default: ``max_age_ms``). Age is
        the time since the frame was grabbed: by the monotonic clock if node and reader share a host, else by
        the Unix clocks of both.

        Raises:
            Stale: the newest frame is older than ``max_age_ms``.
            Timeout: no frame ever arrived.
        """
        deadline = time.monotonic() + (max_age_ms / 1000 if timeout is None else timeout)
        fresh: ReceivedScene | None = None
        while True:
            while self._ready:
                fresh = self._newest = self._ready.popleft()
            waiting = self._connection.wait(0)
            if fresh is not None and not waiting and self.age_ms(fresh) <= max_age_ms:
                return fresh
            left = deadline - time.monotonic()
            if not waiting and (left <= 0 or not self._connection.wait(int(left * 1000) + 1)):
                self._connection.knock_again()
                raise self._too_old(max_age_ms)
            message = self._take()
            if message is not None:
                self._ready.extend(self._joiner.add(message))

    def age_ms(self, scene: ReceivedScene) -> float:
        """Milliseconds since the frame was grabbed."""
        times, boot = scene.header.time, scene.header.boot
        if boot == self._boot and times.captured_mono_ns is not None:
            return (time.monotonic_ns() - times.captured_mono_ns) / 1e6
        return (time.time_ns() - (times.captured_ns or 0)) / 1e6

    def silence(self, seconds: float) -> str:
        """A sentence on why nothing may have arrived for so long."""
        refusal = self._connection.refusal()
        if refusal:
            return f"{self.endpoint} {refusal}"
        if not self.tally.messages:
            came = f"arrived from {self.endpoint} in {seconds:g} s. Is the node running there"
            if self._streams is None:
                return f"Nothing of any stream {came}?"
            return (
                f"Nothing of stream {', '.join(map(repr, self._streams))} {came}, and is its stream called that? "
                f"`roadcast sub {self.endpoint} --stream all` shows which there are."
            )
        state = (self.status or {}).get("state", "unknown")
        return f"Nothing new arrived from {self.endpoint} in {seconds:g} s; the node's last state was {state}."

    def _next(self, accept: Callable[[Message], bool], timeout: float | None) -> Message:
        """The next message that is accepted; others, such as the status of every second, do not prolong the wait."""
        wait = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + wait
        while self._connection.wait(max(0, int((deadline - time.monotonic()) * 1000))):
            message = self._take()
            if message is not None and accept(message):
                return message
        self._connection.knock_again()
        raise Timeout(self.silence(wait))

    def _take(self) -> Message | None:
        """Receive one message that is here, and count it; None for what nobody asked for."""
        frames = self._connection.receive()
        now, now_mono = time.time_ns(), time.monotonic_ns()
        try:
            _, kind = parse_topic(frames[0])
            if kind not in KINDS:
                self.tally.unknown += 1
                return None
            if kind not in self._shown and kind not in CONTROL_KINDS:
                return None
            message = decode(frames, received_ns=now, received_mono_ns=now_mono)
            self._note(message)
        except WireError:
            self.tally.rejected += 1
            raise
        self.tally.add(message)
        return message

    def _note(self, message: Message) -> None:
        if message.kind == "status":
            self.status = message.body
        elif message.kind == "meta":
            self.classes = classes_from_meta(message.header.fields.submap("meta"))
            self.meta = message.body
        if message.stream not in self._ended and len(self._ended) >= MAX_STREAMS:  # a node that makes names up
            self._ended.pop(next(iter(self._ended)))
        self._ended[message.stream] = ends_stream(message)
        streams = self._ended if self._streams is None else self._streams
        self.ended = all(self._ended.get(stream, False) for stream in streams)

    def _prefixes(self) -> list[bytes]:
        if self._streams is None:
            return [b""]  # the kinds of streams whose names are unknown cannot be told apart by prefix
        if self._kinds is None:
            return [f"{stream}/".encode() for stream in self._streams]
        kinds = dict.fromkeys((*self._kinds, *CONTROL_KINDS))
        return [topic_of(stream, kind) for stream in self._streams for kind in kinds]

    def _too_old(self, max_age_ms: float) -> Timeout:
        if self._newest is None:
            return Timeout(self.silence(max_age_ms / 1000))
        age = self.age_ms(self._newest)
        return Stale(
            f"The newest frame is {age:.0f} ms old; {max_age_ms:g} ms are allowed. Frame {self._newest.number}."
        )
