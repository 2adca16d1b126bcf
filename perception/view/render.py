"""The loop that draws shots into a video and a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace

from perception.errors import OutputError, RoadcastError, SourceError
from perception.view.draw import draw
from perception.view.layers import Style
from perception.view.meter import Meter
from perception.view.report import Report, Written, progress_text
from perception.view.sheet import Sheet
from perception.view.shots import Feed, Shot
from perception.view.video import VideoWriter

_WARM_UP_S = 0.5  # before that, a rate says nothing of the time left


def render(
    feed: Feed,
    style: Style,
    *,
    video: VideoWriter | None = None,
    sheet: Sheet | None = None,
    show: Callable[[str], None] = lambda _: None,
) -> Report:
    """Draw every shot of the feed and finish the files; closes the feed and the video.

    Ctrl-C, and an error of the feed, end the run and keep what was drawn until then; the report says so. It also says
    that the contact sheet could not be written where the video could.
    ``show`` takes the line of progress after each frame.

    Raises:
        OutputError: a file cannot be written.
        KeyboardInterrupt: it came before the first frame.
    """
    drawing = _Drawing(feed, style, video, sheet)
    interrupted, error = False, None
    with ExitStack() as stack:
        if video is not None:
            stack.enter_context(video)
        stack.enter_context(closing(feed))
        try:
            for shot in feed.shots:
                drawing.draw(shot)
                if drawing.seconds() > _WARM_UP_S:
                    show(drawing.progress())
        except KeyboardInterrupt:
            if not drawing.frames:
                raise
            interrupted = True
        except RoadcastError as failure:
            if video is not None and video.failed:
                raise
            error = failure
    return drawing.report(interrupted, error)


class _Drawing:
    """Where a run of ``render`` stands."""

    def __init__(self, feed: Feed, style: Style, video: VideoWriter | None, sheet: Sheet | None) -> None:
        self._feed, self._style, self._video, self._sheet = feed, style, video, sheet
        self._meter = Meter()
        self.frames = self._dropped = 0
        self._began_s = time.monotonic()
        self._first_ns: int | None = None

    def draw(self, shot: Shot) -> None:
        self._meter.add(shot.arrived_mono_ns, shot.latency_ms)
        if self._first_ns is None:
            self._first_ns = shot.time_ns
        time_s = (shot.time_ns - self._first_ns) / 1e9
        if self._video is not None:
            stats = self._meter.stats(shot.stream, shot.frame, time_s, shot.dropped)
            self._video.write(draw(shot.picture, self._styled(), stats), shot.time_ns)
        if self._sheet is not None:
            self._sheet.add(shot.picture, shot.frame, time_s)
        self._dropped = shot.dropped
        self.frames += 1

    def seconds(self) -> float:
        return time.monotonic() - self._began_s

    def progress(self) -> str:
        return progress_text(self.frames, self._feed.expected, self.seconds())

    def report(self, interrupted: bool, error: RoadcastError | None) -> Report:
        if error is None and not self.frames:
            error = SourceError(f"Not one frame came from {self._feed.origin}, so nothing was written.")
        files = self._video_file()
        try:
            files += self._sheet_file()
        except OutputError as failure:
            if not files:
                raise
            error = error or failure
        p50, p99 = self._meter.latency_ms()
        return Report(
            origin=self._feed.origin,
            frames=self.frames,
            seconds=self.seconds(),
            fps=self._meter.fps(),
            latency_p50_ms=p50,
            latency_p99_ms=p99,
            dropped=self._dropped,
            interrupted=interrupted,
            error=None if error is None else str(error),
            exit_code=0 if error is None else error.exit_code,
            notes=tuple(self._feed.notes),
            files=files,
        )

    def _styled(self) -> Style:
        """The style with the stream's own classes, which it tells while it runs."""
        if self._style.table is not self._feed.table:
            self._style = replace(self._style, table=self._feed.table)
        return self._style

    def _video_file(self) -> tuple[Written, ...]:
        video = self._video
        if video is None or not video.frames:
            return ()
        return (Written(str(video.path), video.path.stat().st_size, video.frames, *video.size, video.duration_s),)

    def _sheet_file(self) -> tuple[Written, ...]:
        image = None if self._sheet is None else self._sheet.save(self._styled())
        if self._sheet is None or image is None:
            return ()
        path, tiles = self._sheet.path, len(self._sheet.chosen())
        return (Written(str(path), path.stat().st_size, tiles, image.shape[1], image.shape[0]),)
