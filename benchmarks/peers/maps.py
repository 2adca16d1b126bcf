"""Label maps to publish: the exact truth of the rendered street, or what the default model sees on real frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Maps = npt.NDArray[np.uint8]
COUNT = 24  # maps, sent in turn
APART = 25  # frames of 30 a second between them, so that they differ as a drive does


def label_maps(kind: str, size: tuple[int, int], folder: Path, *, video: Path | None = None) -> Path:
    """A file of COUNT maps, (COUNT, h, w) u8; made once. ``kind`` is truth or model."""
    width, height = size
    path = folder / f"{kind}-{width}x{height}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        maps = np.stack(list(_truth(size) if kind == "truth" else _model(size, video)))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, maps)
        part.replace(path)
    return path


def stamped(labels: Maps, number: int) -> Maps:
    """The map with its number in the first four pixels: none of the peers' PUB/SUB carries one to the reader."""
    out = labels.copy()
    out.reshape(-1)[:4] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)
    return out


def number_of(labels: Maps) -> int:
    """What ``stamped`` wrote."""
    return int.from_bytes(labels.reshape(-1)[:4].tobytes(), "little")


def _truth(size: tuple[int, int]) -> Iterator[Maps]:
    from perception.synth import Street

    street = Street(1, size)
    yield from (street.render(number * APART).labels for number in range(COUNT))


def _model(size: tuple[int, int], video: Path | None) -> Iterator[Maps]:
    """The default network at this size, so that the map has as much detail as the network can see."""
    import cv2
    import onnxruntime

    import perception

    if video is None:
        raise SystemExit("Maps of the model need real frames: give --video CLIP.mp4.")
    session = onnxruntime.InferenceSession(str(Path(perception.__file__).parent / "models" / "default.onnx"))
    capture = cv2.VideoCapture(str(video))
    for number in range(5 * COUNT):
        read, frame = capture.read()
        if not read:
            raise SystemExit(f"{video} has {number} frames; {5 * COUNT} are needed.")
        if number % 5:
            continue
        labels = session.run(["labels"], {"frame": cv2.resize(frame, size, interpolation=cv2.INTER_AREA)[None]})[0][0]
        yield cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
