"""What it costs to tell objects apart, and whether every engine gives the bytes of the reference.

    python benchmarks/grouping.py [--size 1024x512] [--rounds 50] [--maps 3000] [--out FILE.json]
    python benchmarks/grouping.py --keras MODEL.keras --data KIND:DIR[:SPLIT] [--pixels 184320] [--out FILE.json]
    python benchmarks/grouping.py --model WITH.onnx --without PLAIN.onnx [--frames 300] [--out FILE.json]

The first form times the grouping in the graph (one core, maps of the size that a network of --size gives, street and
extremes) and the node's own stage after it, and sweeps random maps by seed. The second compares in the same way what a
head for centres says of real frames. The third runs a node on a rendered
street in turns with the model that gives objects, to a subscriber of labels and objects, and the same model exported
with --no-objects, to a subscriber of labels: the ratio of their frame rates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from grouping_maps import PERSON, Maps, dotted, extremes, random_maps, real_maps

from perception.bench.clip import prepare_clip
from perception.bench.machine import hardware, software
from perception.classes import CITYSCAPES
from perception.client import Subscriber
from perception.files import write_whole
from perception.measure import node
from perception.stages.centres import CentreSettings, group_by_centres
from perception.stages.objects import MIN_AREA, separate
from perception.stages.votes import Grouped
from perception.terminal import StatusLine
from perception.types import Segmentation

Run = Callable[[Maps], Maps]

NAMES = ("labels", "confidence", "ids", "id_scores")
SWEPT = [(1, 8, 8), (1, 32, 64), (2, 24, 80), (3, 48, 40)]  # (N, H, W) of cells
SETTINGS = CentreSettings()


def main() -> None:
    """Print every figure; write them all with --out."""
    parser = argparse.ArgumentParser(description="Measure the grouping of objects.")
    parser.add_argument("--size", default="1024x512", help="of the network (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--maps", type=int, default=3000, help="random maps to compare with the reference")
    parser.add_argument("--keras", type=Path, help="a model with a head for centres")
    parser.add_argument("--data", action="append", default=[], metavar="KIND:DIR[:SPLIT]")
    parser.add_argument("--pixels", type=int, default=184320, help="of the network on --data (default %(default)s)")
    parser.add_argument("--model", help="a model that gives objects")
    parser.add_argument("--without", help="the same without them")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if bool(args.model) != bool(args.without):
        raise SystemExit("--model and --without go together.")
    if bool(args.keras) != bool(args.data):
        raise SystemExit("--keras and --data go together.")
    result: Mapping[str, Any]
    if args.keras:
        found = (maps for text in args.data for maps in real_maps(args.keras, text, args.pixels))
        result = {"real": compared(found)}
    elif args.model:
        result = node_ratio(args.model, args.without, args.engine, args.frames)
    else:
        width, height = map(int, args.size.split("x"))
        result = {
            "cost_ms": costs((height // 4, width // 4), args.rounds),
            "node_ms_with_65535_ids": ids_at_their_limit(args.rounds),
            "sweep": sweep(args.maps),
        }
    for name, figures in result.items():
        print(name, json.dumps(figures, indent=1))
    if args.out:
        before = json.loads(args.out.read_text()) if args.out.exists() else {}
        document = {**before, "machine": hardware(), "software": software(), **result}
        write_whole(args.out, json.dumps(document, indent=1) + "\n")


def costs(cells: tuple[int, int], rounds: int) -> Mapping[str, Any]:
    """Milliseconds, median and fastest, of the graph's part in each engine and of the node's stage, by scene."""
    scenes = dict(extremes(cells))
    engines = dict(_engines(next(iter(scenes.values()))))
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for scene, maps in scenes.items():
            for engine, run in engines.items():
                taken = times.setdefault((scene, engine), [])
                started = time.perf_counter()
                run(maps)
                taken.append(time.perf_counter() - started)
            for name, stage in _stages(maps, MIN_AREA if scene == "street" else 0).items():
                taken = times.setdefault((scene, name), [])
                started = time.perf_counter()
                stage()
                taken.append(time.perf_counter() - started)
    table: dict[str, dict[str, list[float]]] = {}
    for (scene, what), taken in times.items():
        figures = [round(1000 * value, 2) for value in (statistics.median(taken), min(taken))]
        table.setdefault(scene, {})[what] = figures
    return table


def ids_at_their_limit(rounds: int) -> list[float]:
    """Milliseconds, median and fastest, of the node's stage on a map of 1024x512 with 65,535 ids."""
    found = dotted((256, 512), 65_535)
    labels, ids = found["labels_in"][0], np.zeros((512, 1024), np.int32)
    ids[labels == PERSON] = np.arange(1, 65_536)
    given = Segmentation(labels, found["confidence_in"][0], ids, np.linspace(0, 1, 65_535, dtype=np.float32))
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        separate(given, CITYSCAPES, min_area=0)
        times.append(1000 * (time.perf_counter() - started))
    return [round(statistics.median(times), 2), round(min(times), 2)]


