"""``roadcast-train export``: write the one ONNX file that every engine runs."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.errors import ConfigError
from perception.files import check_folder
from training.cli.quiet import load_keras
from training.cli.texts import read_fact, read_pixels, score_name, score_names, within

if TYPE_CHECKING:
    from training.data.datasets import Pair
    from training.precision import Frames

CALIBRATION_FRAMES = 32
_CENTRES = ("threshold", "apart", "reach", "most")  # settings of how centres are found


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "export", help="write an ONNX file", description="Export a model as ONNX, with its card."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.keras")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.onnx")
    parser.add_argument("--id", required=True, help="name of the model, for headers and cards")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--pixels", type=read_pixels, help="take frames of any size; by default of about so many pixels")
    size.add_argument("--size", type=_size, metavar="WxH", help="take frames of this size alone")
    parser.add_argument(
        "--label-stride", type=int, choices=(1, 2, 4, 8), default=2, help="network pixels per label (default 2)"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="of weights and arithmetic (default fp32, for which engines choose for themselves)",
    )
    parser.add_argument(
        "--int8-for",
        choices=("cpu", "tensorrt"),
        default="cpu",
        help="the form of int8: u8 activations, or the signed symmetric ones that TensorRT takes (default cpu)",
    )
    parser.add_argument(
        "--calibrate", metavar="KIND:DIR[:SPLIT]", help="frames whose values decide about fp16 and int8: training data"
    )
    parser.add_argument(
        "--enhance", metavar="NAME|FILE", help="put this before it: denoise, lowlight, superres, or a run's own model"
    )
    parser.add_argument(
        "--refine",
        choices=("crf", "probabilities"),
        help="maps refined by a dense CRF inside the graph, or an output of probabilities for `roadcast run --refine`",
    )
    parser.add_argument(
        "--refine-weight",
        type=within(0, 1000),
        metavar="W",
        help="of --refine crf: how far the picture's edges overrule the model (default 16, for coarse; 1 for fine)",
    )
    parser.add_argument(
        "--fact", action="append", default=[], metavar="KEY=TEXT", help="a line of the card: data, licence ..."
    )
    parser.add_argument(
        "--score", action="append", default=[], metavar="KIND:DIR[:SPLIT]", help="score the file on this"
    )
    parser.add_argument(
        "--no-objects", action="store_true", help="leave out the grouping of objects, where the model has a head for it"
    )
    parser.add_argument(
        "--centre-threshold", type=float, metavar="P", help="probability from which on there is a centre (default 0.1)"
    )
    parser.add_argument("--centre-apart", type=int, metavar="CELLS", help="with no other centre around it (default 1)")
    parser.add_argument(
        "--centre-reach", type=int, metavar="CELLS", help="by which a pixel may miss its centre at least (default 2)"
    )
    parser.add_argument(
        "--centre-most", type=int, metavar="N", help="centres a frame: 32, 64, 128 or 256 (default 128)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file and its card; returns the exit code."""
    facts: dict[str, object] = dict(read_fact(text) for text in args.fact)
    if args.out.suffix != ".onnx":
        raise ConfigError(f"The file to write must end in .onnx, got {args.out}.")
    check_folder(args.out)
    if args.precision != "fp32" and args.calibrate is None:
        raise ConfigError(
            f"--precision {args.precision} needs frames to measure on: give --calibrate KIND:DIR[:SPLIT]."
        )
    if args.int8_for != "cpu" and args.precision != "int8":
        raise ConfigError(f"--int8-for {args.int8_for} is a form of int8: give --precision int8 with it.")
    if args.refine_weight is not None and args.refine != "crf":
        raise ConfigError("--refine-weight is of --refine crf: give both, or neither.")
    from perception.stages.centres import CentreSettings
    from training.data.datasets import open_dataset

    given = {name: value for name in _CENTRES if (value := getattr(args, f"centre_{name}")) is not None}
    centres = CentreSettings(**given)
    if given and args.no_objects:
        raise ConfigError(f"--no-objects leaves out what --centre-{next(iter(given))} is for: give one of the two.")
    held_out = {name: open_dataset(text) for text, name in score_names(args.score).items()}
    shown = _spread(open_dataset(args.calibrate)) if args.calibrate and args.precision != "fp32" else []
    load_keras()
    from perception.engines.open import open_engine
    from perception.refinement.settings import WEIGHT
    from training.card import ModelCard, write_card
    from training.evaluate import engine_predictor, evaluate
    from training.export import export_onnx, replace_card
    from training.graph_grouping import method_of
    from training.mask_rcnn.export import METHOD, export_detector
    from training.mask_rcnn.saved import is_detector, load_detector
    from training.models.saved import load_model

    detects = is_detector(args.model)
    if detects and args.no_objects:
        raise ConfigError("--no-objects leaves nothing of a Mask R-CNN: export the model that it was trained on.")
    model = load_detector(args.model) if detects else load_model(args.model)
    facts |= {"date": time.strftime("%Y-%m-%d"), "export": _export_command(args)}
    pixels = args.pixels or args.size[0] * args.size[1]
    method = METHOD if detects else None if args.no_objects else method_of(model)
    if given and method != "centre":
        raise ConfigError(f"{args.model.name} has no head for centres: leave out --centre-{next(iter(given))}.")
    if method == "centre":
        facts["centres"] = {name: getattr(centres, name) for name in _CENTRES}
    card = ModelCard(
        args.id,
        pixels,
        precision=args.precision,
        instances=method,
        refine=args.refine,
        refine_weight=WEIGHT if args.refine_weight is None else args.refine_weight,
        facts=facts,
    )
    frames = (_network_frame(pair, args.size, pixels) for pair in shown)
    made = args.out if args.enhance is None else args.out.with_name(f"{args.out.name}.part.onnx")
    kept: list[str] = []
    if detects:
        export_detector(model, made, card, label_stride=args.label_stride, size=args.size)
    else:
        kept = export_onnx(
            model,
            made,
            card,
            label_stride=args.label_stride,
            size=args.size,
            calibration=frames,
            symmetric=args.int8_for == "tensorrt",
            centres=centres,
        )
    if args.enhance is not None:
        from training.restoration.attach import put_before

        card = put_before(args.enhance, made, args.out, card)
    if kept:
        print(f"kept in fp32, because their values came near the limit of fp16: {', '.join(kept)}")
    with closing(open_engine("onnxruntime", args.out, mode="latency")) as engine:
        scores = {name: evaluate(engine_predictor(engine), p).to_json() for name, p in held_out.items()}
    if scores:
        card = dataclasses.replace(card, facts={**card.facts, "scores": scores})
        replace_card(args.out, card)
    print(f"wrote {args.out} and {write_card(card, args.out)}")
    return 0


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or any(int(side) < 32 or int(side) % 32 for side in found.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT with sides in multiples of 32")
    return int(found.group(1)), int(found.group(2))


def _spread(pairs: list[Pair]) -> list[Pair]:
    """At most ``CALIBRATION_FRAMES``, evenly spread."""
    count = min(CALIBRATION_FRAMES, len(pairs))
    return [pairs[i * len(pairs) // count] for i in range(count)]


def _network_frame(pair: Pair, size: tuple[int, int] | None, pixels: int) -> Frames:
    from perception.geometry import fit_size
    from perception.stages.prepare import prepare
    from training.data.datasets import read_pair

    image = read_pair(pair)[0]
    return prepare(image, size or fit_size((image.shape[1], image.shape[0]), pixels))[None]


def _export_command(args: argparse.Namespace) -> str:
    """The command as it stands on the card: without facts, which are there already, and without folders."""
    size = ("--pixels", args.pixels) if args.size is None else ("--size", f"{args.size[0]}x{args.size[1]}")
    options = {"-o": args.out.name, "--id": args.id, size[0]: size[1], "--label-stride": args.label_stride}
    if args.precision != "fp32":
        options |= {"--precision": args.precision, "--calibrate": score_name(args.calibrate)}
    if args.enhance is not None:
        options["--enhance"] = Path(args.enhance).name
    if args.refine is not None:
        options["--refine"] = args.refine
    if args.refine_weight is not None:
        options["--refine-weight"] = f"{args.refine_weight:g}"
    if args.precision == "int8" and args.int8_for != "cpu":
        options["--int8-for"] = args.int8_for
    options |= {f"--centre-{n}": v for n in _CENTRES if (v := getattr(args, f"centre_{n}")) is not None}
    words = ["roadcast-train", "export", args.model.name, *(str(w) for option in options.items() for w in option)]
    words += ["--no-objects"] if args.no_objects else []
    return shlex.join([*words, *(w for name in score_names(args.score).values() for w in ("--score", name))])
