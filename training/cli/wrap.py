"""``roadcast-train wrap``: make a foreign ONNX model one that a node runs."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from perception.errors import ConfigError
from perception.files import check_folder
from training.cli.texts import read_pixels

EPILOG = """\
The model's input is (frame / scale - mean) / std, the numbers in the model's own channel order. A model from
torchvision:  wrap net.onnx -o out.onnx --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 --classes table.toml
A class table is described in docs/training.md."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "wrap",
        help="make a foreign ONNX model run in a node",
        description="Put our input and outputs around a segmentation model of another origin.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.onnx")
    three: dict[str, Any] = {"type": float, "nargs": 3}
    parser.add_argument("--mean", **three, default=[0.0] * 3, metavar="X", help="per channel (default: 0 0 0)")
    parser.add_argument("--std", **three, default=[1.0] * 3, metavar="X", help="per channel (default: 1 1 1)")
    parser.add_argument(
        "--scale", type=float, help="by which frames are divided (default: 255; 1 where a mean is above 1)"
    )
    parser.add_argument("--order", choices=("rgb", "bgr"), default="rgb", help="of the channels (default: rgb)")
    parser.add_argument("--layout", choices=("nchw", "nhwc"), help="of the input (default: read from its shape)")
    parser.add_argument("--output", metavar="NAME", help="the output to take (default: the first)")
    parser.add_argument(
        "--kind",
        choices=("logits", "probabilities", "labels"),
        help="what it gives (default: labels if integers, probabilities if from a softmax, else logits)",
    )
    parser.add_argument("--upsample", type=int, default=1, metavar="N", help="enlarge scores N times before the argmax")
    parser.add_argument(
        "--classes", type=Path, metavar="TABLE.toml", help="its classes (default: the 19 of Cityscapes)"
    )
    parser.add_argument("--id", help="name of the model (default: the name of its file)")
    parser.add_argument("--pixels", type=read_pixels, default=512 * 288, help="default pixel budget of its input")
    parser.add_argument(
        "--multiple", type=int, default=32, metavar="N", help="sides must be multiples of N (default: 32)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Wrap the model, run it once, write file and card; returns the exit code."""
    if args.out.suffix != ".onnx":
        raise ConfigError(f"The file to write must end in .onnx, got {args.out}.")
    check_folder(args.out)
    from perception.files import write_whole
    from training.card import ModelCard, write_card
    from training.class_table import CITYSCAPES_CHANNELS, read_channels
    from training.wrap import ForeignModel, fixed_size, read_foreign, wrap

    scale = args.scale or (1.0 if max(args.mean) > 1 else 255.0)
    foreign = ForeignModel(
        mean=tuple(args.mean),
        std=tuple(args.std),
        scale=scale,
        order=args.order,
        layout=args.layout,
        kind=args.kind,
        output=args.output,
        upsample=args.upsample,
    )
    channels = read_channels(args.classes) if args.classes else CITYSCAPES_CHANNELS
    model = read_foreign(args.model)
    size = fixed_size(model, foreign)
    card = ModelCard(
        args.id or args.model.stem,
        args.pixels if size is None else size[0] * size[1],
        multiple=args.multiple if size is None else 1,
        classes=channels.table,
        facts={"wrapped": args.model.name, "date": time.strftime("%Y-%m-%d")},
    )
    content = wrap(model, foreign, channels, card).SerializeToString()
    with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
        trial = Path(folder) / args.out.name
        trial.write_bytes(content)
        labels = _try(trial)
    write_whole(args.out, content)
    print(f"wrote {args.out} and {write_card(card, args.out)}: {labels}")
    return 0


def _try(path: Path) -> str:
    """Run the model once, so that what cannot run is not written; one phrase about its labels."""
    import numpy as np

    from perception.engines.open import open_engine

    with closing(open_engine("onnxruntime", path, mode="latency", device="cpu")) as engine:
        width, height = engine.spec.network_size((1280, 720))
        frame = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
        labels = engine.submit(frame).result()["labels"]
    return f"frames of {width}x{height} give labels of {labels.shape[2]}x{labels.shape[1]}"
