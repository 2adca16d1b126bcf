"""Who may import whom, as ARCHITECTURE says; read from the source of every module, and tried where it counts."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import perception

PACKAGE = Path(perception.__file__).parent
ROOT = PACKAGE.parent
BASE = {"numpy", "msgpack", "zmq"}
NODE = BASE | {"cv2", "av", "onnxruntime", "openvino", "tomli"}
NODE |= {"mcap", "mcap_protobuf", "foxglove_schemas_protobuf", "zstandard", "aiohttp"}
TRAIN = NODE | {"tensorflow", "keras", "onnx", "tf2onnx", "tqdm"}
# What a subscriber loads: besides itself only the vocabulary.
LIGHT = ("client", "wire", "types", "classes", "errors", "geometry", "ledger")
HEAVY = {"cv2", "av", "onnxruntime", "openvino", "tensorflow", "keras", "tensorrt", "torch", "onnx", "training"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path, *, at_load: bool = False) -> set[str]:
    """Full names of the modules that a file imports; with ``at_load`` only those outside functions."""
    found: set[str] = set()
    inside = [ast.parse(path.read_text(encoding="utf-8"))]
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif not (at_load and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            inside.extend(ast.iter_child_nodes(node))
    return found


def foreign(path: Path) -> set[str]:
    """Top-level names of what is neither ours nor Python's."""
    return {name.partition(".")[0] for name in imported(path)} - {"perception", "training"} - sys.stdlib_module_names


def loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import perception", "import perception.client", "import perception.wire"])
def test_a_subscriber_loads_nothing_heavy(statement):
    assert not loaded_by(statement) & HEAVY


def test_perception_itself_loads_nothing_but_python():
    assert not loaded_by("import perception") & (HEAVY | BASE)


def test_the_client_needs_only_the_base_install():
    """Everything third-party is blocked; jpeg alone may ask for more, when a picture is decoded."""
    allowed = sorted(BASE)
    script = f"""
import sys
class Gate:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {allowed} + ["perception"]:
            raise ImportError(name)
sys.meta_path.insert(0, Gate())
import perception.client
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)


def test_light_modules_import_only_each_other():
    for path in modules("perception"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part not in LIGHT:
            continue
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("perception.")}
        assert ours <= set(LIGHT), f"{path} imports {ours - set(LIGHT)}"
        if path.name != "encode.py" and path.name != "jpeg.py":
            assert foreign(path) <= BASE, f"{path} imports {foreign(path) - BASE}"
        heavy_at_load = {name.partition(".")[0] for name in imported(path, at_load=True)} & HEAVY
        assert not heavy_at_load, f"{path} imports {heavy_at_load} when it is loaded"


def test_perception_never_imports_training():
    for path in modules("perception"):
        assert not any(name.partition(".")[0] == "training" for name in imported(path)), path


def test_perception_needs_only_what_its_extras_name():
    for path in modules("perception"):
        assert foreign(path) <= NODE | {"tensorrt", "tensorrt_rtx", "cuda"}, f"{path}: {foreign(path) - NODE}"


def test_tensorrt_is_imported_by_its_engine_alone_and_late():
    for path in modules("perception"):
        if foreign(path) & {"tensorrt", "tensorrt_rtx", "cuda"}:
            assert path.relative_to(PACKAGE).parts[:2] == ("engines", "tensorrt"), path
        assert not {name.partition(".")[0] for name in imported(path, at_load=True)} & {
            "tensorrt",
            "tensorrt_rtx",
            "cuda",
        }


def test_keras_and_tensorflow_belong_to_training():
    for path in modules("perception"):
        assert not foreign(path) & (TRAIN - NODE), path
