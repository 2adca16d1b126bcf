"""One of Roboflow's video loops around our ONNX model, in their environment: ``video.py`` starts it.

    python video_loops.py supervision|inference MODEL CLIP WIDTHxHEIGHT FRAMES

Reads, resizes, infers, and takes label map and confidence; nothing is cut out, nothing is sent. Prints JSON: when each
frame was done, in nanoseconds.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import onnxruntime

Look = Callable[[Any], None]


def looker(model: str, width: int, height: int, done: list[int]) -> Look:
    """What either loop calls with a picture; ONNX Runtime with its defaults, on all cores."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def look(picture: Any) -> None:
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        session.run(["labels", "confidence"], {"frame": small[None]})
        done.append(time.monotonic_ns())

    return look


def with_supervision(clip: str, look: Look, frames: int) -> None:
    """The generator over a video's frames, its reading ahead switched on."""
    import supervision

    for picture in itertools.islice(supervision.get_video_frames_generator(clip, prefetch=8), frames):
        look(picture)


def with_inference(clip: str, look: Look, frames: int) -> None:
    """Their pipeline with logic of one's own: it decodes in one thread and infers in another, and drops nothing."""
    from inference import InferencePipeline

    seen = itertools.count(1)

    def logic(batch: list[Any]) -> list[dict[str, Any]]:
        for frame in batch:
            look(frame.image)
        if next(seen) == frames:
            pipeline.terminate()
        return [{} for _ in batch]

    pipeline = InferencePipeline.init_with_custom_logic(video_reference=clip, on_video_frame=logic)
    pipeline.start(use_main_thread=True)
    pipeline.join()


if __name__ == "__main__":
    loop, model_file, clip_file, network, wanted = sys.argv[1:]
    finished: list[int] = []
    function = looker(model_file, *map(int, network.split("x")), finished)
    (with_supervision if loop == "supervision" else with_inference)(clip_file, function, int(wanted))
    print(json.dumps({"done": finished}), flush=True)
