"""``roadcast-train`` with a network of three layers in the place of the real ones, also as a process of its own.

python tiny_training.py fit ...          as roadcast-train
HANG_AT_SAVE=2 python tiny_training.py   stops for ever inside the second checkpoint, after saying so
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from tiny_data import write_touching_cars


def tiny_net(_name: str = "light", *, auxiliary: bool = False, **_sizes: Any) -> Any:
    """In the place of ``build_network``: u8 frames to logits at half size, and to a second output."""
    import keras

    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = keras.layers.Rescaling(1 / 128, offset=-1.0, name="encoder_normalise")(frame)
    x = keras.layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="encoder_conv")(x)
    x = keras.layers.BatchNormalization(name="encoder_bn", momentum=0.5)(x)
    x = keras.layers.ReLU(name="encoder_relu")(x)
    logits = keras.layers.Conv2D(19, 1, dtype="float32", name="logits")(x)
    second = keras.layers.Conv2D(19, 1, dtype="float32", name="auxiliary")(x) if auxiliary else None
    return keras.Model(frame, [logits, second] if auxiliary else logits)


def write_trunk(folder: Path) -> Path:
    """``kitti/`` with two cars that touch in every frame, and ``trunk.keras``, a light U-Net without training."""
    import keras

    from training.models.network import build_network

    write_touching_cars(folder / "kitti")
    keras.utils.set_random_seed(1)
    build_network("light", width="small").save(folder / "trunk.keras")
    return folder


def hang_at(number: int) -> None:
    """Let the ``number``-th checkpoint of this process never be finished."""
    import keras

    save, calls = keras.Model.save_weights, iter(range(1, 100))

    def hanging(model: Any, path: Path, **options: Any) -> None:
        save(model, path, **options)
        if next(calls) == number:
            print("writing", flush=True)
            time.sleep(600)

    keras.Model.save_weights = hanging


if __name__ == "__main__":
    from training import fit
    from training.cli import main

    fit.build_network = tiny_net  # type: ignore[assignment]
    if "HANG_AT_SAVE" in os.environ:
        hang_at(int(os.environ["HANG_AT_SAVE"]))
    sys.exit(main())
