"""The passport of a compiled engine: a JSON file beside it that says what it is, checked before it is loaded.

TensorRT loads an engine only with the version and on the GPU that it was compiled for, and what it does with other or
damaged bytes ranges from an error to the end of the process. So nothing reaches it that its passport does not cover.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from perception.engines.tensorrt.library import BACKENDS, TITLES, Backend, Library
from perception.engines.tensorrt.shapes import Shapes
from perception.errors import EngineError
from perception.files import write_whole

FORMAT = 1
LEAST_AGREEMENT = 0.99  # share of pixels with the reference's label below which a node refuses an engine
LARGEST_MIOU_LOSS = 0.01


@dataclass(frozen=True, slots=True)
class Verification:
    """What ``roadcast engine verify`` measured: an engine against a reference on the same frames."""

    frames: int
    agreement: float  # share of pixels with the same label
    worst_frame: float
    miou: float | None  # on frames whose truth is known
    reference_miou: float | None
    p50_ms: float  # submit to result, one batch at a time
    p99_ms: float
    reference: str  # what it was compared with
    gpu: str
    driver: str
    date: str

    def __str__(self) -> str:
        """What was measured, in one line."""
        miou = "" if self.miou is None else f", mean IoU {self.miou:.3f} against {self.reference_miou:.3f}"
        return (
            f"agrees with {self.reference} on {self.agreement:.3%} of the pixels (worst frame {self.worst_frame:.2%})"
            f"{miou}; p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms on {self.gpu}."
        )

    def objection(self) -> str | None:
        """Half a sentence about why a node must not use the engine; None where it may."""
        if self.agreement < LEAST_AGREEMENT:
            return (
                f"it agrees with the reference on {self.agreement:.2%} of the pixels, {LEAST_AGREEMENT:.0%} are needed"
            )
        if self.miou is not None and self.reference_miou is not None:
            loss = self.reference_miou - self.miou
            if loss > LARGEST_MIOU_LOSS:
                return f"its mean IoU is {loss:.3f} below the reference's, {LARGEST_MIOU_LOSS} is allowed"
        return None


@dataclass(frozen=True)
class Passport:
    """Everything that must hold for an engine file to be loaded, and what is known about it."""

    sha256: str  # of the engine file, hex
    bytes: int
    backend: Backend
    version: str  # of TensorRT
    target: str  # "sm89"
    gpu: str | None  # name, where it was compiled on the GPU itself
    onnx: str  # path of the model it was compiled from
    onnx_sha256: str
    precision: str
    shapes: Shapes
    flags: Mapping[str, bool]
    build_seconds: float
    built: str  # date and time, UTC
    outputs: tuple[str, ...]  # of the graph contract
    card: Mapping[str, str]  # the ONNX file's metadata
    layers: Mapping[str, Any] = field(default_factory=dict)  # a summary of the compiled layers
    verified: Verification | None = None

    def __str__(self) -> str:
        """What the engine is, in one line, and what was measured of it in a second."""
        text = (
            f"{self.card.get('roadcast.id', '?')}, {self.precision}, {self.shapes}, for {self.target} by "
            f"{self.backend} {self.version}; {self.bytes / 1e6:.1f} MB, compiled in {self.build_seconds:.1f} s, "
            f"{self.built[:10]}; {self.layers.get('kernels', '?')} kernels."
        )
        return f"{text} Not verified." if self.verified is None else f"{text}\n{self.verified}"

    def rebuild(self) -> str:
        """The command that compiles the engine again."""
        given = "" if self.gpu else f" --gpu {self.target}"
        switches = "" if self.flags.get("tf32", True) else " --no-tf32"
        switches += "" if self.flags.get("fused_argmax", True) else " --topk-argmax"
        wishes = f"{self.shapes.flags()}{given}{switches} --backend {self.backend}"
        return f"roadcast engine build {shlex.quote(self.onnx)} {wishes}"

    def mismatch(self, library: Library, gpu_target: str | None) -> str | None:
        """Half a sentence about why this library cannot run the engine on this GPU; None where it can.

        Without a target only the library is judged.
        """
        if library.backend != self.backend:
            return f"it was compiled by {TITLES[self.backend]}, and {TITLES[library.backend]} is to run it"
        if library.version != self.version:
            return f"it was compiled by {TITLES[self.backend]} {self.version}, and {library.version} is installed"
        if gpu_target is not None and gpu_target != self.target:
            return f"it was compiled for {self.target}, and this GPU is {gpu_target}"
        return None

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {"format": FORMAT, **asdict(self), "shapes": self.shapes.to_json()}


def passport_path(engine: Path) -> Path:
    """Where the passport of an engine file lies."""
    return engine.with_suffix(".json")


def write_passport(engine: Path, passport: Passport) -> None:
    """Write the passport beside the engine. Raises OutputError."""
    write_whole(passport_path(engine), json.dumps(passport.to_json(), indent=1) + "\n")


def read_passport(engine: Path) -> Passport:
    """Read the passport of an engine file, without looking at the engine itself.

    Raises:
        EngineError: there is none, or it is damaged.
    """
    path = passport_path(engine)
    remedy = "Compile the engine again: roadcast engine build MODEL.onnx"
    try:
        return _from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise EngineError(f"The engine {str(engine)!r} has no passport {path.name!r} beside it. {remedy}") from None
    except OSError as error:
        raise EngineError(f"Cannot read the passport {str(path)!r}: {error.strerror}. {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"The passport {str(path)!r} is damaged ({error}). {remedy}") from None


def _from_json(found: Any) -> Passport:
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']}, this version reads {FORMAT}")
    if found["backend"] not in BACKENDS:
        raise ValueError(f"unknown backend {found['backend']!r}")
    verified = found["verified"]
    values = {name: found[name] for name in Passport.__dataclass_fields__}
    for name in ("sha256", "onnx_sha256", "version", "target", "onnx"):
        if not isinstance(values[name], str):
            raise TypeError(f"{name!r} is no text")
    return Passport(
        **{
            **values,
            "bytes": int(found["bytes"]),
            "shapes": Shapes.from_json(found["shapes"]),
            "outputs": tuple(found["outputs"]),
            "flags": dict(found["flags"]),
            "card": {str(key): str(value) for key, value in found["card"].items()},
            "verified": None if verified is None else Verification(**verified),
        }
    )


def load_checked(engine: Path, passport: Passport) -> bytes:
    """The bytes of an engine file, which are those that its passport was written for.

    Raises:
        EngineError: the file is missing, cut short or changed.
    """
    remedy = f"Compile it again: {passport.rebuild()}"
    try:
        plan = engine.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise EngineError(f"Cannot read the engine {str(engine)!r}: {reason}. {remedy}") from None
    if len(plan) != passport.bytes:
        raise EngineError(
            f"The engine {str(engine)!r} holds {len(plan)} bytes, its passport says {passport.bytes}: "
            f"it was cut short or replaced. {remedy}"
        )
    if hashlib.sha256(plan).hexdigest() != passport.sha256:
        raise EngineError(f"The engine {str(engine)!r} is damaged: its sha256 is not its passport's. {remedy}")
    return plan


def check_fits(engine: Path, passport: Passport, library: Library, gpu_target: str | None) -> None:
    """Raise EngineError, with the command that compiles it again, where the engine cannot run here."""
    mismatch = passport.mismatch(library, gpu_target)
    if mismatch:
        raise EngineError(f"The engine {str(engine)!r} cannot run here: {mismatch}. Compile it: {passport.rebuild()}")


def check_verified(engine: Path, passport: Passport) -> None:
    """Raise EngineError where the engine failed its verification. One that was never verified passes."""
    objection = passport.verified.objection() if passport.verified else None
    if objection:
        raise EngineError(
            f"The engine {str(engine)!r} failed its verification: {objection}. Export the model in another precision, "
            f"or compile it again and verify: {passport.rebuild()}"
        )


def with_verification(passport: Passport, verification: Verification) -> Passport:
    """The passport with a new measurement in it."""
    return replace(passport, verified=verification)
