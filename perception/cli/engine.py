"""``roadcast engine``: compile models with TensorRT, and look after the compiled engines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.cli import engine_build
from perception.errors import ConfigError

if TYPE_CHECKING:
    from perception.engines.tensorrt.passport import Passport

EPILOG = """\
A node runs the newest engine of its model that fits the GPU: roadcast run SOURCE --engine tensorrt --model MODEL.onnx
Engines lie in ROADCAST_CACHE, by default ~/.cache/roadcast. Ship ONNX files, never engines: an engine fits one version
of TensorRT and one kind of GPU."""


def add_parser(commands: Any) -> None:
    """Add the command with its verbs to the parser of ``roadcast``."""
    parser = commands.add_parser(
        "engine",
        help="compile a model with TensorRT; show, verify and remove compiled engines",
        description="Compile models with TensorRT ahead of time, and look after the compiled engines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    text = "compile an exported model; an engine that is in the cache is not compiled again"
    engine_build.add_arguments(_verb(verbs, "build", engine_build.run, text))
    _verb(verbs, "info", run_info, "show an engine's passport and whether it fits here").add_argument(
        "engine", metavar="ENGINE|MODEL.onnx", help="an engine file, or the model whose newest engine is meant"
    )
    verify = _verb(
        verbs, "verify", run_verify, "compare an engine with ONNX Runtime on the CPU, and note it (needs the GPU)"
    )
    verify.add_argument(
        "engine", metavar="ENGINE|MODEL.onnx", help="an engine file, or the model whose newest is meant"
    )
    verify.add_argument(
        "--reference", metavar="FILE.onnx", help="what is right (default: the file it was compiled from)"
    )
    verify.add_argument("--frames", type=int, default=48, metavar="N", help="rendered frames (default: %(default)s)")
    _verb(verbs, "list", run_list, "list the compiled engines")
    prune = _verb(verbs, "prune", run_prune, "remove engines that cannot be used, and what interrupted builds left")
    prune.add_argument("--keep", type=int, metavar="N", help="of each model keep the newest N only")
    prune.add_argument("--all", action="store_true", help="remove every engine")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")


def _verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)
    return parser


def run_info(args: argparse.Namespace) -> int:
    """Show a passport; 1 if the engine cannot be used here. Raises RoadcastError."""
    from perception.engines.shipped import model_file
    from perception.engines.tensorrt.open import find_engine
    from perception.engines.tensorrt.passport import load_checked, read_passport

    path = find_engine(model_file(args.engine))
    passport = read_passport(path)
    load_checked(path, passport)
    problem = _problem_here(path, passport)
    if args.json:
        print(json.dumps({"path": str(path), "usable": problem is None, "problem": problem, **passport.to_json()}))
    else:
        print(f"{path}\n{passport}\ncompiled from {passport.onnx} (sha256 {passport.onnx_sha256[:16]})")
        print(problem or "It fits this machine.")
    return 0 if problem is None else 1


def _problem_here(path: Path, passport: Passport) -> str | None:
    """One sentence about why a node could not use the engine on this machine; None where it could."""
    from perception.engines.tensorrt.cuda import find_gpu
    from perception.engines.tensorrt.library import load_library
    from perception.engines.tensorrt.passport import check_fits, check_verified
    from perception.errors import RoadcastError

    try:
        library = load_library(passport.backend)
        check_fits(path, passport, library, None)
        check_verified(path, passport)
        check_fits(path, passport, library, find_gpu().target)
    except RoadcastError as error:
        return str(error)
    return None


def run_verify(args: argparse.Namespace) -> int:
    """Measure an engine against its reference and note it in the passport; 1 if it differs too much."""
    from perception.engines.shipped import model_file
    from perception.engines.tensorrt.open import find_engine
    from perception.engines.tensorrt.verification import verify
    from perception.terminal import StatusLine

    if args.frames < 1:
        raise ConfigError(f"--frames must be at least 1, got {args.frames}.")
    path = find_engine(model_file(args.engine))
    line = StatusLine(sys.stderr)
    try:
        passport = verify(path, Path(args.reference) if args.reference else None, args.frames, show=line.show)
    finally:
        line.clear()
    found = passport.verified
    assert found is not None  # verify has just put it there
    objection = found.objection()
    if args.json:
        print(json.dumps({"path": str(path), "objection": objection, **passport.to_json()["verified"]}))
    else:
        print(f"{path}\n{passport}\n{f'A node refuses it: {objection}.' if objection else 'It may be used.'}")
    return 1 if objection else 0


def run_list(args: argparse.Namespace) -> int:
    """List the cache. Always 0."""
    from perception.engines.tensorrt.cache import engines_folder, entries

    found = entries()
    if args.json:
        rows = [
            {"path": str(x.path), "problem": x.problem, **(x.passport.to_json() if x.passport else {})} for x in found
        ]
        print(json.dumps({"folder": str(engines_folder()), "engines": rows}))
        return 0
    for entry in found:
        print(f"{entry.path.name}\n    {entry.passport or entry.problem}")
    print(f"{len(found)} engine{'s'[: len(found) != 1]} in {engines_folder()}")
    return 0


def run_prune(args: argparse.Namespace) -> int:
    """Remove what is of no use. Raises OutputError."""
    from perception.engines.tensorrt.prune import prune

    if args.keep is not None and args.keep < 0:
        raise ConfigError(f"--keep must be 0 or more, got {args.keep}.")
    gone = prune(keep=0 if args.all else args.keep, dry_run=args.dry_run)
    if args.json:
        print(json.dumps({"dry_run": args.dry_run, "removed": [{"path": str(p), "reason": why} for p, why in gone]}))
        return 0
    for path, why in gone:
        print(f"{path.name}: {why}")
    print(f"{'would remove' if args.dry_run else 'removed'} {len(gone)} file{'s'[: len(gone) != 1]}")
    return 0
