"""``roadcast engine build``: compile a model with TensorRT."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.errors import ConfigError, EngineUnavailable

if TYPE_CHECKING:
    from perception.engines.tensorrt.build import Recipe
    from perception.engines.tensorrt.library import Library

BACKENDS = ("tensorrt", "tensorrt_rtx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to compile, and for what."""
    parser.add_argument("model", metavar="MODEL.onnx", help="as roadcast-train export wrote it; its precision is in it")
    parser.add_argument("--size", metavar="WxH[,WxH,WxH]", help="input size, or smallest, most common and largest "
                       "(default: what suits a camera of 1280x720)")  # fmt: skip
    parser.add_argument(
        "--batch", metavar="N[,N,N]", help="frames at once, or fewest, most common and most (default: 1)"
    )
    parser.add_argument(
        "--gpu", default="current", metavar="current|sm89|...", help="what it is for (default: current)"
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, help="default: tensorrt where it is installed, else tensorrt_rtx"
    )
    parser.add_argument("--no-tf32", action="store_true", help="fp32 convolutions with all bits: slower")
    parser.add_argument("--topk-argmax", action="store_true", help="leave the argmax as TensorRT does it: slower")
    parser.add_argument("--layers", metavar="FILE.json", help="write what TensorRT made of the layers")
    parser.add_argument("--force", action="store_true", help="compile even if the engine is in the cache")


def run(args: argparse.Namespace) -> int:
    """Compile a model. Raises RoadcastError."""
    from perception.engines.contract import read_spec
    from perception.engines.shipped import model_file
    from perception.engines.tensorrt.compile import compile_engine
    from perception.engines.tensorrt.library import load_library
    from perception.engines.tensorrt.shapes import choose_shapes
    from perception.files import check_folder, write_whole
    from perception.terminal import StatusLine

    if args.layers:
        check_folder(Path(args.layers))
    model = model_file(args.model)
    shapes = choose_shapes(read_spec(model), args.size, args.batch)
    library = load_library(args.backend)
    recipe, gpu_name = _recipe(args, library, shapes)
    line = StatusLine(sys.stderr)
    with _cancelled_by_signals() as cancelled:
        try:
            found = compile_engine(
                library,
                model,
                recipe,
                gpu_name=gpu_name,
                force=args.force or args.layers is not None,
                show=line.show,
                cancelled=cancelled,
            )
        finally:
            line.clear()
    if args.layers:
        rows = [{"name": x.name, "kind": x.kind, "outputs": x.outputs, "nodes": x.nodes} for x in found.layers]
        write_whole(Path(args.layers), json.dumps(rows, indent=1) + "\n")
    if args.json:
        print(json.dumps({"path": str(found.path), "was_cached": found.was_cached, **found.passport.to_json()}))
    else:
        print(f"{found.path}\n{found.passport}{' It was in the cache.' if found.was_cached else ''}")
    return 0


def _recipe(args: argparse.Namespace, library: Library, shapes: Any) -> tuple[Recipe, str | None]:
    """What to compile, and the name of the GPU that is compiled on, if it is this machine's."""
    from perception.engines.tensorrt.build import Recipe, targets
    from perception.engines.tensorrt.cuda import find_gpu

    switches = {"tf32": not args.no_tf32, "fused_argmax": not args.topk_argmax}
    wanted = args.gpu.lower().replace("_", "")
    known = targets(library)
    if wanted != "current":
        if wanted not in known:
            choice = f"Choose one of: current, {', '.join(known)}." if known else "It compiles for --gpu current only."
            raise ConfigError(f"{library} does not compile for --gpu {args.gpu}. {choice}")
        return Recipe(wanted, shapes, **switches), None
    try:
        gpu = find_gpu()
    except EngineUnavailable as error:
        hint = f" To compile for another machine's GPU name it: --gpu {'|'.join(known)}." if known else ""
        raise EngineUnavailable(f"{error}{hint}") from None
    return Recipe(gpu.target, shapes, is_current_gpu=True, **switches), gpu.name


@contextmanager
def _cancelled_by_signals() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM only set what the callable tells: TensorRT ends at its next step."""
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: seen.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
