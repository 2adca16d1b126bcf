"""What is timed: the whole node, the same without its network, a plain serial loop, the bare engine, bare decoding.

Each contestant runs in a child process of its own (``python contestants.py NAME ...``) and prints one
JSON object, so that none inherits another's caches, threads or memory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import zmq
from clip import SIZE

from perception.engines.contract import read_spec
from perception.engines.open import DEFAULT_MODEL, open_engine
from perception.ledger import Ledger
from perception.sources import open_source
from perception.stages.prepare import prepare

WARM_UP_FRAMES = 10


def bare_engine(clip: Path, engine: str) -> Iterator[None]:
    """The engine alone on one prepared frame, as many at a time as it has slots."""
    opened = open_engine(engine, DEFAULT_MODEL)
    image = next(iter(open_source(str(clip)).frames(Ledger()))).image
    batch = prepare(image, opened.spec.network_size((image.shape[1], image.shape[0])))[None]
    pending = deque(opened.submit(batch) for _ in range(opened.slots))
    while True:
        pending.popleft().result()
        pending.append(opened.submit(batch))
        yield


def bare_decoding(clip: Path, engine: str) -> Iterator[None]:  # noqa: ARG001
    """The node's own source, read to the end."""
    for _ in open_source(str(clip)).frames(Ledger()):
        yield


def serial_loop(clip: Path, engine: str) -> Iterator[None]:
    """Read, resize, infer, publish, one after the other: what one writes without thinking of a pipeline.

    The same model in its library's own defaults, label maps sent raw; nobody listens, which favours it.
    """
    size = read_spec(DEFAULT_MODEL).network_size(SIZE)
    run = _default_session(engine)
    socket = zmq.Context.instance().socket(zmq.PUB)
    socket.bind("tcp://127.0.0.1:*")
    video = cv2.VideoCapture(str(clip))
    while True:
        found, image = video.read()
        if not found:
            return
        labels = run(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[None])
        socket.send_multipart([b"labels", labels.tobytes()])
        yield


def _default_session(engine: str) -> Callable[[np.ndarray], np.ndarray]:
    if engine == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(str(DEFAULT_MODEL), "CPU")
        return lambda frame: np.asarray(compiled({"frame": frame})["labels"])
    import onnxruntime

    session = onnxruntime.InferenceSession(str(DEFAULT_MODEL), providers=["CPUExecutionProvider"])
    return lambda frame: np.asarray(session.run(["labels"], {"frame": frame})[0])


CONTESTANTS = {"bare engine": bare_engine, "bare decoding": bare_decoding, "serial loop": serial_loop}


def main() -> None:
    """Run one contestant and print its figures, the first frames apart."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(CONTESTANTS))
    parser.add_argument("clip", type=Path)
    parser.add_argument("engine")
    parser.add_argument("frames", type=int)
    args = parser.parse_args()
    steps = CONTESTANTS[args.name](args.clip, args.engine)
    for _ in islice(steps, WARM_UP_FRAMES):
        pass
    cpu, wall = time.process_time(), time.perf_counter()
    frames = sum(1 for _ in islice(steps, args.frames))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"fps": round(frames / wall, 2), "core_ms": round(cpu / frames * 1000, 2), "frames": frames}))


if __name__ == "__main__":
    main()
