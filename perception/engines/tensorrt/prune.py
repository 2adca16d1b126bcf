"""Which engines of the cache are of no use any more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from perception.engines.tensorrt.cache import Entry, entries, leftovers, remove
from perception.engines.tensorrt.library import Library, loadable
from perception.engines.tensorrt.passport import Passport
from perception.errors import OutputError


def prune(*, keep: int | None = None, dry_run: bool = False) -> list[tuple[Path, str]]:
    """Remove engines that nothing here can run, all but the newest ``keep`` of each model, and leftovers of builds.

    Returns:
        What went, or would go, and why.

    Raises:
        OutputError: something cannot be removed.
    """
    libraries = {name: found for name, found in loadable().items() if isinstance(found, Library)}
    seen: Counter[str] = Counter()
    gone: list[tuple[Path, str]] = []
    for entry in entries():
        why = _why(entry, libraries.get(entry.passport.backend) if entry.passport else None)
        if why is None and entry.passport is not None and keep is not None:
            seen[_model(entry.passport)] += 1
            if seen[_model(entry.passport)] > keep:
                why = f"not among the newest {keep} of its model" if keep else "all were to go"
        if why:
            gone.append((entry.path, why))
            if not dry_run:
                remove(entry.path)
    for path in leftovers():
        gone.append((path, "left by an interrupted build"))
        if not dry_run:
            _unlink(path)
    return gone


def _model(passport: Passport) -> str:
    return passport.card.get("roadcast.id", passport.onnx)


def _why(entry: Entry, library: Library | None) -> str | None:
    if entry.passport is None:
        return "it has no readable passport"
    if library is not None and library.version != entry.passport.version:
        return f"compiled by version {entry.passport.version}, {library.version} is installed"
    if _changed(Path(entry.passport.onnx), entry.passport.onnx_sha256):
        return f"its model {entry.passport.onnx} has changed since"
    return None


def _changed(model: Path, sha256: str) -> bool:
    """Whether the model is there and is another one now. One that is gone may have been moved."""
    from perception.engines.onnx_file import read_header
    from perception.errors import ModelError

    try:
        return model.is_file() and read_header(model).sha256 != sha256
    except ModelError:
        return False


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot remove {str(path)!r}: {error.strerror}.") from None
