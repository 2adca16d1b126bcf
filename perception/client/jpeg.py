"""JPEG pictures from strangers: the size they claim is read before a decoder allocates it."""

from __future__ import annotations

import numpy as np

from perception.errors import ConfigError, WireError
from perception.types import Image
from perception.wire.codecs import Buffer, Part

# Start-of-frame markers; C4, C8 and CC in between mean something else.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD8)) | {0x01}


def decode_jpeg(part: Part, payload: Buffer) -> Image:
    """The picture of a JPEG part, (h, w, 3) u8 BGR.

    Raises:
        ConfigError: OpenCV is not installed.
        WireError: not a JPEG, or not of the size that the header promises.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            "Decoding the camera image needs OpenCV, which the base install leaves out: pip install 'roadcast[node]'."
        ) from error
    claimed = jpeg_size(bytes(payload))
    if claimed != part.shape[1::-1]:
        raise WireError(f"The JPEG is {claimed[0]} x {claimed[1]}, its header promises shape {part.shape}.")
    # IMREAD_IGNORE_ORIENTATION: an EXIF tag must not turn the picture out of the shape that was promised.
    image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[:2] != part.shape[:2]:
        raise WireError(f"Part {part.name!r} is not a JPEG that can be decoded.")
    return np.asarray(image, np.uint8)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) from the start-of-frame segment. Raises WireError if there is none."""
    if data[:2] == b"\xff\xd8":
        at = 2
        while at + 9 <= len(data) and data[at] == 0xFF:
            marker = data[at + 1]
            if marker == 0xFF or marker in _WITHOUT_LENGTH:
                at += 1 if marker == 0xFF else 2
            elif marker in _START_OF_FRAME:
                return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            else:
                at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    raise WireError("The image part is not a JPEG picture.")
