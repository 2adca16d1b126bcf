"""Which TensorRT is there: the full library or TensorRT for RTX, behind the few names that both share."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, get_args

from perception.errors import EngineUnavailable

Backend = Literal["tensorrt", "tensorrt_rtx"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
TITLES: dict[Backend, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
OLDEST: dict[Backend, tuple[int, int]] = {"tensorrt": (10, 13), "tensorrt_rtx": (1, 2)}
INSTALL: dict[Backend, str] = {
    "tensorrt": "pip install tensorrt-cu13",
    "tensorrt_rtx": "pip install 'roadcast[tensorrt]'",
}
# Distributions by which pip knows a backend, one for each CUDA version.
_DISTRIBUTIONS: dict[Backend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx", "tensorrt-rtx-cu12"),
}


@dataclass(frozen=True)
class Library:
    """One TensorRT that loads here."""

    backend: Backend
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{TITLES[self.backend]} {self.version}"


def load_library(backend: Backend | None = None) -> Library:
    """Load the backend, by default the full TensorRT before TensorRT for RTX.

    Raises:
        EngineUnavailable: none is installed, loads, or is new enough; the message says what each lacks.
    """
    wanted = BACKENDS if backend is None else (backend,)
    reasons = []
    for name in wanted:
        found = _load(name)
        if isinstance(found, Library):
            return found
        reasons.append(f"{TITLES[name]} {found}")
    remedy = " or ".join(INSTALL[name] for name in reversed(wanted))
    raise EngineUnavailable(f"{'; '.join(reasons)}. Install it with: {remedy}")


def loadable() -> dict[Backend, Library | str]:
    """Every backend: loaded, or half a sentence about why not."""
    return {backend: _load(backend) for backend in BACKENDS}


def _load(backend: Backend) -> Library | str:
    try:
        module = importlib.import_module(backend)
    except ModuleNotFoundError as error:
        return "is not installed" if error.name == backend else f"is incomplete ({error})"
    except Exception as error:  # a missing shared library, or a stub package that finds nothing to fetch
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"does not load ({first_line})"
    found = str(getattr(module, "__version__", "") or _installed_version(backend))
    if not hasattr(module, "Builder"):
        return "does not load (the package holds no library)"
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < OLDEST[backend]:
        return f"is version {found}, and {'.'.join(map(str, OLDEST[backend]))} or newer is needed"
    return Library(backend, found, module)


def _installed_version(backend: Backend) -> str:
    for name in _DISTRIBUTIONS[backend]:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "0"


def make_logger(library: Library, on_message: Callable[[str, str], None]) -> Any:
    """A logger of this library; ``on_message`` gets the severity ("ERROR", "VERBOSE", ...) and the text."""

    class Logger(library.module.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            library.module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            on_message(str(severity).rpartition(".")[2], message)

    return Logger()


def plain_reason(messages: Iterable[str]) -> str:
    """One line out of what TensorRT says of one mistake, without source files, codes and echoes of a missing driver."""
    for message in messages:
        for line in message.strip().splitlines():
            said = _without_codes(line)
            if said:
                return said
    return "it gave no reason"


def _without_codes(line: str) -> str:
    if "checkMacros" in line or "cudaError" in line or re.match(r"(Invalid Node|In node|While parsing|---)", line):
        return ""
    inside = re.search(r"Error Code \d+: [\w ]+\((.*)", line)
    text = inside[1] if inside else line
    text = re.sub(r"^Assertion failed: [^:]*(::[^:]*)*: ", "", text)
    text = re.sub(r"\.? In \w+ at \S+:\d+\)?$", "", text)  # where in TensorRT's own sources
    return text.strip().rstrip(".")