def _stages(maps: Maps, min_area: int) -> dict[str, Callable[[], object]]:
    """The node's stage on what the graph gives, and on components alone, without the reference's own time."""
    found = _reference(maps, 0)
    own = Segmentation(found.labels, found.confidence, found.ids, found.id_scores)
    plain = Segmentation(maps["labels_in"][0], maps["confidence_in"][0])
    return {
        "node, ids": lambda: separate(own, CITYSCAPES, min_area=min_area),
        "node, components": lambda: separate(plain, CITYSCAPES, min_area=min_area),
    }


def sweep(count: int) -> Mapping[str, Any]:
    """What came of random maps, by seed."""
    each = count // len(SWEPT)
    return compared(random_maps(seed, shape) for shape in SWEPT for seed in range(each))


def compared(all_maps: Iterable[Maps]) -> Mapping[str, Any]:
    """How many maps each engine grouped, how many objects they held, and how many outputs differ from the
    reference's bytes. Engines are made anew where the shape changes."""
    line = StatusLine(sys.stderr)
    differing: dict[str, int] = {}
    shape: tuple[int, ...] = ()
    count = objects = 0
    for maps in all_maps:
        if maps["offsets"].shape != shape:
            shape, engines = maps["offsets"].shape, dict(_engines(maps))
        found = [_reference(maps, frame) for frame in range(shape[0])]
        wanted = {name: np.stack([getattr(one, name) for one in found]) for name in NAMES}
        for engine, run in engines.items():
            given = run(maps)
            wrong = sum(not np.array_equal(wanted[name], given[name]) for name in NAMES)
            differing[engine] = differing.get(engine, 0) + wrong
        count += shape[0]
        objects += sum(len(np.unique(one.ids[one.ids > 0])) for one in found)
        if count % 50 == 0:
            line.show(f"{count} maps")
    line.clear()
    return {"maps": count, "objects": objects, "outputs_that_differ": differing}


def _reference(maps: Maps, frame: int) -> Grouped:
    labels, sure, heat, offsets = (array[frame] for array in maps.values())
    return group_by_centres(labels, sure, heat[0], offsets, CITYSCAPES.thing_ids(), SETTINGS)


def _engines(example: Maps) -> Iterator[tuple[str, Run]]:
    """The grouping alone on one core, in every engine that is installed."""
    import onnxruntime

    from training.grouping_model import grouping_model

    model = grouping_model("centre", SETTINGS).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    yield "ONNX Runtime", lambda maps: dict(zip(NAMES, session.run(list(NAMES), maps)))
    try:
        import openvino
    except ImportError:
        return
    core = openvino.Core()
    for precision in ("f32", "bf16"):
        network = core.read_model(model)
        network.reshape({name: list(array.shape) for name, array in example.items()})
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        request = core.compile_model(network, "CPU", settings).create_infer_request()

        def run(maps: Maps, request: Any = request) -> Maps:
            request.infer(maps, share_inputs=True)
            return {name: request.get_tensor(name).data for name in NAMES}

        yield f"OpenVINO {precision}", run


def node_ratio(model: str, without: str, engine: str, frames: int, rounds: int = 5) -> Mapping[str, Any]:
    """Frames a second of a node with objects and without, in turns, and the median of the ratios."""
    line = StatusLine(sys.stderr)
    clip = prepare_clip(None, frames, line.show)
    line.clear()
    rates: dict[str, list[float]] = {"with objects": [], "without": []}
    for _ in range(rounds):
        for name, path, kinds in (("with objects", model, ("labels", "objects")), ("without", without, ("labels",))):
            rates[name].append(_rate(clip.path, path, kinds, engine, frames))
    ratios = [a / b for a, b in zip(*rates.values())]
    return {"node_fps": rates, "node_ratio": round(statistics.median(ratios), 3)}


def _rate(clip: Path, model: str, kinds: tuple[str, ...], engine: str, frames: int) -> float:
    """Frames a second that a subscriber in this process receives, the first tenth left out."""
    arrivals = []
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        settings = {"engine": engine, "model": model}
        with (
            Subscriber(endpoint, kinds=kinds, timeout=300.0) as subscriber,
            node(str(clip), endpoint, frames, live=False, settings=settings) as child,
        ):
            for _ in subscriber.scenes():
                arrivals.append(time.monotonic())
            child.communicate(timeout=120)
    counted = arrivals[len(arrivals) // 10 :]
    return round((len(counted) - 1) / (counted[-1] - counted[0]), 2)


if __name__ == "__main__":
    main()
