"""The models that come with the package, and how a user names them."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parent.parent / "models"
DEFAULT_MODEL = MODELS / "default.onnx"


def model_file(model: str | Path) -> Path:
    """The file that is meant: a path, or the bare name of a model that comes with the package, as ``fcn8s-slim``."""
    path = Path(model)
    shipped = MODELS / f"{path}.onnx"
    is_name = path.suffix == "" and path.parent == Path()
    return shipped if is_name and not path.exists() and shipped.is_file() else path
