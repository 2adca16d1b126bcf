"""From a model and wishes to an engine in the cache: find it there, or build it once however many ask."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perception.cache import cache_folder
from perception.engines.contract import read_spec
from perception.engines.tensorrt.build import Built, Recipe, build_plan
from perception.engines.tensorrt.cache import build_lock, cache_key, engine_path
from perception.engines.tensorrt.layers import Layer, summarise
from perception.engines.tensorrt.library import Library
from perception.engines.tensorrt.passport import Passport, load_checked, read_passport, write_passport
from perception.errors import EngineError
from perception.files import write_whole


@dataclass(frozen=True, slots=True)
class Compiled:
    """An engine in the cache."""

    path: Path
    passport: Passport
    was_cached: bool
    layers: tuple[Layer, ...]  # empty where it was cached


def compile_engine(
    library: Library,
    model: Path,
    recipe: Recipe,
    *,
    gpu_name: str | None = None,
    force: bool = False,
    show: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Compiled:
    """The engine of a model for a recipe: from the cache where a whole one lies there, else compiled.

    Two processes that ask for the same engine compile it once: the second waits for the first.

    Args:
        gpu_name: of the GPU that it is compiled on; None when it is for another machine's.
        force: compile even if it is in the cache.
        cancelled: once true, waiting and compiling end.

    Raises:
        ModelError: the model is missing, breaks the graph contract, or cannot be compiled.
        OutputError: the cache cannot be written.
        KeyboardInterrupt: ``cancelled`` became true.
    """
    spec = read_spec(model)
    path = engine_path(spec.id, cache_key(spec.sha256, library, recipe))

    def waiting() -> None:
        show("another process is compiling this engine: waiting for it")
        if cancelled():
            raise KeyboardInterrupt

    with build_lock(path, waiting):
        passport = None if force else _whole(path)
        if passport is not None:
            return Compiled(path, passport, True, ())
        timings = cache_folder("timings") / f"{library.backend}-{library.version}-{recipe.target}.bin"
        known = timings.read_bytes() if timings.is_file() else b""
        built = build_plan(library, model, recipe, timing=known, show=show, cancelled=cancelled)
        if built.timing:
            write_whole(timings, built.timing)
        passport = Passport(
            sha256=hashlib.sha256(built.plan).hexdigest(),
            bytes=len(built.plan),
            backend=library.backend,
            version=library.version,
            target=recipe.target,
            gpu=gpu_name,
            onnx=str(model.resolve()),
            onnx_sha256=spec.sha256,
            precision=spec.precision,
            shapes=recipe.shapes,
            flags=recipe.flags(),
            build_seconds=round(built.seconds, 3),
            built=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            outputs=spec.outputs,
            card=spec.card,
            layers=summarise(built.layers),
        )
        _store(path, built, passport)
        return Compiled(path, passport, False, built.layers)


def _whole(path: Path) -> Passport | None:
    """The passport of an engine that is there and undamaged."""
    try:
        passport = read_passport(path)
        load_checked(path, passport)
    except EngineError:
        return None
    return passport


def _store(path: Path, built: Built, passport: Passport) -> None:
    """The passport comes last: an engine without one is not used, so nobody sees the pair half-written."""
    write_whole(path, built.plan)
    write_passport(path, passport)
