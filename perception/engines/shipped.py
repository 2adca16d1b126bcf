"""The models that come with the package, and how a user names them."""

from __future__ import annotations

from pathlib import Path

from perception.errors import ModelError

MODELS = Path(__file__).parent.parent / "models"
DEFAULT_MODEL = MODELS / "default.onnx"
ENHANCEMENTS = ("denoise", "lowlight", "superres")  # these give pictures, which a model of labels takes


def model_file(model: str | Path) -> Path:
    """The file that is meant: a path, or the bare name of a model that comes with the package, as ``fcn8s-slim``."""
    path = Path(model)
    shipped = MODELS / f"{path}.onnx"
    is_name = path.suffix == "" and path.parent == Path()
    return shipped if is_name and not path.exists() and shipped.is_file() else path


def no_such_model(model: str | Path) -> ModelError:
    """The error for a model that is not there; it names those that come with the package."""
    names = ", ".join(sorted(path.stem for path in MODELS.glob("*.onnx") if path.stem not in ENHANCEMENTS))
    return ModelError(
        f"Cannot read the model {str(model)!r}: there is no such file. Give the path of an ONNX file, or the name of a "
        f"model that comes with the package: {names}."
    )
