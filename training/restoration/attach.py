"""Put an enhancement before an exported model, for one file that gives labels and the enhanced image."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perception.engines.contract import read_spec
from perception.engines.enhancement import Enhancement, join, read_enhancement
from perception.files import write_whole
from training.card import ModelCard
from training.export import replace_card
from training.restoration.export import export_enhancement
from training.restoration.restorer import load_restorer


@contextmanager
def opened_enhancement(given: str) -> Iterator[Enhancement]:
    """One of those that come with the package, an ONNX file, or a ``.keras`` model, for as long as the context lasts.

    Raises:
        ModelError: there is none of that name, or it is no enhancement.
    """
    if not given.endswith(".keras"):
        yield read_enhancement(given)
        return
    path = Path(given)
    with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
        exported = Path(folder) / "enhancement.onnx"
        name = path.parent.name if path.stem == "model" else path.stem  # that of the run
        export_enhancement(load_restorer(path), exported, name, {})
        yield read_enhancement(str(exported))


def put_before(given: str, model: Path, out: Path, card: ModelCard) -> ModelCard:
    """Write ``model``, a file of ours that is removed, behind an enhancement to ``out``; returns its card.

    Raises:
        ModelError: there is no such enhancement, or the two cannot be joined.
        OutputError: the file cannot be written.
    """
    try:
        with opened_enhancement(given) as enhancement:
            write_whole(out, join(enhancement, model))
    finally:
        model.unlink()
    spec = read_spec(out)
    facts = {**card.facts, "enhancement": enhancement.name}
    card = dataclasses.replace(card, pixels=spec.pixels, multiple=spec.multiple, facts=facts)
    replace_card(out, card)
    return card
