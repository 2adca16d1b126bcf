"""What a node does when it is asked over its control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from perception.control.message import LONGEST_TEXT, Refusal, Request
from perception.control.reload import Reload
from perception.control.report import report
from perception.control.socket import Asked, ControlSocket
from perception.errors import RequestError, WireError
from perception.node import Node
from perception.sources.jump import Place, Seekable
from perception.stream import Stream
from perception.summary import Status

COMMANDS = ("status", "pause", "resume", "reload", "seek")
LONGEST_SEEK_S = 10 * 365 * 86400.0


class Control:
    """Carries out the requests at a control socket. Belongs to the thread that publishes.

    Args:
        status: tells how the node fares.
    """

    def __init__(self, socket: ControlSocket, node: Node, status: Callable[[], Status]) -> None:
        self._socket = socket
        self._node = node
        self._status = status
        self._reload: Reload | None = None
        self._asked: Asked | None = None  # who waits for the end of the reload

    def poll(self) -> None:
        """Answer what was asked since the last call. Never blocks."""
        for asked in self._socket.receive():
            try:
                result = self._carry_out(asked)
            except Refusal as refusal:
                self._socket.refuse(asked, refusal)
            except WireError as error:  # an argument that is missing or of another type
                self._socket.refuse(asked, Refusal("malformed", str(error)))
            except RequestError as error:
                self._socket.refuse(asked, Refusal("impossible", str(error)))
            else:
                if result is not None:
                    self._socket.answer(asked, result)
        self._look_after_reload()

    def close(self) -> None:
        """Tell who still waits that the node ends, and close the socket."""
        if self._asked is not None:
            self._socket.refuse(self._asked, Refusal("ended", "The node ended before the model was loaded."))
            self._asked = None
        self._socket.close()

    def _carry_out(self, asked: Asked) -> Mapping[str, object] | None:
        """The reply, or None where it comes later. Raises Refusal, RequestError, and WireError for wrong arguments."""
        request = asked.request
        if request.command == "status":
            return report(self._node, self._status(), None if self._reload is None else self._reload.model)
        if request.command in ("pause", "resume"):
            return self._pause(self._streams(request), paused=request.command == "pause")
        if request.command == "seek":
            return self._seek(request)
        if request.command == "reload":
            self._begin_reload(asked)
            return None
        raise Refusal("unknown", f"There is no command {request.command!r}. Known are: {', '.join(COMMANDS)}.")

    def _streams(self, request: Request) -> Sequence[Stream]:
        """The stream that a request names, or all that have not ended."""
        fields, streams = request.fields, self._node.streams
        if not fields.has("stream"):
            return [stream for stream in streams.values() if not stream.finished]
        name = fields.text("stream", 64)
        if name not in streams:
            raise Refusal("impossible", f"There is no stream {name!r} here. Known are: {', '.join(streams)}.")
        return [streams[name]]

    def _pause(self, streams: Sequence[Stream], *, paused: bool) -> dict[str, object]:
        self._refuse_rate("pause")
        ended = [stream.name for stream in streams if stream.finished]
        if ended or not streams:
            which = ", ".join(ended) or "Every stream"
            raise Refusal("impossible", f"{which} has ended: there is nothing to {'pause' if paused else 'resume'}.")
        for stream in streams:
            (stream.pause if paused else stream.resume)()
            channel = self._node.publisher.channels[stream.name]
            channel.paused = paused
            channel.hurry()
        return {"streams": {name: _pace(stream) for name, stream in self._node.streams.items()}}

    def _seek(self, request: Request) -> dict[str, object]:
        """All streams that are meant go there, or none does."""
        self._refuse_rate("seek")
        place = _place_in(request)
        streams = self._streams(request)
        sources = [stream.source for stream in streams]
        recordings = [source for source in sources if isinstance(source, Seekable)]
        if not recordings or any(stream.finished for stream in streams):
            raise Refusal("impossible", "There is nothing to seek in: not in a camera, nor in what has ended.")
        if len(recordings) < len(sources):
            others = [stream.name for stream in streams if not isinstance(stream.source, Seekable)]
            raise Refusal(
                "impossible", f"{', '.join(others)} cannot seek, so no stream was moved. Name one that can (--stream)."
            )
        for source in recordings:
            source.check(place)
        for source in recordings:
            source.seek(place)
        return {"streams": {stream.name: {"goes_to": str(place)} for stream in streams}}

    def _refuse_rate(self, what: str) -> None:
        if self._node.config.rate is not None:
            raise Refusal("impossible", f"Under --rate frames are due whatever happens: there is no {what}.")

    def _begin_reload(self, asked: Asked) -> None:
        fields = asked.request.fields
        model = fields.text("model", LONGEST_TEXT) if fields.has("model") else self._node.config.model
        if self._reload is not None:
            raise Refusal("busy", f"The node is loading {self._reload.model}: ask again when that is done.")
        self._reload, self._asked = Reload(self._node, model), asked

    def _look_after_reload(self) -> None:
        if self._reload is None or self._asked is None:
            return
        try:
            result = self._reload.outcome()
        except Refusal as refusal:
            self._socket.refuse(self._asked, refusal)
        else:
            if result is None:
                return
            self._socket.answer(self._asked, result)
        self._reload = self._asked = None


def _pace(stream: Stream) -> dict[str, object]:
    return {"ended": True} if stream.finished else {"paused": stream.paused}


def _place_in(request: Request) -> Place:
    fields = request.fields
    if fields.has("frame") == fields.has("seconds"):
        raise Refusal("malformed", "A place is given by one of 'frame' and 'seconds'.")
    if fields.has("frame"):
        return Place(frame=fields.integer("frame"))
    seconds = fields.number("seconds")
    if not 0 <= seconds <= LONGEST_SEEK_S:
        raise Refusal("malformed", f"'seconds' must lie in 0..{LONGEST_SEEK_S:.0f}, got {seconds:g}.")
    return Place(media_ns=round(seconds * 1e9))
