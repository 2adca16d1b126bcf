"""What enhancement is worth: PSNR and SSIM against methods that learn nothing, and mIoU on spoilt frames.

python benchmarks/enhancement.py --data camvid:DIR:proxy --data kitti:DIR:proxy --labelled camvid:DIR:val
    [--finetuned lowlight=seg.onnx] [--compare fcn8s=runs/fcn8s/model.keras] [--grids resize=runs/conv/model.keras]
    [--frames 24] --out result.json

--data are frames that nothing was trained on; PSNR needs no labels. --labelled are frames with labels, scored with the
default model, with each enhancement before it, and with models given by --finetuned. All noise depends on the frame
alone. --compare adds super-resolution networks that take a frame enlarged bilinearly; --grids are networks
whose pictures, of frames with Gaussian noise, are searched for checkerboards. Times: benchmarks/precisions.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from perception.engines.enhancement import read_enhancement
from perception.engines.open import open_engine
from perception.files import write_whole
from perception.types import Image
from training.cli.quiet import load_keras
from training.cli.texts import score_names
from training.data.datasets import open_dataset, read_image
from training.data.degrade import KINDS

# Spoilt how, and shrunk by what; each is undone by the enhancement of the same place.
CASES = {
    "gaussian": ("denoise", 1),
    "shot": ("denoise", 1),
    "lowlight": ("lowlight", 1),
    "dark": ("lowlight", 1),
    "half size": ("superres", 2),
}
SEARCHED = 4  # frames that the setting of a method is searched on
Method = Callable[[Image], Image]


def main() -> int:
    """Print the tables and write the result; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", default=[], metavar="KIND:DIR[:SPLIT]")
    parser.add_argument("--labelled", action="append", default=[], metavar="KIND:DIR[:SPLIT]")
    parser.add_argument("--finetuned", action="append", default=[], metavar="CASE=FILE.onnx")
    parser.add_argument("--compare", action="append", default=[], metavar="NAME=MODEL.keras")
    parser.add_argument("--grids", action="append", default=[], metavar="NAME=MODEL.keras")
    parser.add_argument("--frames", type=int, default=24, help="of each data set, evenly spread")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    load_keras()
    result: dict[str, Any] = {"command": [Path(sys.argv[0]).name], "frames": args.frames}
    for text, name in score_names(args.data).items():
        result[name] = pictures(text, args.frames, dict(part.split("=", 1) for part in args.compare))
        show(name, result[name])
        if args.grids:
            found = grids(text, args.frames, dict(part.split("=", 1) for part in args.grids))
            result[f"checkerboards on {name}"] = found
            print(json.dumps(found, indent=1))
    finetuned = dict(part.split("=", 1) for part in args.finetuned)
    for text, name in score_names(args.labelled).items():
        result[f"mIoU on {name}"] = labels(text, finetuned, args.engine)
        print(json.dumps(result[f"mIoU on {name}"], indent=1))
    if args.out:
        write_whole(args.out, json.dumps(result, indent=1) + "\n")
    return 0


