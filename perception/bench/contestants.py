"""What bounds a node, and what it has to beat: bare decoding, the bare engine, a plain serial loop.

python -m perception.bench.contestants NAME TASK STARTED_NS

Each runs in a process of its own and prints one JSON object, its first frame apart.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import zmq

from perception.bench.task import Task, tell
from perception.engines.contract import INPUT, read_spec
from perception.engines.engine import ModelSpec
from perception.engines.shipped import DEFAULT_MODEL, model_file
from perception.errors import SourceError
from perception.ledger import Ledger
from perception.metrics import Usage
from perception.sources import open_source
from perception.stages.prepare import prepare

LABELS = "labels"


def bare_decoding(task: Task) -> Iterator[None]:
    """The node's own source, read at full speed."""
    return (None for _ in open_source(task.config.source).frames(Ledger()))


def bare_engine(task: Task) -> Iterator[None]:
    """The node's engine alone on one prepared frame, as many at a time as it has slots."""
    engine = task.open_engine()
    image = next(iter(open_source(task.config.source).frames(Ledger()))).image
    batch = prepare(image, task.network_size(engine.spec, (image.shape[1], image.shape[0])))[None]

    def loop() -> Iterator[None]:
        pending = deque(engine.submit(batch) for _ in range(engine.slots))
        while True:
            pending.popleft().result()
            pending.append(engine.submit(batch))
            yield

    return loop()


def serial_loop(task: Task) -> Iterator[None]:
    """Read, resize, infer, publish, one after the other: what one writes without thinking of a pipeline.

    The same model in its library's own defaults, label maps sent raw; nobody listens, which favours it.
    """
    spec, infer = _plain(task)
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    socket.bind("tcp://127.0.0.1:*")
    video = cv2.VideoCapture(task.config.source)
    if not video.isOpened():
        raise SourceError(f"OpenCV, with which the serial loop reads, cannot open {task.config.source!r}.")
    size = task.network_size(
        spec, (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    )

    def loop() -> Iterator[None]:
        while True:
            found, image = video.read()
            if not found:
                return
            labels = infer(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[None])
            socket.send_multipart([LABELS.encode(), labels.tobytes()])
            yield

    return loop()


def _plain(task: Task) -> tuple[ModelSpec, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]:
    """From a batch to its labels, as the library's first example has it; an engine without a library serves itself."""
    model = str(model_file(task.config.model) if task.config.model else DEFAULT_MODEL)
    if task.config.engine == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(model, "CPU")
        return read_spec(Path(model)), lambda batch: np.asarray(compiled({INPUT: batch})[LABELS])
    if task.config.engine == "onnxruntime":
        import onnxruntime

        offered = onnxruntime.get_available_providers()
        wanted = ["CPUExecutionProvider"] if task.config.device == "cpu" else ["CUDAExecutionProvider"]
        providers = [name for name in (*wanted, "CPUExecutionProvider") if name in offered]
        session = onnxruntime.InferenceSession(model, providers=list(dict.fromkeys(providers)))
        return read_spec(Path(model)), lambda batch: np.asarray(session.run([LABELS], {INPUT: batch})[0])
    engine = task.open_engine()
    return engine.spec, lambda batch: np.asarray(engine.submit(batch).result()[LABELS])


CONTESTANTS: Mapping[str, Callable[[Task], Iterator[None]]] = {
    "bare decoding": bare_decoding,
    "bare engine": bare_engine,
    "serial loop": serial_loop,
}


def measure(steps: Iterator[None], task: Task, started_ns: int) -> Mapping[str, Any]:
    """Run the warm-up and then the frames that count.

    Args:
        started_ns: the monotonic clock when this process was asked for, so that the start can be told.

    Raises:
        SourceError: there were fewer frames than the task wants.
    """
    ready_ns = time.monotonic_ns()
    next(steps, None)
    first_ns = time.monotonic_ns() - ready_ns
    sum(1 for _ in islice(steps, task.warm_up - 1))
    start = Usage.now()
    frames = sum(1 for _ in islice(steps, task.frames))
    used = Usage.now().since(start, frames)
    if frames < task.frames:
        raise SourceError(f"Of the clip only {frames} of {task.frames} frames came after the warm-up.")
    return {
        "fps": frames / (used["seconds"] or 1e-9),
        "core_ms": used["core_ms_per_frame"],
        "cores_busy": used["busy"],
        "ready_s": (ready_ns - started_ns) / 1e9,
        "first_frame_ms": first_ns / 1e6,
        "memory_mb": {"start": used["resident_at_start_mb"], "end": used["resident_mb"], "peak": used["peak_mb"]},
    }


def contest(name: str, task: Task, started_ns: int) -> Mapping[str, Any]:
    """Open one contestant and measure it."""
    return measure(CONTESTANTS[name](task), task, started_ns)


if __name__ == "__main__":
    sys.exit(tell(partial(contest, sys.argv[1], Task.from_word(sys.argv[2]), int(sys.argv[3]))))
