"""A real RTSP server for tests: GStreamer's, encoding a moving picture as H.264 in real time.

Runs under the system's Python, which has GStreamer's bindings: ``python3 gstreamer_server.py PORT [PICTURES FPS]``.
Prints its port when it listens, and serves /live until it is killed. PORT 0 is any free one; PICTURES is a pattern
such as street/%03d.jpg, files that are played over and over at FPS frames a second.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BALL = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=20/1"
FILES = (
    "multifilesrc location={} loop=true caps=image/jpeg,framerate={}/1 ! jpegdec ! videoconvert"
    " ! video/x-raw,format=I420 ! identity sync=true"
)
PIPELINE = (
    "( {} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=500"
    " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main() -> None:
    """Serve until the end of the process."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(FILES.format(*sys.argv[2:]) if sys.argv[2:] else BALL))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit("cannot listen")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