def pictures(text: str, limit: int, compared: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """By case and method: mean PSNR and SSIM of the frames of a data set."""
    from training.metrics.picture import psnr, ssim
    from training.restoration.album import spread, whole
    from training.restoration.degraded import spoiler

    truths = [whole(read_image(pair), 2) for pair in spread(open_dataset(text, labelled=False), limit)]
    found: dict[str, dict[str, list[float]]] = {}
    for case, (enhancement, factor) in CASES.items():
        spoil = spoiler(KINDS.get(case), factor=factor)  # type: ignore[call-overload]
        pairs = [(spoil(truth), truth) for truth in truths]
        methods = methods_of(case, pairs, compared)
        methods[enhancement] = shipped(enhancement)
        for name, method in methods.items():
            scores = [(psnr(made, truth), ssim(made, truth)) for made, truth in ((method(s), t) for s, t in pairs)]
            found.setdefault(case, {})[name] = [round(float(value), 3) for value in np.mean(scores, axis=0)]
    return found


def methods_of(case: str, pairs: Sequence[tuple[Image, Image]], compared: dict[str, str]) -> dict[str, Method]:
    """What a case is met with besides its enhancement."""
    from training.restoration import baselines
    from training.restoration.restorer import keras_restorer, load_restorer

    few = pairs[:: max(1, len(pairs) // SEARCHED)][:SEARCHED]
    if case in ("gaussian", "shot", "lowlight"):
        sigma, blur = baselines.best(baselines.gaussian_blur, baselines.BLURS, few)
        h, means = baselines.best(baselines.non_local_means, baselines.STRENGTHS, few)
        return {"nothing": lambda image: image, f"blur, sigma {sigma:g}": blur, f"non-local means, h {h:g}": means}
    if case == "dark":
        return {"nothing": lambda image: image, "brightened": baselines.brightened}
    bilinear = baselines.enlarged(cv2.INTER_LINEAR)
    methods: dict[str, Method] = {
        "bilinear": bilinear,
        "bicubic, a -0.75": baselines.enlarged(cv2.INTER_CUBIC),
        "bicubic, a -0.5": baselines.bicubic,
        "Lanczos": baselines.enlarged(cv2.INTER_LANCZOS4),
    }
    for name, path in compared.items():
        methods[name] = after(bilinear, keras_restorer(load_restorer(Path(path))))
    return methods


def grids(text: str, limit: int, networks: dict[str, str]) -> dict[str, dict[str, float]]:
    """By network: how far its pictures stand out at half the sampling frequency (dB; the truth's own is the first
    row), and their PSNR."""
    from training.metrics.picture import checkerboard, psnr
    from training.restoration.album import spread, whole
    from training.restoration.degraded import spoiler
    from training.restoration.restorer import keras_restorer, load_restorer

    truths = [whole(read_image(pair), 32) for pair in spread(open_dataset(text, labelled=False), limit)]
    spoil = spoiler(KINDS["gaussian"])
    found = {"the truth": {"checkerboard": round(float(np.mean([checkerboard(truth) for truth in truths])), 2)}}
    for name, path in networks.items():
        restore = keras_restorer(load_restorer(Path(path)))
        made = [restore(spoil(truth)) for truth in truths]
        found[name] = {
            "checkerboard": round(float(np.mean([checkerboard(picture) for picture in made])), 2),
            "PSNR": round(float(np.mean([psnr(picture, truth) for picture, truth in zip(made, truths)])), 2),
        }
    return found


def after(first: Method, second: Method) -> Method:
    """One method on what another made."""
    return lambda image: second(first(image))


def shipped(name: str) -> Method:
    """The file that comes with the package, for frames of any size: filled up at the edges, and cut again."""
    enhancement = read_enhancement(name)
    session = onnxruntime.InferenceSession(str(enhancement.path))
    step, factor = enhancement.multiple, enhancement.factor

    def enhance(image: Image) -> Image:
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
        made = session.run(["image"], {"frame": padded[None]})[0][0]
        return np.asarray(made[: height * factor, : width * factor], np.uint8)

    return enhance


def labels(text: str, finetuned: dict[str, str], engine: str) -> dict[str, dict[str, float]]:
    """By case: mean IoU of the default model, of the same behind the case's enhancement, and of models for the case."""
    from training.evaluate import evaluate
    from training.restoration.degraded import degraded_predictor, spoiler

    pairs = open_dataset(text)

    def scored(case: str | None, **model: Any) -> float:
        factor = CASES[case][1] if case else 1
        spoil = spoiler(KINDS.get(case), factor=factor)  # type: ignore[call-overload]
        with closing(open_engine(engine, mode="latency", **model)) as opened:
            return round(evaluate(degraded_predictor(opened, spoil), pairs).mean_iou, 4)

    found: dict[str, dict[str, float]] = {"as it is": {"default": scored(None)}}
    for case, (enhancement, _) in CASES.items():
        found[case] = {"default": scored(case), enhancement: scored(case, enhance=enhancement)}
        if case in finetuned:
            found[case]["fine-tuned"] = scored(case, model=Path(finetuned[case]))
            found["as it is"][f"fine-tuned for {case}"] = scored(None, model=Path(finetuned[case]))
    for enhancement in ("denoise", "lowlight"):
        found["as it is"][enhancement] = scored(None, enhance=enhancement)
    return found


def show(name: str, cases: dict[str, dict[str, list[float]]]) -> None:
    """A table for people."""
    for case, methods in cases.items():
        print(f"{name}, {case}")
        for method, (ratio, alike) in methods.items():
            print(f"  {method:<26}{ratio:8.2f} dB  {alike:.4f}")


if __name__ == "__main__":
    sys.exit(main())
