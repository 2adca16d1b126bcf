"""What TensorRT makes of exported models, without a GPU: time to compile, size, kernels, both forms of the argmax.

    python benchmarks/tensorrt_builds.py MODEL.onnx... [--gpu sm89] [--size 1024x512] [--batch 1,1,8] [--out FILE]

The layers come from the builder's own listing, which is what the engine inspector shows on the GPU.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from perception.engines.contract import read_spec
from perception.engines.tensorrt.build import Built, Recipe, build_plan
from perception.engines.tensorrt.layers import summarise
from perception.engines.tensorrt.library import Library, load_library
from perception.engines.tensorrt.shapes import choose_shapes
from perception.files import write_whole

HEAD = 10  # layers at the end of a network that are kept of the form that is not used


def main() -> None:
    """Build every model twice, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description="Compile models with TensorRT and keep what it made of them.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--gpu", default="sm89", help="default: %(default)s")
    parser.add_argument("--size", default="1024x512", help="default: %(default)s")
    parser.add_argument("--batch", default="1,1,8", help="default: %(default)s")
    parser.add_argument("--brief", action="store_true", help="keep counts only, no layers")
    parser.add_argument("--out", type=Path, help="JSON file to write, or to add to")
    args = parser.parse_args()
    library = load_library("tensorrt_rtx")
    result = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    result |= {"library": str(library), "gpu": args.gpu}
    for model in args.models:
        spec = read_spec(model)
        shapes = choose_shapes(spec, args.size, args.batch)
        fused, topk = (
            build_plan(library, model, Recipe(args.gpu, shapes, fused_argmax=fused)) for fused in (True, False)
        )
        name = f"{spec.id} {spec.precision}"
        result.setdefault("engines", {})[name] = {
            "shapes": str(shapes),
            "onnx_mb": round(model.stat().st_size / 1e6, 1),
            "fused argmax": figures(fused, None if not args.brief else 0),
            "topk argmax": figures(topk, HEAD if not args.brief else 0),
        }
        print(line(name, library, fused, topk), flush=True)
    if args.out:
        write_whole(args.out, json.dumps(result, indent=1) + "\n")


def figures(built: Built, last: int | None) -> dict[str, object]:
    """Counts of one build, and its last layers, or all with None."""
    layers = built.layers if last is None else built.layers[len(built.layers) - last :]
    return {
        "engine_mb": round(len(built.plan) / 1e6, 1),
        "build_seconds": round(built.seconds, 1),
        **summarise(built.layers),
        "layers": [f"{layer.kind}: {layer.name} -> {', '.join(layer.outputs)}" for layer in layers],
    }


def line(name: str, library: Library, fused: Built, topk: Built) -> str:
    """One row of the table."""
    kernels = [summarise(built.layers)["kernels"] for built in (fused, topk)]
    return (
        f"{name:24}{len(fused.plan) / 1e6:8.1f} MB{fused.seconds:7.1f} s{kernels[0]:5} kernels, "
        f"{kernels[1]} with TopK ({library})"
    )


if __name__ == "__main__":
    main()
