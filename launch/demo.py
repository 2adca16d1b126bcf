"""The demo: a node and a subscriber as two processes, measured; then what they saw, as a video.

    python launch/demo.py [SOURCE] [--out FOLDER] [--frames N] [--verbose]

Without SOURCE a street is rendered to a file first, so that rendering is not what is timed, and the
network is scored against its exact truth. Drawing happens after the timed run, for the same reason.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path

from demo_clip import CLIP_FRAMES, render_clip, score
from demo_summary import summary

from perception.errors import ConfigError, RoadcastError, SourceError
from perception.ledger import Ledger
from perception.measure import Run, Show, measure
from perception.sources import open_source
from perception.terminal import StatusLine
from perception.types import Image
from perception.view.layers import Style
from perception.view.remote import picture_of
from perception.view.render import render
from perception.view.report import Report
from perception.view.sheet import Sheet
from perception.view.shots import Feed, Shot, footage_time
from perception.view.video import VideoWriter

MOST_FRAMES = 900  # of what the user gives: a demo ends within a minute
MOST_LIVE_FRAMES = 150


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run a node on a clip, measure it, and draw what it saw.")
    parser.add_argument("source", nargs="?", help="a video, folder, camera or address (default: a rendered street)")
    parser.add_argument("--out", help="folder for the files (default: one of the source's own in out/demo)")
    parser.add_argument("--frames", type=int, help=f"end after so many frames (default: {MOST_FRAMES})")
    parser.add_argument("--verbose", action="store_true", help="tell the time of every stage and queue")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the node must not outlive the demo
    line = StatusLine(sys.stderr)
    try:
        out = Path(args.out) if args.out else Path("out/demo") / folder_name(args.source)
        return demo(args.source, out, args.frames, line, verbose=args.verbose)
    except RoadcastError as error:
        line.clear()
        print(f"demo: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        line.clear()
        print("demo: interrupted", file=sys.stderr)
        return 130


def folder_name(given: str | None) -> str:
    """One for every source, so that no demo leaves its files among those of another."""
    if given is None:
        return "rendered-street"
    # Of an address only the scheme is told: the rest may hold a password.
    name = Path(given).resolve().stem if Path(given).exists() else given.partition("://")[0]
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "source"


def demo(given: str | None, out: Path, frames: int | None, line: StatusLine, *, verbose: bool) -> int:
    """Render, measure, score, draw and report; returns the exit code."""
    if frames is not None and frames < 1:
        raise ConfigError(f"--frames must be at least 1, got {frames}.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot create the folder {str(out)!r}: {error.strerror}. Give another with --out."
        ) from error
    source = given or str(out / "street.mp4")
    truth = None if given else out / "truth"
    if truth:
        render_clip(Path(source), truth, frames or CLIP_FRAMES, line.show)
    with closing(open_source(source)) as opened:
        live = opened.live
    run = measure(source, frames or (MOST_LIVE_FRAMES if live else MOST_FRAMES), live=live, show=line.show)
    result = score(run.scenes, truth) if truth else None
    measured = summary(run, source, result, live=live, verbose=verbose)
    report = illustrate(run, source, out, live=live, show=line.show)
    line.clear()
    print(measured)
    for text in [file.text() for file in report.files] + ([source, f"{truth}/"] if truth else []):
        print(f"{'file':>10}  {text}")
    problem = run.problem or report.error
    if problem:
        print(f"demo: error: {problem}", file=sys.stderr)
    return run.exit_code or report.exit_code


def illustrate(run: Run, source: str, out: Path, *, live: bool, show: Show) -> Report:
    """Draw the received scenes over their frames, with the figures of the timed run; uses the scenes up."""
    shots = _shots_of_run(run, None if live else source)
    feed = Feed(shots, source, shots.close, expected=len(run.scenes), table=run.table)
    video, sheet = VideoWriter(out / "annotated.mp4"), Sheet(out / "sheet.png")
    return render(feed, Style(table=run.table), video=video, sheet=sheet, show=show)


def _shots_of_run(run: Run, source: str | None) -> Generator[Shot, None, None]:
    """The scenes over the frames of the file that they were made of; over the images they brought if it was live."""
    with closing(_frames(source)) as images:
        for latency_ms in run.latency_ms:
            scene = run.scenes.pop(0)  # unpacked maps are fifty times larger than packed ones
            times = scene.header.time
            captured_ns = times.captured_ns or times.published_ns
            time_ns = footage_time(times.clock or "wall", captured_ns, times.media_ns, scene.number)
            image = next((image for number, image in images if number == scene.number), None)
            picture = picture_of(scene, image)
            dropped = sum(scene.info.ledger.dropped.values())
            yield Shot(picture, scene.stream, scene.number, time_ns, scene.received_mono_ns, latency_ms, dropped)


def _frames(source: str | None) -> Generator[tuple[int, Image], None, None]:
    if source is None:
        return
    with closing(open_source(source)) as opened, suppress(SourceError):  # the node has reported what is broken
        for frame in opened.frames(Ledger()):
            yield frame.number, frame.image


if __name__ == "__main__":
    sys.exit(main())
