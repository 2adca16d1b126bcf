"""The socket a node sends on: bound once, owned by one thread, never blocked for long by anybody."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import zmq

from perception.wire.audience import Audience
from perception.wire.codecs import Buffer
from perception.wire.curve import Gate, ServerKeys
from perception.wire.encode import Content, Sender, pack_message
from perception.wire.endpoint import bind, ipc_file
from perception.wire.topic import KINDS

HWM_PER_TOPIC = 4  # messages; 4 in all starve the kinds sent last even with a healthy reader
SMALLEST_HWM = 16
SEND_BUFFER = 256 * 1024  # bytes
HEARTBEAT_MS = 1000
# libzmq's default, the interval itself, cuts off a reader that pauses for two seconds (measured), which
# contradicts waiting for one for five.
HEARTBEAT_TIMEOUT_MS = 30_000
SLICE_MS = 50  # of a wait, so that a stop is noticed
MAX_REQUEST_BYTES = 4096  # of what a peer may send us


class Outlet:
    """A bound XPUB socket that numbers what it sends, topic by topic.

    ``lossless`` makes a send wait for subscribers without room; else they lose the message. With ``keys`` it
    speaks CURVE to those on the allow-list, and to nobody else.

    Raises:
        ConfigError: a malformed endpoint, or one that other machines can reach without ``insecure`` or ``keys``.
        EndpointError: the endpoint is in use or is not this machine's.
    """

    def __init__(
        self,
        endpoint: str,
        streams: Sequence[str],
        *,
        lossless: bool,
        insecure: bool = False,
        keys: ServerKeys | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lossless = lossless
        self._stop = stop or threading.Event()
        self._clock = clock
        self._seq: Counter[tuple[str, str]] = Counter()  # by stream and kind
        self._left_out = False  # whether a subscriber without room lost something
        self._file: Path | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self.gate: Gate | None = None
        self.audience = Audience(self._socket, streams)
        try:
            self._set_options(max(SMALLEST_HWM, HWM_PER_TOPIC * len(KINDS) * len(streams)))
            if keys is not None:  # before it is bound, for without a gate libzmq lets everybody in
                self.gate = Gate(self._context, keys, clock)
                self.gate.guard(self._socket)
            self.endpoint = bind(self._socket, endpoint, insecure=insecure, guarded=keys is not None)
            self._file = ipc_file(endpoint)
        except BaseException:
            self.close(linger_ms=0)
            raise

    def send(
        self,
        sender: Sender,
        content: Content,
        time_fields: Mapping[str, object],
        *,
        common: Mapping[str, object] | None = None,
        flags: Sequence[str] = (),
        patience_s: float = 0.0,
        force: bool = True,
    ) -> bool:
        """Hand one message to the socket; False if some subscriber had no room for it in time.

        Then, with ``force``, the others still get it. libzmq leaves a pipe that refused one message out of all
        later ones until its peer has read half of it, so only the first send waits for a stalled subscriber,
        and for the healthy ones the promise holds that nothing is lost. Without ``force`` nobody gets it; what is
        not ``lossless`` is always forced.
        """
        topic = sender.stream, content.kind
        message = pack_message(sender, content, seq=self._seq[topic], time=time_fields, flags=flags, common=common)
        force = force or not self._lossless
        deadline = self._clock() + patience_s
        delivered = self._try(message, zmq.NOBLOCK)
        while not delivered and self._clock() < deadline and not self._stop.is_set():
            delivered = self._try(message)
        if not delivered and force:
            self._left_out = True
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)
            self._socket.send_multipart(message)
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self._seq[topic] += delivered or force
        return delivered

    def let_catch_up(self, seconds: float) -> None:
        """Before a message that must not be missed: where a subscriber was left out, give it time to read its queue."""
        if self._left_out and not self._stop.wait(seconds):
            self._left_out = False

    def drain(self) -> Mapping[str, frozenset[str]]:
        """Let in who may come in, and take in subscriptions; the kinds of each stream newly subscribed to."""
        if self.gate is not None:
            self.gate.answer()
        return self.audience.drain()

    def next_seq(self, stream: str, kind: str) -> int:
        """The number that the next message of this topic will have."""
        return self._seq[stream, kind]

    def skip(self, stream: str, kind: str, count: int) -> None:
        """Number the next message of this topic as if so many had been sent and lost on the way."""
        self._seq[stream, kind] += count

    def restart(self, stream: str) -> None:
        """Number the messages of this stream from 0 again, for a new session of it."""
        self._seq = Counter({topic: seq for topic, seq in self._seq.items() if topic[0] != stream})

    def pause(self, milliseconds: int) -> None:
        """Sleep, but wake when a subscription arrives."""
        self._socket.poll(milliseconds, zmq.POLLIN)

    def wait_until_left(self, timeout_s: float, hurried_s: float) -> int:
        """Let the subscribers read to the end and leave; once ``stop`` is set, for ``hurried_s`` at most.

        Lingering alone does not do it: it covers what is queued here, but a reader whose queue is full at the
        moment a unix socket closes never sees what is still in the kernel (libzmq 4.3.5, measured).

        Returns:
            Milliseconds that are left of ``hurried_s``, if ``stop`` is set, else of ``timeout_s``.
        """
        hurried = self._stop.is_set()
        deadline = self._clock() + (hurried_s if hurried else timeout_s)
        self.drain()
        while self.audience.subscribers and self._clock() < deadline:
            if self._stop.is_set() and not hurried:
                hurried, deadline = True, min(deadline, self._clock() + hurried_s)
            self.pause(10)
            self.drain()
        return max(0, int((deadline - self._clock()) * 1000))

    def close(self, *, linger_ms: int) -> None:
        """Close; messages not yet sent get up to ``linger_ms``."""
        self.audience.close()
        self._socket.close(linger=linger_ms)
        if self.gate is not None:
            self.gate.close()
        self._context.term()
        if self._file is not None:
            self._file.unlink(missing_ok=True)  # libzmq leaves it

    def _try(self, message: Sequence[Buffer], flags: int = 0) -> bool:
        try:
            self._socket.send_multipart(message, flags)
        except zmq.Again:
            return False
        return True

    def _set_options(self, queue: int) -> None:
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)  # tell where there is no room, also where it costs the message
        self._socket.setsockopt(zmq.SNDHWM, queue)
        # Subscriptions are always taken in: a heartbeat that is due while their queue is full and its peer gone ends
        # the process by an assertion (libzmq's issue 4364).
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SNDBUF, SEND_BUFFER)
        self._socket.setsockopt(zmq.SNDTIMEO, SLICE_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
